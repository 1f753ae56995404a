"""A process that can do nothing any more, not even notice it, must still end."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from shared.process.lifetime import ordinary_scheduling

SCRIPT = """
import asyncio, ctypes
from shared.process.lifetime import event_loop_watchdog

async def main():
    watchdog = asyncio.create_task(event_loop_watchdog(1.0))
    await asyncio.sleep(2.5)  # a loop that turns is left alone
    print("turning", flush=True)
    {then}
    watchdog.cancel()

asyncio.run(main())
"""


def run(then: str) -> "subprocess.CompletedProcess[str]":
    script = SCRIPT.format(then=then)
    root = Path(__file__).parents[3]
    return subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, timeout=60, check=False
    )


def test_native_code_that_keeps_the_interpreter_lock_is_ended_with_a_traceback() -> None:
    ran = run("ctypes.PyDLL(None).sleep(50)")  # PyDLL holds the lock, as careless extensions do
    assert (ran.returncode, ran.stdout) == (1, "turning\n")
    assert "Timeout" in ran.stderr


def test_a_loop_that_turns_ends_as_it_likes() -> None:
    ran = run("pass")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "turning\n", "")


def test_a_process_whose_parent_ended_before_it_asked_ends_at_once() -> None:
    script = "import os\nfrom shared.process.lifetime import die_with_parent\ndie_with_parent({})\nprint('alive')"
    root = Path(__file__).parents[3]
    for expected, survives in (("os.getppid()", True), ("None", True), ("2**22 + 1", False)):
        ran = subprocess.run(
            [sys.executable, "-c", script.format(expected)], cwd=root, capture_output=True, text=True, check=False
        )
        assert (ran.returncode == 0, ran.stdout == "alive\n") == (survives, survives), ran.stderr


@pytest.mark.needs_root
def test_real_time_scheduling_is_taken_from_every_thread() -> None:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    ended = threading.Event()
    other = threading.Thread(target=ended.wait, daemon=True)
    other.start()  # inherits it
    try:
        assert os.sched_getscheduler(other.native_id or 0) == os.SCHED_FIFO
        ordinary_scheduling()
        assert {os.sched_getscheduler(0), os.sched_getscheduler(other.native_id or 0)} == {os.SCHED_OTHER}
    finally:
        ended.set()
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
