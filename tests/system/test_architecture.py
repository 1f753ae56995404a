"""The rules of ARCHITECTURE.md: what may never be imported where."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*ROOT.glob("shared/**/*.py"), *ROOT.glob("services/**/*.py")])
SERVICES = sorted(path.parent.name for path in ROOT.glob("services/*/service.py"))
# The packages of `shared` in order: each may import only those before it.
ORDER = (
    "vocabulary", "upstreams", "arrays", "errors", "settings", "logs", "tracing", "gpu", "process", "contract", "files",
    "fetching", "networks", "media", "weights", "pipeline", "queue", "database", "tasks", "delivery", "metrics",
    "runner", "http", "serving", "testing", "demo", "doctor", "cli",
)  # fmt: skip
MOST_MODULES_AT_THE_TOP = 8
HEAVY = {"torch", "cv2", "onnxruntime", "av", "diffusers", "transformers"}
FACE_AND_STORE = {
    "bentoml",
    "starlette",
    "httpx",
    "psycopg",
    "psycopg_pool",
    "procrastinate",
    "shared.database",
    "shared.http",
    "shared.queue",
    "shared.tasks",
}


def imports(path: Path) -> Iterator[str]:
    """Yield every module that a file names in an import, at any depth of nesting."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            if node.module == "shared":
                yield from (f"shared.{alias.name}" for alias in node.names)


def within(module: str, packages: set[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_only_what_its_package_may(path: Path) -> None:
    file = path.relative_to(ROOT)
    for module in imports(path):
        if module.startswith("services."):
            # The router alone names the services, and only to start them on one machine.
            assert file.parts[:2] in {("services", module.split(".")[1]), ("services", "router")}, f"{file}: {module}"
        if file.parts[:4] == ("services", "creation", "engines", "wan"):
            assert not within(module, {"services.creation.engines.classic"}), f"one engine needs another: {file}"
        if module.split(".")[0] == "procrastinate":
            assert file.parts[:2] == ("shared", "queue"), (
                f"only shared/queue imports Procrastinate, {file} imports {module}"
            )
        if module.split(".")[0] == "opentelemetry":
            assert file.parts[:2] == ("shared", "tracing"), (
                f"only shared/tracing imports OpenTelemetry, {file} imports {module}"
            )
        if module.split(".")[0] == "obstore":
            assert file == Path("shared/runner/result_store.py"), (
                f"only the result store imports obstore, {file} imports {module}"
            )
        if file.name == "pipeline.py" or file.parts[:2] in {("shared", "media"), ("shared", "networks")}:
            assert not within(module, FACE_AND_STORE), f"{file} must see neither HTTP nor SQL, imports {module}"
        if file.parts[:2] == ("shared", "networks") or "arch" in file.parts:
            assert not within(module, {"pathlib", "shared.settings", "shared.files"}), f"{file} must not see paths"


def test_the_packages_of_shared_import_in_one_direction() -> None:
    place = {package: number for number, package in enumerate(ORDER)}
    wrong = []
    for path in ROOT.glob("shared/*/**/*.py"):
        package = path.relative_to(ROOT).parts[1]
        above = {
            module
            for module in imports(path)
            if within(module, {f"shared.{name}" for name in ORDER[place[package] + 1 :]})
        }
        wrong += [f"{path.relative_to(ROOT)} imports {module}" for module in above]
    assert wrong == []


def test_every_package_of_shared_has_its_place_and_says_what_it_owns() -> None:
    modules = {path.stem for path in ROOT.glob("shared/*.py")} - {"__init__"}
    packages = {path.parent.name for path in ROOT.glob("shared/*/__init__.py")}
    assert modules | packages <= set(ORDER)
    assert len(modules) <= MOST_MODULES_AT_THE_TOP
    for name in packages:
        assert ast.get_docstring(ast.parse((ROOT / "shared" / name / "__init__.py").read_text(encoding="utf-8"))), name


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


def test_the_router_imports_nothing_that_its_image_lacks() -> None:
    """Its image has the packages that every process needs, and of `shared` all but what is left out here."""
    script = (
        "import sys\n"
        "for name in {'av', 'PIL', 'psycopg', 'procrastinate', 'torch', 'cv2', 'safetensors', 'onnxruntime',"
        " 'shared.networks', 'shared.demo', 'shared.testing'}:\n"
        "    sys.modules[name] = None\n"
        "import services.router.service\n"
        "from shared.weights import entries, exists\n"
        "print(len([exists(name) for name in entries()]) > 0)"
    )
    loaded = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert loaded.stdout.strip() == "True", loaded.stderr


def test_no_module_has_a_vague_name() -> None:
    vague = {"utils", "util", "helpers", "helper", "common", "misc", "manager"}
    assert [path for path in SOURCES if vague & set(path.with_suffix("").relative_to(ROOT).parts)] == []
