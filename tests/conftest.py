"""What the tests share: the whole stack as a user starts it, a backend that receives, and a word on what is missing."""

import itertools
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.models import ModelStore

from benchmarks.clips import write_clip
from shared.testing.callback_receiver import Receiver, well_behaved
from shared.testing.stack import Stack
from tests.support.requirements import REQUIREMENTS, is_about_hardware, unmet

OWN_FOLDER = pytest.StashKey[str]()
FOLDERS = "kinora-tests-"
KEPT_SECONDS = 86400.0
_task_ids = itertools.count(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--forbid-skips",
        action="store_true",
        help="fail a test that would be skipped, unless hardware is what this machine lacks (CI sets it)",
    )


def pytest_configure(config: pytest.Config) -> None:
    for name, requirement in REQUIREMENTS.items():
        config.addinivalue_line("markers", f"{name}: {requirement.meaning}")
    config.addinivalue_line("markers", "slow: takes long; `make test` leaves it out, `make test-all` does not")
    if "workerinput" in vars(config):
        # Workers that compute side by side have a core each: with a thread a core, each would wait for the other's.
        os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"), "1")
    elif config.option.basetemp is None:
        # pytest closes the folder that all sessions of a user share to other users whenever one begins: a PostgreSQL
        # that root's tests started, which runs as another user, could then no longer reach its data.
        config.option.basetemp = config.stash[OWN_FOLDER] = tempfile.mkdtemp(prefix=FOLDERS)
        for folder in Path(tempfile.gettempdir()).glob(f"{FOLDERS}*"):  # of sessions that failed or were killed
            if time.time() - folder.stat().st_mtime > KEPT_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Leave files behind only for somebody who looks for what failed."""
    if exitstatus == pytest.ExitCode.OK and (folder := session.config.stash.get(OWN_FOLDER, None)):
        shutil.rmtree(folder, ignore_errors=True)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if missing := unmet(item):
        pytest.skip(missing)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the log of the stack beside a failure of a test that used it."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and item.config.getoption("forbid_skips"):
        _forbid_skip(item, report)
    stack = getattr(item, "funcargs", {}).get("stack")
    if call.when == "call" and report.failed and isinstance(stack, Stack):
        report.sections.append(("kinora serve", stack.log_tail()))
    return report


def _forbid_skip(item: pytest.Item, report: pytest.TestReport) -> None:
    if not is_about_hardware(item):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome, report.longrepr = "failed", f"--forbid-skips: {reason}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name everything that this machine could not test: a skip is never passed over in silence."""
    for report in terminalreporter.getreports("skipped"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        terminalreporter.write_line(f"NOT TESTED: {report.nodeid} ({reason.removeprefix('Skipped: ')})", yellow=True)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Close with one line that a program can read."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or config.getoption("collectonly"):
        return
    counts = {outcome: len(reporter.stats.get(outcome, ())) for outcome in ("passed", "failed", "error", "skipped")}
    failed = counts["failed"] + counts["error"]
    reporter.write_line(f"{counts['passed']} passed, {failed} failed, {counts['skipped']} skipped")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio alone, as the services do."""
    return "asyncio"


@pytest.fixture(autouse=True)
def _ordinary_scheduling() -> Iterator[None]:
    """No test leaves its process with real-time priority: all that follows, and what it starts, would have it."""
    yield
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


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
