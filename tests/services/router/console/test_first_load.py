"""What a browser loads before it shows anything: small, from here, and without anything inline."""

import gzip
import re
from pathlib import Path

CONSOLE = Path(__file__).parents[4] / "services" / "router" / "console"
BUDGET = 200_000  # bytes, compressed
FILES = sorted(path for path in CONSOLE.rglob("*") if path.is_file())
TEXTS = {path: path.read_text(encoding="utf-8") for path in FILES if path.suffix in {".html", ".css", ".js", ".json"}}
_IMPORT = re.compile(r'^import .*?from "([^"]+)"|^} from "([^"]+)"|\bimport\("([^"]+)"\)', re.MULTILINE)


def loaded(module: Path, seen: set[Path]) -> set[Path]:
    """Return a module with everything that it imports."""
    if module not in seen:
        seen.add(module)
        for names in _IMPORT.findall(TEXTS[module]):
            loaded((module.parent / "".join(names)).resolve(), seen)
    return seen


def test_the_first_load_is_below_its_budget() -> None:
    page = [CONSOLE / "index.html", *CONSOLE.glob("*.css"), CONSOLE / "images" / "icon.svg"]
    files = loaded(CONSOLE / "app.js", set()) | {*page, CONSOLE / "text" / "zh.json"}
    assert sum(len(gzip.compress(path.read_bytes())) for path in files) < BUDGET


def test_every_module_is_used_and_every_import_is_there() -> None:
    assert loaded(CONSOLE / "app.js", set()) == {path for path in FILES if path.suffix == ".js"}


def test_the_page_names_all_modules_so_that_they_load_at_once() -> None:
    named = set(re.findall(r'"modulepreload" href="console/([^"]+)"', TEXTS[CONSOLE / "index.html"]))
    assert named | {"app.js"} == {str(path.relative_to(CONSOLE)) for path in FILES if path.suffix == ".js"}


def test_the_first_look_waits_for_its_own_modules_only() -> None:
    """What `app.js` imports with `import(…)` comes behind: the page says so by their order and their priority."""
    links = re.findall(r'"modulepreload" href="console/([^"]+)"( fetchpriority="low")?', TEXTS[CONSOLE / "index.html"])
    later = {name for name, low in links if low}
    static = {path for path in TEXTS if path.suffix == ".js"} - {CONSOLE / name for name in later}
    needed: set[Path] = set()
    for module in static:
        needed |= {
            (module.parent / "".join(names)).resolve()
            for names in re.findall(r'^import .*?from "([^"]+)"|^} from "([^"]+)"', TEXTS[module], re.MULTILINE)
        }
    assert needed <= static
    assert [bool(low) for _, low in links] == sorted(bool(low) for _, low in links)
    assert len(static) < len(later)


def test_nothing_comes_from_elsewhere() -> None:
    named = {
        url
        for path, text in TEXTS.items()
        if path.parent.name != "vendor"
        for url in re.findall(r"https?://[^\s\"'`)]+", text)
    }
    assert {url for url in named if "w3.org" not in url} == set()


def test_the_page_has_nothing_inline() -> None:
    page = TEXTS[CONSOLE / "index.html"]
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", page)
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", page))


def test_no_module_makes_markup_out_of_a_text() -> None:
    for path, text in TEXTS.items():
        if path.parent.name != "vendor":
            assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text), path


def test_what_was_taken_over_names_its_licence() -> None:
    licences = (CONSOLE / "vendor" / "LICENCES.txt").read_text(encoding="utf-8")
    page = (CONSOLE.parents[2] / "docs" / "licences.md").read_text(encoding="utf-8")
    for name in ("htm 3.1.1", "Preact", "lucide-static 1.62.0"):
        assert name in licences
        assert name in page
