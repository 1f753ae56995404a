"""The result of one check."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from shared.settings import Settings

Level = Literal["ok", "warning", "broken"]
ASIDE_SECONDS = 120.0  # for a heavy import on a machine under load


@dataclass(frozen=True)
class Finding:
    """The result of one check. `broken` keeps Kinora from working, a `warning` may cause a problem later."""

    subject: str
    level: Level
    sentence: str


Check = Callable[[Settings], Iterator[Finding]]


def ask_aside(script: str) -> dict[str, Any]:
    """Run Python lines in a separate process and return their variable `answer`, or why there is none.

    A library that crashes, or hangs in a driver, then only ends that process. An answer has the key `problem` when the
    lines failed.
    """
    lines = f"import json\nanswer = {{}}\n{script}\nprint('\\n' + json.dumps(answer))"
    try:
        done = subprocess.run(
            [sys.executable, "-c", lines], capture_output=True, text=True, check=False, timeout=ASIDE_SECONDS
        )
    except subprocess.TimeoutExpired:
        return {"problem": f"no answer within {ASIDE_SECONDS:.0f} s"}
    if done.returncode < 0:
        return {"problem": f"it crashed with signal {-done.returncode}"}
    if done.returncode:
        said = done.stderr.strip().splitlines()
        return {"problem": said[-1] if said else f"exit status {done.returncode}"}
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer
