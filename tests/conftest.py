"""What the tests share: the whole stack as a user starts it, a backend that receives, and a word on what is missing."""

import itertools
import os
import shutil
import subprocess
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.models import ModelStore

from benchmarks.clips import write_clip
from benchmarks.swaps import gateways
from shared.testing.callback_receiver import Receiver, well_behaved
from shared.testing.stack import Stack

MARKERS = {
    "needs_gpu": "runs only where CUDA is",
    "needs_amx": "runs only on a processor with AMX or AVX512-BF16",
    "needs_root": "runs only as root (it mounts a small file system)",
    "needs_go": "runs only where the Go toolchain is",
    "needs_prometheus": "runs only where prometheus and promtool are",
    "needs_gateways": "runs only where nginx and HAProxy are installed",
    "needs_netns": "runs only where network namespaces can be made (root and iproute2)",
    "needs_tini": "runs only as root where tini is (it makes a container's process namespace)",
    "needs_kubectl": "runs only where kubectl is (it puts the manifests together)",
}
_task_ids = itertools.count(1)


def pytest_configure(config: pytest.Config) -> None:
    for name, meaning in MARKERS.items():
        config.addinivalue_line("markers", f"{name}: {meaning}")


def pytest_runtest_setup(item: pytest.Item) -> None:
    missing = {
        "needs_gpu": has_no_gpu,
        "needs_amx": has_no_amx,
        "needs_root": is_not_root,
        "needs_go": has_no_go,
        "needs_prometheus": has_no_prometheus,
        "needs_netns": has_no_netns,
        "needs_tini": has_no_tini,
        "needs_kubectl": has_no_kubectl,
        "needs_gateways": has_no_gateways,
    }
    for name, why_not in missing.items():
        if item.get_closest_marker(name) and (reason := why_not()):
            pytest.skip(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the log of the stack beside a failure of a test that used it."""
    report = yield
    stack = getattr(item, "funcargs", {}).get("stack")
    if call.when == "call" and report.failed and isinstance(stack, Stack):
        report.sections.append(("kinora serve", stack.log_tail()))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name everything that this machine could not test: a skip is never passed over in silence."""
    for report in terminalreporter.getreports("skipped"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        terminalreporter.write_line(f"NOT TESTED: {report.nodeid} ({reason.removeprefix('Skipped: ')})", yellow=True)


def has_no_gpu() -> str:
    return "" if Path("/dev/nvidia0").exists() else "no CUDA device here"


def has_no_amx() -> str:
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    return "" if "amx_bf16" in flags or "avx512_bf16" in flags else "this processor has neither AMX nor AVX512-BF16"


def is_not_root() -> str:
    return "" if os.geteuid() == 0 else "mounting a small file system needs root"


def has_no_netns() -> str:
    if os.geteuid() != 0 or not shutil.which("ip"):
        return "network namespaces need root and iproute2"
    probe = f"kinora{os.getpid()}-probe"
    if subprocess.run(["ip", "netns", "add", probe], capture_output=True, check=False).returncode:
        return "network namespaces are not allowed here"
    subprocess.run(["ip", "netns", "delete", probe], check=True)
    return ""


def has_no_prometheus() -> str:
    return "" if shutil.which("prometheus") and shutil.which("promtool") else "no prometheus or no promtool here"


def has_no_go() -> str:
    return "" if shutil.which("go") else "no Go toolchain here"


def has_no_gateways() -> str:
    return " and ".join(f"no {name}" for name in gateways.missing()) + " here" if gateways.missing() else ""


def has_no_tini() -> str:
    return "" if os.geteuid() == 0 and shutil.which("tini") and shutil.which("unshare") else "no tini here, or no root"


def has_no_kubectl() -> str:
    return "" if shutil.which("kubectl") else "no kubectl here"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Path]:
    """A model store of its own."""
    home = tmp_path / "bentoml"
    (home / "models").mkdir(parents=True)
    BentoMLContainer.bentoml_home.set(str(home))
    BentoMLContainer.model_store.set(ModelStore(home / "models"))
    yield home
    BentoMLContainer.bentoml_home.reset()
    BentoMLContainer.model_store.reset()


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The one media root of the session's stack."""
    return tmp_path_factory.mktemp("media").resolve()


@pytest.fixture
def dist_dir(media: Path, request: pytest.FixtureRequest) -> Path:
    """A folder for the results of one test; it does not exist yet, as a backend may leave it to us."""
    return media / f"out-{next(_task_ids)}-{request.node.name[:40].replace('/', '_')}"


@pytest.fixture
def task_id() -> int:
    """An id that no other test uses."""
    return 10_000 + next(_task_ids)


@pytest.fixture(scope="session")
def _backend() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def receiver(_backend: Receiver) -> Iterator[Receiver]:
    """The backend that the session's stack calls back; whatever a test has it do ends with the test."""
    yield _backend
    _backend.behave = well_behaved


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, media: Path, _backend: Receiver) -> Iterator[Stack]:
    """Router, services, runners and PostgreSQL, started once by `kinora serve`."""
    state_dir = tmp_path_factory.mktemp("serve") / "state"
    stack = Stack(state_dir, (media,), _backend.url, environment={"KINORA_PRESET": "ultrafast"})
    with stack.running():
        yield stack


@pytest.fixture
def client(stack: Stack) -> Iterator[httpx.Client]:
    """Talks to the router."""
    with stack.client() as client:
        yield client


@pytest.fixture(scope="session")
def clip(media: Path) -> Path:
    """Half a second of picture and sound under a name that breaks careless code: a whole run takes about a second."""
    return write_clip(media / "in" / "短片 🎬 one.mp4", size=(48, 32), frames=12, sound=True)


@pytest.fixture
def post(client: httpx.Client, task_id: int, clip: Path, dist_dir: Path) -> Callable[..., dict[str, Any]]:
    """Post an upscale request; what a test does not name is valid."""

    def send(path: str = "/api/ai/upscale", **changes: object) -> dict[str, Any]:
        body = {"task_id": task_id, "video_url": str(clip), "dist_dir": str(dist_dir), "ratio": 2} | changes
        answer = client.post(path, json=body)
        assert answer.status_code == 200
        content: dict[str, Any] = answer.json()
        assert list(content) == ["err_code", "err_msg"]
        return content

    return send
