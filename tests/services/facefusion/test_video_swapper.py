"""Frames of a video side by side: what depends on the frame before comes in order, whoever is quicker."""

import random
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.facefusion.face import Face
from services.facefusion.face_analysis import SwapContext, gallery_of
from services.facefusion.model import FaceModel
from services.facefusion.portrait import prepare_sources
from services.facefusion.request import FaceFusionRequest
from services.facefusion.video_swapper import VideoSwapper
from shared.arrays import Image
from shared.media.decode import open_video
from shared.pipeline.direct_job import DirectJob
from shared.process.in_turn import in_turn
from tests.services.facefusion.test_pipeline import write_video
from tests.support.faces import SETTINGS, frames_of, model, pair, portrait


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A portrait, and two people of whom one goes after half of the film."""
    folder = tmp_path_factory.mktemp("in")
    his, hers = frames_of("clip-single-face", count=24), frames_of("clip-woman-hands", count=24, start=300)
    frames = [np.hstack([one[:, 40:520], other[:, 160:]]) for one, other in zip(his, hers, strict=True)]
    for frame in frames[12:]:
        frame[:, 480:] = 90
    return portrait(folder), write_video(folder / "film.mp4", frames)


def swapped(folder: Path, inputs: tuple[Path, Path], faces: FaceModel, **fields: Any) -> tuple[list[Image], Any]:
    """Return the pictures of the film, and the report."""
    job = DirectJob(folder, SETTINGS)
    body = {"task_id": 1, "dist_dir": str(folder), "source_file": str(inputs[0]), "target_file": str(inputs[1])}
    request = FaceFusionRequest.model_validate(body | {"programe": 1} | fields)
    with job.input(str(inputs[0])) as picture, job.input(str(inputs[1])) as file, open_video(file) as video:
        reference = gallery_of(pair(), 0, request, faces).reference(0, faces)
        sources = prepare_sources(job, request, faces, {request.source_file: picture})
        swapper = VideoSwapper(SwapContext(job, request, faces, sources, (reference,)), video)
        pictures = [np.asarray(frame.image, np.uint8) for frame in swapper.swap(video.frames())]
        return pictures, swapper.report()


def unevenly(image: Image) -> list[Face]:
    """Detect faces, now quickly and now slowly."""
    time.sleep(random.uniform(0, 0.03))
    return model().detect(image)


@pytest.mark.parametrize("mode", ["many", "one", "reference"])
def test_frames_side_by_side_are_those_one_by_one(tmp_path: Path, inputs: tuple[Path, Path], mode: str) -> None:
    expected = swapped(tmp_path, inputs, replace(model(), at_once=1), face_selector_mode=mode)
    for at_once in (2, 7):
        found = swapped(tmp_path, inputs, replace(model(), at_once=at_once, detect=unevenly), face_selector_mode=mode)
        assert found[1] == expected[1]
        assert all(np.array_equal(one, other) for one, other in zip(found[0], expected[0], strict=True))
    assert expected[1]["swapped_frames"] == 24


def test_large_frames_are_fewer_at_a_time(
    tmp_path: Path, inputs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def noting(function: Any, items: Iterator[Any], threads: int) -> Iterator[Any]:
        seen.append(threads)
        return in_turn(function, items, 1)

    monkeypatch.setattr("services.facefusion.video_swapper.in_turn", noting)
    swapped(tmp_path, inputs, replace(model(), at_once=64))
    monkeypatch.setattr("services.facefusion.video_swapper._MOST_BYTES", 64 * 960 * 360 * 5)
    swapped(tmp_path, inputs, replace(model(), at_once=64))
    monkeypatch.setattr("services.facefusion.video_swapper._MOST_BYTES", 1)
    swapped(tmp_path, inputs, replace(model(), at_once=64))
    assert seen == [64, 5, 1]


def test_what_a_detector_raises_comes_through(tmp_path: Path, inputs: tuple[Path, Path]) -> None:
    def failing(image: Image) -> list[Face]:
        if image.shape == pair().shape and image[0, 700, 0] in range(86, 95):
            raise ZeroDivisionError
        return model().detect(image)

    with pytest.raises(ZeroDivisionError):
        swapped(tmp_path, inputs, replace(model(), detect=failing, at_once=3))
