"""Whole requests with a restorer: who gets it, what is told, and what goes from segment to segment."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.facefusion.face_analysis import SwapContext
from services.facefusion.model import FaceModel
from services.facefusion.pipeline import swap_faces
from services.facefusion.portrait import open_sources, prepare_sources
from services.facefusion.preview import preview_swap
from services.facefusion.request import FaceFusionRequest
from services.facefusion.restoration.enhancement import enhanced
from services.facefusion.restoration.restorer import Restorer
from services.facefusion.video_swapper import VideoSwapper
from shared.errors import JobFailed
from shared.media.decode import open_video
from shared.pipeline.direct_job import DirectJob
from shared.pipeline.job import Result
from shared.settings import FaceFusionSettings
from tests.services.facefusion.test_pipeline import decode, halves, write_video
from tests.services.facefusion.test_segments import BEFORE, LENGTH, Attempts, Counting, film_of, one_by_one
from tests.support.faces import SETTINGS, difference, frames_of, man, model, pair, portrait, read, save
from tests.support.restorers import EVEN, lighter, model_with, noisy
from tests.support.segmented_work import Killed, contents


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return save(tmp_path / "in" / "pair.png", pair())


def run(folder: Path, faces: FaceModel, enhance_blend: int = 80, /, **fields: Any) -> tuple[Result, DirectJob]:
    settings = SETTINGS.model_copy(
        update={"facefusion": FaceFusionSettings(swapper="classic", enhance_blend=enhance_blend)}
    )
    folder.mkdir(parents=True, exist_ok=True)
    body = {"task_id": 7, "dist_dir": str(folder)} | fields
    request = FaceFusionRequest.model_validate(body)
    job = DirectJob(folder, settings, service="facefusion")
    return job.run(swap_faces if request.programe else preview_swap, request, faces), job


def test_a_picture_is_restored_without_a_source_and_without_a_swap(tmp_path: Path, target: Path) -> None:
    faces = model_with(lighter(tmp_path))
    fields: dict[str, Any] = {
        "programe": 1,
        "target_file": str(target),
        "enhance_only": 1,
        "face_selector_mode": "many",
    }
    result, job = run(tmp_path / "out", faces, **fields)
    found = read(tmp_path / "out" / result.video)
    change = found.astype(int) - pair().astype(int)
    for half in (change[:, :480], change[:, 480:]):  # 80 % of what the restorer adds, in two faces
        assert np.percentile(half, 99.5) == pytest.approx(0.8 * EVEN * 127.5, abs=1)
    assert (change == 0).mean() > 0.5
    assert job.details["swapper"] == "none"
    assert job.details["face_enhance"] == {"model": "lighter", "blend": 80}
    assert job.details["audit"]["source_sha256"] == ""
    assert job.details["ignored_fields"] == []


def test_a_face_that_no_swap_could_be_put_on_is_restored_all_the_same(tmp_path: Path) -> None:
    """Old, blurred faces are what restoring is for: nobody is left out for landmarks that do not hold."""
    animal = frames_of("clip-bigbuckbunny", count=1, start=18)[0]
    assert not any(model().holds(animal, face) for face in model().detect(animal))
    fields: dict[str, Any] = {
        "programe": 1,
        "target_file": str(save(tmp_path / "animal.png", animal)),
        "enhance_only": 1,
        "face_selector_mode": "many",
    }
    result, _ = run(tmp_path / "out", model_with(lighter(tmp_path)), **fields)
    assert difference(read(tmp_path / "out" / result.video), animal).max() > 0.5 * EVEN * 127.5


def test_a_preview_of_that_shows_the_chosen_face_restored(tmp_path: Path, target: Path) -> None:
    faces = model_with(lighter(tmp_path))
    fields: dict[str, Any] = {
        "target_file": str(target),
        "enhance_only": 1,
        "reference_face_position": 1,
        "face_enhance": 100,
    }
    result, job = run(tmp_path / "out", faces, **fields)
    left, right = halves(read(tmp_path / "out" / result.preview))
    assert right > 3 * left
    assert len(result.references) == 2
    assert job.details["face_enhance"]["blend"] == 100


def test_a_swap_is_restored_by_the_share_of_the_request(tmp_path: Path, target: Path) -> None:
    faces, source = model_with(lighter(tmp_path)), str(portrait(tmp_path / "in"))
    files: dict[str, Any] = {"source_file": source, "target_file": str(target), "programe": 1}
    pictures = []
    for percent in (None, 0, 50, 100):
        result, job = run(tmp_path / "out", faces, **files, face_enhance=percent)
        pictures.append(read(tmp_path / "out" / result.video).astype(int))
        assert job.details["swapper"] == "classic"
        assert ("face_enhance" in job.details) == bool(percent)
    swapped, none, half, full = pictures
    assert np.array_equal(swapped, none)  # bit for bit
    assert np.percentile(half - swapped, 99.8) == pytest.approx(0.5 * EVEN * 127.5, abs=1)
    assert np.percentile(full - swapped, 99.8) == pytest.approx(EVEN * 127.5, abs=1)


def test_settings_restore_every_task_but_one_that_says_0(tmp_path: Path, target: Path) -> None:
    restorer = lighter(tmp_path)
    faces = replace(model(), restorer=lambda _asked: restorer)
    files: dict[str, Any] = {"source_file": str(portrait(tmp_path / "in")), "target_file": str(target)}
    assert run(tmp_path / "out", faces, 35, **files)[1].details["face_enhance"]["blend"] == 35
    assert "face_enhance" not in run(tmp_path / "out", faces, 35, **files, face_enhance=0)[1].details
    assert "face_enhance" not in run(tmp_path / "out", faces, 0, **files)[1].details
    only = run(tmp_path / "out", faces, 0, **files, enhance_only=1)[1].details
    assert only["face_enhance"]["blend"] == 100
    assert only["ignored_fields"] == ["source_file"]


def test_entries_that_are_only_restored_choose_faces_and_need_no_source(tmp_path: Path, target: Path) -> None:
    fields: dict[str, Any] = {"target_file": str(target), "programe": 1, "enhance_only": 1}
    result, job = run(tmp_path / "out", model_with(lighter(tmp_path)), faces=[{"reference_face_position": 1}], **fields)
    left, right = halves(read(tmp_path / "out" / result.video))
    assert left < 0.01 < right
    assert job.details["audit"]["source_sha256s"] == [""]
    assert [len(row["tracks"]) for row in job.details["entries"]] == [1]


@pytest.mark.parametrize("fields", [{"face_enhance": 1}, {"enhance_only": 1}])
@pytest.mark.parametrize("programe", [0, 1])
def test_without_a_restorer_whoever_asks_for_one_is_told(
    tmp_path: Path, target: Path, fields: dict[str, int], programe: int
) -> None:
    files: dict[str, Any] = {
        "source_file": str(portrait(tmp_path / "in")),
        "target_file": str(target),
        "programe": programe,
    }
    with pytest.raises(JobFailed, match=r"kinora weights pull gfpgan-1\.4"):
        run(tmp_path / "out", model_with(None), **files, **fields)
    assert list((tmp_path / "out").iterdir()) == []


def context_of(
    job: DirectJob, clip: Path, source: Path, restorer: Restorer, at_once: int, **fields: Any
) -> SwapContext:
    body = {"task_id": 1, "dist_dir": str(clip.parent), "source_file": str(source), "target_file": str(clip)}
    request = FaceFusionRequest.model_validate(body | {"programe": 1, "face_selector_mode": "many"} | fields)
    faces = enhanced(job, request, replace(model_with(restorer), at_once=at_once))
    with ExitStack() as stack:
        files = open_sources(job, request, stack)
        return SwapContext(job, request, faces, prepare_sources(job, request, faces, files), None)


@pytest.mark.parametrize("fields", [{"face_enhance": 90}, {"enhance_only": 1}])
def test_a_state_between_frames_and_frames_side_by_side_change_nothing(tmp_path: Path, fields: dict[str, int]) -> None:
    """One swapper makes the clip at once, three frames side by side; another goes on from bytes every three frames."""
    clip = write_video(tmp_path / "clip.mp4", frames_of("clip-single-face", count=9))
    source, restorer = portrait(tmp_path / "in"), noisy(tmp_path)
    job = DirectJob(tmp_path, SETTINGS)
    with job.input(str(clip)) as file, open_video(file) as video:
        whole = VideoSwapper(context_of(job, clip, source, restorer, 3, **fields), video)
        expected = list(whole.swap(video.frames()))
        state: bytes | None = None
        found = []
        frames = list(video.frames())
        before = frames[5].image.copy()
        for first in (0, 3, 6):
            part = VideoSwapper(context_of(job, clip, source, restorer, 1, **fields), video)
            part.begin(state)
            found += list(part.swap(iter(frames[first : first + 3])))
            state = part.state()
        assert all(np.array_equal(one.image, other.image) for one, other in zip(found, expected, strict=True))
        assert state == whole.state()
        assert len(state) < 2_300_000  # of one face, which the estimate of a film's room counts on
        assert difference(found[5].image, before).max() > 5


def test_a_film_is_restored_from_end_to_end(tmp_path: Path) -> None:
    clip = write_video(tmp_path / "in" / "clip.mp4", frames_of("clip-single-face", count=5))
    faces = model_with(lighter(tmp_path))
    result, job = run(tmp_path / "out", faces, programe=1, target_file=str(clip), enhance_only=1)
    made = decode(tmp_path / "out" / result.video)
    assert len(made) == 5
    assert job.details["swapped_frames"] == 5
    assert job.details["swapper"] == "none"
    x, y = 0, 0
    assert difference(made[2], man())[y, x] < 12
    assert np.percentile(made[2].astype(int) - decode(clip)[2].astype(int), 99) > 5


@pytest.mark.slow
def test_a_restored_film_that_was_stopped_in_the_middle_of_a_shot_is_the_undisturbed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.facefusion.turned.TURNS", ())  # one detection a frame, so that their number is its
    source, film = portrait(tmp_path / "source"), film_of(tmp_path / "film.mp4")
    restorer = noisy(tmp_path)
    undisturbed, stopped = (Attempts(tmp_path / name, source, film, face_enhance=70) for name in ("one", "two"))
    expected = undisturbed.make(replace(model_with(restorer), at_once=3))
    dying = one_by_one(Counting(dies_at=BEFORE + 2 * LENGTH + 3))
    with pytest.raises(Killed):
        stopped.make(replace(dying, restorer=lambda _asked: restorer))
    assert len(stopped.segments()) == 2
    assert contents(stopped.make(model_with(restorer))) == contents(expected)
    assert stopped.details() == undisturbed.details()
    assert stopped.job.details["face_enhance"] == {"model": "noisy", "blend": 70}
