"""The walls of ARCHITECTURE.md: what may never be imported where."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*ROOT.glob("shared/**/*.py"), *ROOT.glob("services/**/*.py")])
SERVICES = sorted(path.parent.name for path in ROOT.glob("services/*/service.py"))
HEAVY = {"torch", "cv2", "onnxruntime", "av", "diffusers", "transformers"}
FACE_AND_STORE = {
    "bentoml",
    "starlette",
    "httpx",
    "psycopg",
    "psycopg_pool",
    "procrastinate",
    "shared.database.database",
}


def imports(path: Path) -> Iterator[str]:
    """Yield every module that a file names in an import, at any depth of nesting."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def within(module: str, packages: set[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_only_what_its_room_may(path: Path) -> None:
    room = path.relative_to(ROOT)
    for module in imports(path):
        if module.startswith("services."):
            # The router alone names the services, and only to start them on one machine.
            assert room.parts[:2] in {("services", module.split(".")[1]), ("services", "router")}, f"{room}: {module}"
        if module.split(".")[0] == "procrastinate":
            assert room.parts[:2] == ("shared", "queue"), (
                f"only shared/queue imports Procrastinate, {room} imports {module}"
            )
        if room.name == "pipeline.py" or room.parts[:2] in {("shared", "media"), ("shared", "networks")}:
            assert not within(module, FACE_AND_STORE), f"{room} must see neither HTTP nor SQL, imports {module}"
        if room.parts[:2] == ("shared", "networks") or "arch" in room.parts:
            assert not within(module, {"pathlib", "shared.settings", "shared.files.media_roots"}), (
                f"{room} must not see paths"
            )


@pytest.mark.parametrize("service", SERVICES)
def test_the_http_face_of_a_service_imports_no_model_and_no_codec(service: str) -> None:
    script = (
        "import sys\n"
        f"import services.{service}.service\n"
        f"print(sorted({HEAVY!r} & set(sys.modules)))\n"
    )  # fmt: skip
    loaded = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


def test_the_router_needs_neither_the_queue_nor_the_database() -> None:
    script = (
        "import sys\nimport services.router.service\nprint(sorted({'psycopg', 'procrastinate'} & set(sys.modules)))"
    )
    loaded = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


def test_nothing_is_named_after_a_junk_drawer() -> None:
    junk = {"utils", "util", "helpers", "helper", "common", "misc", "manager"}
    assert [path for path in SOURCES if junk & set(path.with_suffix("").relative_to(ROOT).parts)] == []
