"""Containers of several images, and what an operator gives to all of them."""

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
from psycopg.rows import dict_row

from benchmarks.clips import write_clip
from shared import weights
from shared.testing.stack import free_port
from tests.support.container import Container
from tests.support.engine import BuiltImage, Engine

USER = 1034  # of the images
TOKEN = "a-token-of-the-operator"
AUTHORISED = {"authorization": f"Bearer {TOKEN}"}
TASK_SECONDS = 600
Running = Container[BuiltImage]


@dataclass
class Deployment:
    """Containers around one folder of media, as compose has them."""

    engine: Engine
    home: Path
    settings: Mapping[str, str]
    database: str = ""  # its URL for the test
    containers: dict[str, Running] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for folder in (self.media, self.home / "state"):
            folder.mkdir(parents=True)
            shutil.chown(folder, USER, USER)
        write_clip(self.media / "clip.mp4", size=(48, 32), frames=12, sound=True)
        write_clip(self.media / "longer.mp4", size=(96, 64), frames=90)
        shutil.copyfile(weights.path("picture-single-face"), self.media / "face.jpg")

    @property
    def media(self) -> Path:
        return self.home / "media"

    def start(
        self, image: str, release: str, more: Mapping[str, str] | None = None, *, port: int | None = None
    ) -> Running:
        """Start an image; it takes the place of what ran under its name and version before."""
        volumes = {self.media: "/media", self.home / "state": "/state"}
        folder = self.home / "at" / f"{image}-{release}-{len(list(self.home.glob('at/*.log')))}"
        built = BuiltImage(self.engine, f"{image}:{release}", volumes)
        container = Container(built, folder, {**self.settings, **(more or {})}, port=port or free_port())
        self.containers[f"{image}:{release}"] = container
        container.start()
        return container

    def post(self, service: str, task_id: int, **body: object) -> None:
        """Post a task to whoever has the documented URLs; it is accepted."""
        front = next(found for name, found in self.containers.items() if name.startswith(("router:", "kinora:")))
        content = {"task_id": task_id, "dist_dir": f"/media/out/{task_id}"} | body
        address = f"{front.url}/api/ai/{service}"
        answer = httpx.post(address, json=content, headers=AUTHORISED, trust_env=False, timeout=60)
        assert answer.json() == {"err_code": 0, "err_msg": ""}

    def row(self, task_id: int) -> dict[str, Any]:
        """Return what the database knows of a task."""
        with psycopg.connect(self.database, row_factory=dict_row) as connection:
            found = connection.execute("SELECT * FROM kinora_tasks WHERE task_id = %s", (task_id,)).fetchone()
        assert found
        return found

    def wait_until_in_progress(self, task_id: int) -> None:
        deadline = time.monotonic() + TASK_SECONDS
        while not 0 < self.row(task_id)["progress"] < 1:
            assert time.monotonic() < deadline, self.row(task_id)
            time.sleep(0.05)

    def kill(self) -> None:
        for container in self.containers.values():
            container.kill()
