"""Draw the dashboard over a few minutes of real work: `python -m deploy.observability [--seconds 180]`.

Starts everything on this machine, posts small tasks to each service, has Debian's Prometheus scrape the router, and
writes `docs/images/dashboard.png`.
"""

import argparse
import itertools
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from deploy.observability.picture import picture
from deploy.observability.prometheus import running_prometheus
from deploy.observability.series import Panel, Range, answered
from shared.demo.run import material
from shared.demo.tasks import Excerpt
from shared.testing.callback_receiver import Receiver
from shared.testing.stack import Stack

PICTURE = Path(__file__).parents[2] / "docs" / "images" / "dashboard.png"
PAUSE_SECONDS = 4.0  # between two requests
SCRAPE_SECONDS = 2
RATE_SECONDS = 20.0  # ten scrapes: a rate of few tasks is no row of needles
POINTS = 240  # of a line
KINDS = 5  # of tasks; the first requests are one of each
WARM_SECONDS = 500.0  # until each of these has ended
LAST_SECONDS = 10.0  # after the last request, for what is still at work
HTTP_OK = 200
SMALL = Excerpt("clip-bigbuckbunny", begin=2.0, seconds=1.5, size=(160, 90))
STILL = Excerpt("clip-bigbuckbunny", begin=3.6, seconds=0.0, size=(320, 180))
FACE = Excerpt("clip-woman-hands", begin=10.1, seconds=0.0, size=(640, 360))
MAN = Excerpt("clip-single-face", begin=0.0, seconds=1.0, size=(320, 180))


def requests(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield paths and bodies without end: every kind of task, and now and then one that is refused."""
    clip, still, face, man = (str(material(excerpt, folder / "in")) for excerpt in (SMALL, STILL, FACE, MAN))
    faces = {"source_file": face, "target_file": man}
    round_of_all: list[tuple[str, dict[str, Any]]] = [
        ("upscale", {"video_url": clip, "ratio": 2}),
        ("interpo", {"video_url": clip, "rate": 2}),
        ("facefusion", {**faces, "programe": 0, "frame_number": 10}),
        ("creation", {"image_url": still, "category": 2, "camera": "zoom in", "movement": 1, "seed": 7}),
        ("facefusion", {**faces, "programe": 1}),
        ("upscale", {"video_url": clip, "ratio": 4}),
        ("interpo", {"video_url": clip, "rate": 3}),  # refused: no such rate
        ("interpo", {"video_url": clip, "rate": 4}),
    ]
    for number, (service, fields) in enumerate(itertools.cycle(round_of_all), start=1):
        yield service, {"task_id": number, "dist_dir": str(folder / "out"), **fields}


def work(client: httpx.Client, receiver: Receiver, folder: Path, seconds: float) -> float:
    """Post small tasks, for so long after one of each kind has ended; return when that was, in seconds since 1970."""
    began_at = 0.0
    for number, (service, body) in enumerate(requests(folder), start=1):
        if began_at and time.time() > began_at + seconds:
            return began_at
        answer = client.post(f"/api/ai/{service}", json=body)
        assert answer.status_code == HTTP_OK, answer.text
        if number == KINDS:  # models are loaded by now
            for task_id in range(1, KINDS + 1):
                receiver.wait_for(task_id, timeout_seconds=WARM_SECONDS)
            began_at = time.time()
        if began_at:
            time.sleep(PAUSE_SECONDS)
    raise AssertionError("requests never end")


def without(home: str, panel: Panel) -> Panel:
    """Return a panel whose legend does not name the folder of this run."""
    return replace(panel, series=tuple(replace(line, name=line.name.replace(home, "")) for line in panel.series))


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=180.0, help="of work")
    parser.add_argument("--picture", type=Path, default=PICTURE)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kinora-dashboard-") as home, Receiver() as receiver:
        folder = Path(home)
        (folder / "out").mkdir()
        (folder / "prometheus").mkdir()
        environment = {"KINORA_PRESET": "ultrafast", "KINORA_SEGMENT_SECONDS": "0.4"}
        stack = Stack(folder / "state", (folder / "in", folder / "out"), receiver.url, environment=environment)
        with (
            stack.running(timeout_seconds=300),
            running_prometheus(
                folder / "prometheus", f"127.0.0.1:{stack.port}", scrape_seconds=SCRAPE_SECONDS
            ) as prometheus,
            stack.client() as client,
        ):
            start = work(client, receiver, folder, options.seconds)
            time.sleep(LAST_SECONDS)
            end = time.time()
            shown = Range(start, end, (end - start) / POINTS, RATE_SECONDS)
            panels = [without(home, panel) for panel in answered(prometheus, shown)]
            picture(panels, shown).quantize(256).save(options.picture, optimize=True)
    sys.stdout.write(f"{options.picture}\n")


if __name__ == "__main__":
    main()
