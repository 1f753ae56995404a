"""The start of each service's runner, by what it notes itself: `python -m benchmarks.cold_start [--starts 5]`.

From the start of the process until it takes tasks, and the loading of its model, on an external database as a pod has
it. What an orchestrator needs before that (a poll, a node, an image) is its own.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg

from shared.database.database import Database
from shared.settings import Settings
from shared.vocabulary import SERVICES

PATIENCE_SECONDS = 600.0
KINDS = dict.fromkeys(SERVICES, ("generate",)) | {"facefusion": ("generate", "preview")}


def starts(home: Path, uri: str, service: str, kind: str, count: int) -> Iterator[tuple[float, float, float]]:
    """Start a runner so many times; yield the seconds of its start, of its model, and of processor time for both."""
    for number in range(count):
        state = home / f"{service}-{kind}-{number}"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("KINORA_")} | {
            "KINORA_DATABASE_URL": uri,
            "KINORA_STATE_DIR": str(state),
            "KINORA_MEDIA_ROOTS": str(home),
            "KINORA_PRELOAD": "true",
        }
        command = [sys.executable, "-m", f"services.{service}.runner", "--kind", kind]
        # On a CPU it lowers the priority of its session, which must not be ours.
        with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, start_new_session=True) as runner:
            try:
                start, load = measured(uri, service, kind)
                used = psutil.Process(runner.pid).cpu_times()
                yield start, load, used.user + used.system
            finally:
                runner.terminate()
        with psycopg.connect(uri) as connection:
            connection.execute("DELETE FROM kinora_versions")


def measured(uri: str, service: str, kind: str) -> tuple[float, float]:
    """Wait for what the runner notes of its start."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        with psycopg.connect(uri) as connection:
            found = connection.execute(
                "SELECT start_seconds, load_seconds FROM kinora_versions"
                " WHERE service = %s AND kind = %s AND start_seconds + load_seconds IS NOT NULL",
                (service, kind),
            ).fetchone()
        if found:
            return found[0], found[1]
        time.sleep(0.1)
    raise TimeoutError(f"the runner of {service} {kind} did not start")


def main() -> None:
    """Print one line for each service and kind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=5, help="of each, of which the median is shown")
    count = parser.parse_args().starts
    with tempfile.TemporaryDirectory(prefix="kinora-starts-") as folder:
        database = Database(Settings(state_dir=Path(folder) / "database")).start()
        try:
            for service, kinds in KINDS.items():
                for kind in kinds:
                    found = list(starts(Path(folder), database.uri, service, kind, count))
                    start, load, used = (statistics.median(part) for part in zip(*found, strict=True))
                    line = f"{service} {kind}: start {start:.1f} s, model {load:.1f} s, processor time {used:.1f} s"
                    sys.stdout.write(f"{line}\n")
                    sys.stdout.flush()
        finally:
            database.stop()


if __name__ == "__main__":
    main()
