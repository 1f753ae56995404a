"""The Go backend of deploy/examples, built and run against the real services."""

import base64
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from benchmarks.clips import write_clip
from shared.stack import Stack, free_port

EXAMPLE = Path(__file__).parent.parent / "deploy" / "examples" / "golang-backend"
SECRET = "whsec_" + base64.b64encode(b"a secret of twenty-four b").decode()

pytestmark = pytest.mark.needs_go


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built program."""
    binary = tmp_path_factory.mktemp("go") / "golang-backend"
    go("build", "-o", str(binary), ".")
    return binary


def go(*arguments: str) -> None:
    # No module but the standard library: nothing may be fetched.
    environment = {**os.environ, "GOFLAGS": "-mod=readonly", "GOPROXY": "off"}
    program = shutil.which("go")
    assert program
    subprocess.run([program, *arguments], cwd=EXAMPLE, env=environment, check=True, timeout=240)


def test_its_own_tests_pass() -> None:
    go("vet", "./...")
    go("test", "./...")


@pytest.mark.parametrize("secret", [SECRET, "whsec_" + base64.b64encode(b"of somebody else entirely").decode()])
def test_it_submits_receives_and_verifies(backend: Path, tmp_path: Path, secret: str) -> None:
    clip = write_clip(tmp_path / "clip.mp4", size=(48, 32), frames=12, sound=True)
    port = free_port()
    stack = Stack(
        tmp_path / "state",
        (tmp_path,),
        f"http://127.0.0.1:{port}/api/ai/notify",
        environment={"KINORA_SERVICES": "upscale,interpo", "KINORA_WEBHOOK_SECRET": SECRET, "KINORA_TOKEN": "go-go"},
    )
    with stack.running():
        genuine = secret == SECRET
        done = subprocess.run(
            [
                str(backend), "-ai", stack.url, "-listen", f"127.0.0.1:{port}", "-dist", str(tmp_path / "out"),
                "-video", str(clip), "-only", "upscale,interpo", "-wait", "120s" if genuine else "10s",
            ],
            env={"KINORA_WEBHOOK_SECRET": secret, "KINORA_TOKEN": "go-go"},
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )  # fmt: skip
        assert done.stdout.count("accepted") == 2, done.stderr
        if genuine:
            assert done.returncode == 0, done.stdout + done.stderr
            assert done.stdout.count("delivered") == 2
        else:
            # A callback signed with another secret is refused, so it is not delivered and will come again.
            assert done.returncode == 1
            assert "not every callback came in time" in done.stderr
