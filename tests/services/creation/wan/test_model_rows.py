"""Every model of the table over HTTP, router to callback: all categories that it makes, all fields that it takes.

One stack with a store of its own serves all of them: before each row the store is emptied, and its model is pulled.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.models import ModelStore
from PIL import Image as Pillow

from services.creation.engines.wan.draft import UPSCALER
from services.creation.request import PICTURE, TEXT, VIDEO
from shared import weights
from shared.demo.clips import facts
from shared.testing.callback_receiver import Receiver
from shared.testing.stack import Stack
from shared.weights.model_store import StoredModel
from tests.support import clips
from tests.support.model_rows import LAST, REFERENCES, ModelRow, model_rows

PIXELS = 64 * 32
SECONDS, RATE = 1, 8  # of a clip; frames a second, fewer than any model's own
CALLBACK_SECONDS = 600  # a runner yields to everything else on a busy machine
NAMES = {TEXT: "text", PICTURE: "picture", VIDEO: "video"}
_ids = count(1)


@dataclass(frozen=True)
class Workshop:
    """Creation behind a router, whose store this test fills."""

    client: httpx.Client
    receiver: Receiver
    media: Path

    def make(self, **fields: object) -> tuple[Path, dict[str, Any]]:
        """Post a task, wait for its callback; return the clip and the task's details."""
        task_id = next(_ids)
        body = {"task_id": task_id, "dist_dir": str(self.media / "out"), "fps": RATE, "seed": 7} | fields
        assert self.client.post("/api/ai/creation", json=body).json() == {"err_code": 0, "err_msg": ""}
        payload = self.receiver.wait_for(task_id, timeout_seconds=CALLBACK_SECONDS).payload
        assert payload["err_code"] == 0, payload
        rows = self.client.get(f"/api/ai/tasks/{task_id}", params={"service": "creation"}).raise_for_status().json()
        return self.media / "out" / payload["video_url"], rows["tasks"][0]["details"]


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    folder = tmp_path_factory.mktemp("rows")
    home, media = folder / "bentoml", folder / "media"
    upscaler = weights.path(UPSCALER).parent
    shutil.copytree(upscaler, home / "models" / upscaler.parent.name / upscaler.name)
    BentoMLContainer.bentoml_home.set(str(home))
    BentoMLContainer.model_store.set(ModelStore(home / "models"))
    media.mkdir()
    for name in ("first.png", "last.png", "reference.png"):
        Pillow.effect_noise((64, 32), 60).convert("RGB").save(media / name)
    clips.clip(media / "in.mp4", seconds=SECONDS, rate="16", size=(64, 32), sound=None)
    environment = {
        "KINORA_SERVICES": "creation",
        "KINORA_CREATION_PIXELS": str(PIXELS),
        "KINORA_CREATION_STEPS": "2",
        "KINORA_CREATION_PREVIEWS": "false",
        "KINORA_DEVICE": "cpu",
        "KINORA_PRESET": "ultrafast",
        "OMP_NUM_THREADS": "1",
        "BENTOML_HOME": str(home),
    }
    try:
        with Receiver() as receiver:
            stack = Stack(folder / "state", (media,), receiver.url, environment=environment)
            with stack.running(), stack.client() as client:
                yield Workshop(client, receiver, media)
    finally:
        BentoMLContainer.bentoml_home.reset()
        BentoMLContainer.model_store.reset()


def pull_alone(row: ModelRow, folder: Path) -> None:
    """Have a row's model, and no other one, be in the store."""
    for entry in weights.entries().values():
        if entry.is_model:
            StoredModel(entry.tag).clear()
    built = row.build(folder / "model")

    def lay_out(target: Path) -> list[str]:
        shutil.copytree(built, target, dirs_exist_ok=True)
        return [path.relative_to(built).as_posix() for path in built.rglob("*") if path.is_file()]

    StoredModel(weights.entry(row.name).tag).fill(lay_out, labels={}, origin="a test")
    assert weights.exists(row.name)


def bodies(row: ModelRow, media: Path) -> Iterator[tuple[int, dict[str, object]]]:
    """Yield a request for every category of a row, with every optional field that the model takes."""
    for category in sorted(row.categories):
        fields: dict[str, object] = {"category": category, "prompt_cn": "海边的猫", "aspect_ratio": "2:1"}
        if category == PICTURE:
            fields["image_url"] = str(media / "first.png")
            if LAST in row.fields:
                fields[LAST] = str(media / "last.png")
        if category == VIDEO:
            fields["video_url"] = str(media / "in.mp4")
        else:
            fields["duration"] = SECONDS
        if REFERENCES in row.fields:
            fields[REFERENCES] = [str(media / "reference.png")]
        yield category, fields


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("row", list(model_rows()), ids=lambda row: row.name)
def test_a_model_makes_every_category_that_it_can(workshop: Workshop, row: ModelRow, tmp_path: Path) -> None:
    pull_alone(row, tmp_path)
    for category, fields in bodies(row, workshop.media):
        path, details = workshop.make(**fields)
        clip = facts(path)
        assert details["engine"] == "wan", NAMES[category]
        assert details["model"] == row.name, NAMES[category]
        assert clip.frame_rate == RATE, NAMES[category]
        assert clip.frames == SECONDS * RATE, NAMES[category]
        assert clip.width > clip.height, NAMES[category]
        assert not {"duration", LAST, REFERENCES} & set(details["ignored_fields"])
