"""Which face a position means."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.facefusion.reference_face import Reference, key_of, resolve_reference, target_key, url_key
from services.facefusion.request import FaceFusionRequest
from shared.files.handles import InputFile


def face(position: int) -> dict[str, Any]:
    return Reference(
        frame=3,
        position=position,
        bbox=(1.0, 2.0, 3.0, 4.0),
        landmarks5=((1.0, 2.0),) * 5,
        size=(640, 360),
        embedding=(0.6, 0.8),
        embedder="sface",
    ).to_json()


MINE, ANOTHERS = [face(0), face(1)], [face(7)]


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "target.mp4"
    path.write_bytes(b"a video")
    return path


def resolve(target: Path, galleries: dict[int | None, list[dict[str, Any]]], **fields: object) -> dict[str, Any]:
    """Resolve with galleries by task_id; None is whoever was last."""
    stat = target.stat()

    async def newest_artifact(key: str, *, task_id: int | None = None) -> dict[str, Any] | None:
        assert key == target_key(target.name, stat.st_size, stat.st_mtime_ns)
        return {"frame": 3, "faces": galleries[task_id]} if task_id in galleries else None

    body = {"task_id": 5, "dist_dir": "/x", "source_file": "/s", "target_file": str(target)} | fields
    return asyncio.run(resolve_reference(FaceFusionRequest.model_validate(body), target, newest_artifact))


def test_the_tasks_own_gallery_comes_before_everybody_elses(target: Path) -> None:
    galleries = {5: MINE, None: ANOTHERS}
    assert resolve(target, galleries, reference_face_position=1) == {"reference": MINE[1]}


def test_without_an_own_gallery_the_targets_newest_counts(target: Path) -> None:
    assert resolve(target, {None: ANOTHERS}) == {"reference": ANOTHERS[0]}


def test_without_any_gallery_the_run_must_find_the_face_itself(target: Path) -> None:
    assert resolve(target, {}, reference_face_position=9) == {}


@pytest.mark.parametrize("programe", [0, 1])
def test_a_position_past_the_end_of_a_known_gallery_is_its_last_face(target: Path, programe: int) -> None:
    assert resolve(target, {5: MINE}, reference_face_position=2, programe=programe) == {"reference": MINE[1]}


@pytest.mark.parametrize("mode", ["one", "many"])
def test_the_other_modes_need_no_reference(target: Path, mode: str) -> None:
    assert resolve(target, {5: MINE}, face_selector_mode=mode, reference_face_position=99) == {}


def test_each_entry_has_the_face_at_its_position_and_past_the_end_nobody(target: Path) -> None:
    faces = [{"reference_face_position": 1}, {"reference_face_position": 2}, {"reference_face_position": 0}]
    assert resolve(target, {5: MINE}, faces=faces) == {"references": [MINE[1], None, MINE[0]]}
    assert resolve(target, {}, faces=faces) == {}
    assert resolve(target, {5: MINE}, faces=faces, face_selector_mode="many") == {}


async def test_a_target_that_is_fetched_is_known_by_its_url() -> None:
    url = "https://cdn.example.com/target.mp4?signature=1"

    async def newest_artifact(key: str, *, task_id: int | None = None) -> dict[str, Any] | None:
        return {"frame": 3, "faces": MINE} if task_id == 5 and key == url_key(url) else None

    body = {"task_id": 5, "dist_dir": "/x", "source_file": "/s", "target_file": url, "reference_face_position": 1}
    request = FaceFusionRequest.model_validate(body)
    assert await resolve_reference(request, url, newest_artifact) == {"reference": MINE[1]}
    assert await resolve_reference(request, f"{url}2", newest_artifact) == {}


def test_the_run_of_a_preview_finds_the_same_key(target: Path) -> None:
    stat = target.stat()
    local = InputFile(-1, target.name, stat.st_size, stat.st_mtime_ns)
    assert key_of(local) == target_key(target.name, stat.st_size, stat.st_mtime_ns)
    assert key_of(replace(local, origin="https://a/b")) == url_key("https://a/b")


def test_a_changed_target_has_another_key(target: Path) -> None:
    stat = target.stat()
    keys = {
        target_key(target.name, stat.st_size, stat.st_mtime_ns),
        target_key(target.name, stat.st_size + 1, stat.st_mtime_ns),
        target_key(target.name, stat.st_size, stat.st_mtime_ns + 1),
        target_key("other.mp4", stat.st_size, stat.st_mtime_ns),
    }
    assert len(keys) == 4


def test_the_landmarks_are_stored_under_the_key_of_the_rows_that_exist() -> None:
    stored = face(0)

    assert stored["points"] == ((1.0, 2.0),) * 5
    assert set(stored) == {"frame", "position", "bbox", "points", "size", "embedding", "embedder"}
    assert Reference.from_json(stored).landmarks5 == ((1.0, 2.0),) * 5


def test_a_reference_is_the_same_after_json() -> None:
    assert Reference.from_json(face(1)).to_json() == face(1)
