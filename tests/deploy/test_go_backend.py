"""The Go backend of deploy/examples, built and run against the real services."""

import base64
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from benchmarks.clips import write_clip
from shared import weights
from shared.testing.stack import Stack, free_port
from tests.support.clips import from_pictures
from tests.support.faces import frames_of

EXAMPLE = Path(__file__).parents[2] / "deploy" / "examples" / "golang-backend"
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


def run_backend(backend: Path, stack: Stack, port: int, *arguments: str, secret: str) -> tuple[int, str]:
    """Run the program to its end; return its exit status and all that it said."""
    done = subprocess.run(
        [str(backend), "-ai", stack.url, "-listen", f"127.0.0.1:{port}", *arguments],
        env={"KINORA_WEBHOOK_SECRET": secret, "KINORA_TOKEN": "go-go"},
        capture_output=True,
        text=True,
        timeout=860,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def stack_for(home: Path, port: int, services: str) -> Stack:
    return Stack(
        home / "state",
        (home,),
        f"http://127.0.0.1:{port}/api/ai/notify",
        environment={
            "KINORA_SERVICES": services,
            "KINORA_WEBHOOK_SECRET": SECRET,
            "KINORA_TOKEN": "go-go",
            "KINORA_PRESET": "ultrafast",
            "KINORA_GPU_EXCLUSIVE": "true",  # one run at a time: four models at once are too much for two cores
            "KINORA_CREATION_ENGINE": "classic",
        },
    )


@pytest.mark.slow
@pytest.mark.timeout(900)  # of a machine that is busy with other things
def test_it_submits_all_four_and_a_preview_leads_to_its_generation(backend: Path, tmp_path: Path) -> None:
    small = [np.ascontiguousarray(frame[::2, ::2]) for frame in frames_of("clip-single-face", count=8)]
    clip = from_pictures(tmp_path / "clip.mp4", small)
    picture = tmp_path / "portrait.jpg"
    picture.write_bytes(weights.path("picture-single-face").read_bytes())
    port = free_port()
    stack = stack_for(tmp_path, port, "upscale,interpo,facefusion,creation")
    with stack.running():
        status, said = run_backend(
            backend, stack, port, "-dist", str(tmp_path / "out"), "-video", str(clip), "-picture", str(picture),
            "-wait", "840s", secret=SECRET,
        )  # fmt: skip
        assert status == 0, said + stack.log_tail()
    accepted = [line.split(maxsplit=1)[1] for line in said.splitlines() if line.startswith("accepted")]
    assert sorted(accepted) == ["creation", "facefusion generation", "facefusion preview", "interpo", "upscale"]
    delivered = [
        line.split(maxsplit=1)[1].partition(": ") for line in said.splitlines() if line.startswith("delivered")
    ]
    files = {name: [path for other, _, path in delivered if other == name] for name, _, _ in delivered}
    assert files.keys() == set(accepted)
    assert len(files["facefusion preview"]) == 2, "the preview and the one face that it shows"
    assert all(Path(path).stat().st_size for paths in files.values() for path in paths)
    assert accepted.index("facefusion generation") == len(accepted) - 1


@pytest.mark.slow
@pytest.mark.timeout(500)  # likewise
def test_a_callback_with_a_wrong_signature_is_not_taken_and_comes_again(backend: Path, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", size=(48, 32), frames=12, sound=True)
    port = free_port()
    stack = stack_for(tmp_path, port, "interpo")
    arguments = ("-dist", str(tmp_path / "out"), "-video", str(clip), "-only", "interpo", "-first", "41")
    with stack.running():
        wrong = "whsec_" + base64.b64encode(b"of somebody else entirely").decode()
        status, said = run_backend(backend, stack, port, *arguments, "-wait", "40s", secret=wrong)
        assert status == 1, said
        assert "not every callback came in time" in said
        with stack.client() as client:
            [task] = client.get("/api/ai/tasks/42", headers={"authorization": "Bearer go-go"}).json()["tasks"]
        assert task["callback"]["state"] in {"none", "pending"}
        # The same task again, by a backend with the right secret: it does not run twice, and now it is heard.
        status, said = run_backend(backend, stack, port, *arguments, "-wait", "400s", secret=SECRET)
        assert status == 0, said
        assert said.count("delivered  interpo") == 1
    assert len(list((tmp_path / "out").iterdir())) == 1
