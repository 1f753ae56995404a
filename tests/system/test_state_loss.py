"""What a running installation does when its state folder is removed under it."""

import shutil
import time
from pathlib import Path

import pytest

from shared.process.lifetime import EXIT_STATE_LOST
from shared.testing.stack import Stack

NOTICE_SECONDS = 30.0  # a few on an idle machine


@pytest.mark.slow
@pytest.mark.parametrize("target", [None, "services.upscale.service:Upscale"])
def test_it_says_so_and_leaves_and_makes_no_empty_database(tmp_path: Path, target: str | None) -> None:
    state = tmp_path / "state"
    services = {"KINORA_SERVICES": "upscale"}
    stack = Stack(state, (tmp_path,), "http://127.0.0.1:9/notify", environment=services, target=target)
    try:
        stack.start().wait_ready()
        shutil.rmtree(state, ignore_errors=True)  # what is made meanwhile may stay
        removed = time.monotonic()
        while stack.processes():
            assert time.monotonic() < removed + NOTICE_SECONDS, stack.log_tail()
            assert not (state / "postgres" / "PG_VERSION").exists()
            time.sleep(0.1)
        assert "was removed while it was in use" in stack.log.read_text()
        assert stack.process
        if target is None:
            assert stack.process.wait(10) == EXIT_STATE_LOST
            said = f"the database in {state / 'postgres'} was removed"
            assert any(line.startswith(said) for line in stack.log.read_text().splitlines()[-5:])  # runners end, too
        assert not (state / "postgres" / "PG_VERSION").exists()
    finally:
        stack.kill()
