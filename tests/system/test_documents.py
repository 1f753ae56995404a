"""What the documents point at: every link, path, module, `make` target and `kinora` command in them exists."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

from shared.cli.app import app

ROOT = Path(__file__).parents[2]
FOLDERS = ("shared", "services", "tests", "deploy", "docs", "benchmarks")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.md"))])
# What a reader makes by following the text, so that it is not in the repository.
MADE_BY_THE_READER = {"deploy/compose.env"}

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
FENCE = re.compile(r"^ *```[a-z]*\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
PATH = re.compile(rf"(?<![\w/.$-])(?:{'|'.join(FOLDERS)})/[\w./*-]*\w[/*]*")
MODULE = re.compile(r"python -m ((?:shared|services|deploy|benchmarks)(?:\.\w+)+)")
PLACEHOLDER = re.compile(r"\b(NAME|PACKAGE)\b")
MAKE = re.compile(r"^make ([a-z][a-z-]*)", re.MULTILINE)
KINORA = re.compile(r"(?:^|(?<!-n) |/)kinora ([a-z]+)(?: ([a-z]+))?", re.MULTILINE)  # not kubectl's `-n kinora`


def code(text: str) -> list[str]:
    """Return what stands in backticks and in fenced blocks."""
    return [*FENCE.findall(text), *SPAN.findall(FENCE.sub("", text))]


def anchors(page: Path) -> set[str]:
    """Return the fragments by which GitHub addresses the headings of a page."""
    headings = HEADING.findall(page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(document: Path, text: str) -> Iterator[str]:
    """Yield the relative links whose file or heading does not exist."""
    for link in LINK.findall(text):
        if link.startswith(("http://", "https://")):
            continue
        name, _, fragment = link.partition("#")
        target = document.parent / name if name else document
        if not target.exists() or (fragment and fragment not in anchors(target)):
            yield link


def missing_paths(text: str) -> Iterator[str]:
    """Yield the paths and modules in code that match no file or folder; NAME and PACKAGE stand for any one name."""
    for part in code(text):
        for path in PATH.findall(part):
            if path not in MADE_BY_THE_READER and not any(ROOT.glob(PLACEHOLDER.sub("*", path).rstrip("/"))):
                yield path
        for module in MODULE.findall(part):
            path = PLACEHOLDER.sub("*", module.replace(".", "/"))
            if not any(ROOT.glob(f"{path}.py")) and not any(ROOT.glob(f"{path}/__main__.py")):
                yield module


def unknown_commands(text: str) -> Iterator[str]:
    """Yield the `make` targets and the `kinora` commands in code that do not exist."""
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    commands = typer.main.get_group(app).commands
    for part in code(text):
        yield from (f"make {target}" for target in MAKE.findall(part) if target not in targets)
        for name, second in KINORA.findall(part):
            if name not in commands:
                yield f"kinora {name}"
            elif second and second not in getattr(commands[name], "commands", {second}):
                yield f"kinora {name} {second}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_document_points_at_exists(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    assert list(broken_links(document, text)) == []
    assert list(missing_paths(text)) == []
    assert list(unknown_commands(text)) == []


def test_a_broken_link_a_moved_file_and_a_wrong_command_are_found(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text("# First part\n", encoding="utf-8")
    assert list(broken_links(document, "[a](#first-part) [b](page.md#first-part) [c](http://host/none)")) == []
    assert list(broken_links(document, "[a](gone.md) [b](#second-part)")) == ["gone.md", "#second-part"]
    assert list(missing_paths("`shared/media/`, `services/NAME/pipeline.py`, `deploy/*/bentofile.yaml`")) == []
    assert list(missing_paths("`shared/jobs.py`\n```sh\ndocs/none.md\n```")) == [
        "docs/none.md",
        "shared/jobs.py",
    ]
    assert list(missing_paths("`python -m services.NAME.runner`, `python -m shared.jobs`")) == ["shared.jobs"]
    assert list(unknown_commands("`make test`, `kinora tasks list`, `kinora weights pull rife-4.0`")) == []
    assert list(unknown_commands("`make tea`, `kinora brew`, `kinora tasks drink`")) == [
        "make tea",
        "kinora brew",
        "kinora tasks drink",
    ]
    assert list(unknown_commands("```sh\n.venv/bin/kinora brew\nmake tea\n```")) == ["make tea", "kinora brew"]


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 150
