"""Locks between processes: what waiting for one with a limit comes to, and who holds it."""

import os
from pathlib import Path

import pytest

from shared.process.file_lock import FileLock


def test_waiting_ends_after_the_limit_and_the_holder_is_known(tmp_path: Path) -> None:
    mine, theirs = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    assert mine.holder() is None
    with mine:
        for wait in (theirs.acquire, theirs.share):
            with pytest.raises(TimeoutError):
                wait(0.1)
        assert theirs.holder() == os.getpid()
    theirs.acquire(0)
    theirs.release()
    theirs.share(0)
    mine.share(0)
    assert (mine.held, theirs.held) == (True, True)
    mine.release()
    theirs.release()
    assert theirs.holder() is None
