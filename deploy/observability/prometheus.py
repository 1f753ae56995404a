"""A real Prometheus, Debian's, that scrapes one address under our rules for the length of a block."""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import yaml

from shared.testing.stack import free_port

ROOM = Path(__file__).parent
STOP_SECONDS = 20.0


@contextmanager
def running_prometheus(
    home: Path, target: str, *, scrape_seconds: int = 1, patience_seconds: float = 280.0
) -> Iterator[httpx.Client]:
    """Start a Prometheus in a folder and wait for its first four scrapes; yield a client of it.

    Raises TimeoutError with its log when they do not come.
    """
    port = free_port()
    shutil.copy(ROOM / "rules.yml", home)
    config = yaml.safe_load((ROOM / "prometheus.yml").read_text(encoding="utf-8"))
    config["global"] = dict.fromkeys(config["global"], f"{scrape_seconds}s")
    config["scrape_configs"][0]["static_configs"] = [{"targets": [target]}]
    (home / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    command = [
        "prometheus", f"--config.file={home}/prometheus.yml", f"--storage.tsdb.path={home}/data",
        f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip
    with (home / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            _wait(lambda: _scrapes(client) >= 4, home / "log", patience_seconds)  # noqa: PLR2004
            yield client
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)


def _scrapes(client: httpx.Client) -> int:
    try:
        answer = client.get("/api/v1/query", params={"query": 'count_over_time(up{job="kinora"}[1m])'}).json()
    except (httpx.TransportError, ValueError):
        return 0
    return int(answer["data"]["result"][0]["value"][1]) if answer.get("data", {}).get("result") else 0


def _wait(condition: Callable[[], bool], log: Path, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(log.read_text(encoding="utf-8"))
        time.sleep(0.3)
