"""The wan engine around its model: requests, finished frames, smaller plans. The model is a double."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from services.creation.camera import Camera
from services.creation.engine import ClipSpec, OnProgress
from services.creation.engines.wan.camera_motion import measure_motion
from services.creation.engines.wan.engine import WanEngine
from services.creation.engines.wan.generation_request import GenerationRequest
from services.creation.engines.wan.memory_fallback import MemoryFallback
from services.creation.engines.wan.plans import PLANS, Plan
from services.creation.engines.wan.windows import to_length
from services.creation.request import ANIME, PIXEL, CreationRequest
from shared.arrays import Image
from shared.errors import JobFailed

SIZE = (160, 96)
SPEC = ClipSpec(
    size=SIZE,
    frame_rate=24,
    frame_count=72,
    seed=5,
    movement=1,
    camera=Camera(),
    style=0,
    prompt="猫",
    negative_prompt="",
    guidance=12,
)


@dataclass
class GeneratorDouble:
    """Makes a still scene whose brightness tells the time: frame n has n levels more than the first."""

    plan: Plan
    requests: list[GenerationRequest] = field(default_factory=list)
    fails: Callable[[], BaseException | None] = lambda: None
    ignores: tuple[str, ...] = ()

    @property
    def details(self) -> dict[str, Any]:
        return {"model": "double", "plan": self.plan.name, "steps": 2}

    def warm(self) -> None:
        pass

    def __call__(self, request: GenerationRequest, on_progress: OnProgress) -> list[Image]:
        self.requests.append(request)
        on_progress(0.5)
        if error := self.fails():
            raise error
        on_progress(1.0)
        return [scene() + np.uint8(index) for index in range(request.frame_count)]


def scene() -> Image:
    noise = np.random.default_rng(1).integers(0, 150, (24, 40, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(noise, SIZE, interpolation=cv2.INTER_CUBIC), np.uint8)


def mean(first: Image, second: Image, position: float) -> Image:
    return np.asarray(cv2.addWeighted(first, 1 - position, second, position, 0), np.uint8)


@dataclass(frozen=True)
class FramesInMemory:
    """Source frames that are in memory."""

    pictures: Sequence[Image]
    ends: bool = True

    def frames(self, frame_rate: int) -> Iterator[Image]:
        assert frame_rate == 16, "the model's own rate"
        yield from self.pictures

    def samples(self) -> Sequence[Image]:
        return self.pictures[::16]


@dataclass
class Harness:
    """An engine with its double, and the progress that was reported."""

    engine: WanEngine
    double: GeneratorDouble
    reported: list[float] = field(default_factory=list)


@pytest.fixture
def harness() -> Harness:
    double = GeneratorDouble(PLANS["low"])
    return Harness(
        WanEngine(MemoryFallback(lambda _plan: double, double.plan), mean, area=160 * 96, guidance=5.0), double
    )


@pytest.mark.parametrize("fps", [8, 12, 16, 20, 24])
def test_three_seconds_at_any_rate_are_the_same_motion(harness: Harness, fps: int) -> None:
    frames = list(harness.engine.from_text(replace(SPEC, frame_rate=fps, frame_count=3 * fps), harness.reported.append))
    assert len(frames) == 3 * fps
    times = np.array([frame.astype(float).mean() for frame in frames]) - frames[0].mean()
    wanted = np.arange(3 * fps) * 16 / fps  # levels are frames of the model's 16 a second
    assert np.abs(times - wanted).max() <= 0.76, "an instant is shown that is another frame's"


def test_a_request_carries_every_field_in_the_models_terms(harness: Harness) -> None:
    spec = replace(SPEC, negative_prompt="雨", guidance=24, movement=4, camera=Camera(zoom=1))
    list(harness.engine.from_text(spec, harness.reported.append))
    (request,) = harness.double.requests
    assert request.prompt.startswith("猫，")
    assert "推近" in request.prompt
    assert request.negative_prompt.startswith("雨，")
    assert (request.guidance, request.seed, request.size, request.frame_count) == (7.5, 5, SIZE, 49)
    assert request.control is None


def test_a_picture_is_the_first_frame_and_movement_the_freedom_to_leave_it(harness: Harness) -> None:
    wide = np.asarray(cv2.resize(scene(), (640, 300)), np.uint8)
    for movement in range(5):
        list(harness.engine.from_picture(replace(SPEC, movement=movement), wide, harness.reported.append))
    controls = [request.control for request in harness.double.requests]
    assert all(control and control.kept == 1 and len(control.control_frames) == 49 for control in controls)
    assert all(control and control.control_frames[1:] == (None,) * 48 for control in controls)
    first = controls[0].control_frames[0] if controls[0] else None
    assert first is not None
    assert first.shape == (96, 160, 3)
    strengths = [control.motion_strength for control in controls if control]
    assert all(less < more for less, more in pairwise(strengths))
    assert strengths[1] == 1.0


@pytest.mark.parametrize(
    ("fields", "kept"),
    [({"prompt": ""}, 1), ({}, 0), ({"style": ANIME}, 0), ({"style": PIXEL, "prompt": ""}, 1)],
    ids=["own colours", "words", "anime", "pixel"],
)
def test_a_video_controls_the_model_by_its_luminance_or_its_lines(
    harness: Harness, fields: dict[str, Any], kept: int
) -> None:
    spec = replace(SPEC, frame_rate=16, frame_count=12, **fields)
    frames = list(harness.engine.from_video(spec, FramesInMemory([scene()] * 12), harness.reported.append))
    assert len(frames) == 12  # and the request 13: no frame is dropped to suit the model
    (request,) = harness.double.requests
    assert request.control is not None
    assert (request.frame_count, request.control.kept) == (13, kept)
    drawn = request.control.control_frames[-1]
    assert drawn is not None
    assert np.ptp(drawn, axis=2).max() == 0, "colours are the model's"
    if fields.get("style") == ANIME:
        assert drawn.mean() > 128, "black lines on white paper"
    assert "镜头" not in request.prompt


def test_pixel_style_ends_in_cells_of_few_colours(harness: Harness) -> None:
    spec = replace(SPEC, frame_rate=16, frame_count=20, style=PIXEL)
    frames = np.stack(list(harness.engine.from_video(spec, FramesInMemory([scene()] * 20), harness.reported.append)))
    cells = frames.reshape(20, 24, 4, 40, 4, 3)
    assert (cells == cells[:, :, :1, :, :1]).all()
    assert len(np.unique(frames.reshape(-1, 3), axis=0)) <= 48


@pytest.mark.parametrize("count", [30, 72, 81, 82, 200])
@pytest.mark.parametrize("fps", [8, 16, 24])
def test_a_video_keeps_its_length_over_any_number_of_windows(harness: Harness, count: int, fps: int) -> None:
    spec = replace(SPEC, frame_rate=fps, frame_count=round(count / 16 * fps))
    frames = list(harness.engine.from_video(spec, FramesInMemory([scene()] * count), harness.reported.append))
    assert len(frames) == spec.frame_count
    assert all(request.frame_count <= PLANS["low"].window for request in harness.double.requests)
    later = harness.double.requests[1:]
    assert all(request.control and request.control.kept == 9 for request in later), "each continues from the one before"


@pytest.mark.parametrize(("made", "asked", "shown"), [(5, 5, 5), (6, 5, 5), (4, 5, 5), (8, 5, 8), (2, 5, 2), (0, 5, 0)])
def test_only_the_rounding_of_a_length_is_corrected(made: int, asked: int, shown: int) -> None:
    """Where a header was wrong by more, no frames are dropped and no long end is made of one frame."""
    assert len(list(to_length(iter([scene()] * made), asked))) == shown


def test_progress_rises_through_every_window_to_nearly_all(harness: Harness) -> None:
    list(
        harness.engine.from_video(
            replace(SPEC, frame_count=300), FramesInMemory([scene()] * 200), harness.reported.append
        )
    )
    assert harness.reported == sorted(harness.reported)
    assert len(harness.reported) == 2 * len(harness.double.requests) > 6
    assert 0.9 < harness.reported[-1] < 1


@pytest.mark.parametrize("camera", [Camera(pan_x=1), Camera(zoom=1), Camera(rotate=-1)], ids=str)
def test_a_camera_that_the_model_did_not_move_is_moved(harness: Harness, camera: Camera) -> None:
    frames = list(harness.engine.from_text(replace(SPEC, camera=camera, movement=3), harness.reported.append))
    (axis, way) = next((axis, way) for axis, way in vars(camera).items() if way)
    moved = measure_motion(frames)
    assert way * {"pan_x": moved.x, "zoom": moved.zoom, "rotate": moved.rotation}[axis] > 0.08


def test_a_stop_at_a_step_ends_the_clip(harness: Harness) -> None:
    class Stopped(BaseException):
        pass

    def stop(_progress: float) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        list(harness.engine.from_text(SPEC, stop))


def test_fields_that_do_not_act_are_named(harness: Harness) -> None:
    body = {"task_id": 1, "dist_dir": "/m", "category": 3, "video_url": "/m/a.mp4", "movement": 3, "guidance": 20}
    request = CreationRequest.model_validate(body | {"prompt_cn": "猫"})
    assert harness.engine.ignored(request) == ["movement"]
    assert harness.engine.ignored(CreationRequest.model_validate(body | {"camera": "zoom in"})) == []
    harness.double.ignores = ("guidance",)
    assert harness.engine.ignored(request) == ["guidance", "movement"]


# Memory.


def fallback(errors: list[BaseException | None], plan: str = "speed") -> tuple[MemoryFallback, list[str]]:
    """Return a model whose runs end with `errors` one after another, and the plans that it loads."""
    loaded: list[str] = []

    def load(plan: Plan) -> GeneratorDouble:
        loaded.append(plan.name)
        return GeneratorDouble(plan, fails=lambda: errors.pop(0) if errors else None)

    return MemoryFallback(load, PLANS[plan]), loaded  # type: ignore[index]  # a plan's name


REQUEST = GenerationRequest("猫", "", 5.0, 1, SIZE, 5)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
    ids=["cuda", "python", "cpu"],
)
def test_a_request_that_does_not_fit_runs_again_with_the_smaller_plan_which_is_kept(error: BaseException) -> None:
    model, loaded = fallback([error])
    assert len(model(REQUEST, lambda _progress: None)) == 5
    assert loaded == ["speed", "balanced"]
    assert model.details["plan"] == "balanced"
    assert model.window_at(16) == PLANS["balanced"].window
    model(REQUEST, lambda _progress: None)
    assert loaded == ["speed", "balanced"]


def test_a_second_lack_of_memory_ends_the_task_with_the_plan_that_failed() -> None:
    model, loaded = fallback([torch.OutOfMemoryError(), torch.OutOfMemoryError()])
    with pytest.raises(JobFailed, match="not even under plan balanced"):
        model(REQUEST, lambda _progress: None)
    assert loaded == ["speed", "balanced"]


@pytest.mark.parametrize("plan", ["low", "draft"])
def test_below_the_smallest_plan_there_is_none(plan: str) -> None:
    model, _ = fallback([MemoryError()], plan)
    with pytest.raises(JobFailed, match=f"not even under plan {plan}"):
        model(REQUEST, lambda _progress: None)


def test_another_error_is_no_lack_of_memory() -> None:
    model, loaded = fallback([RuntimeError("shapes differ")])
    with pytest.raises(RuntimeError, match="shapes differ"):
        model(REQUEST, lambda _progress: None)
    assert loaded == ["speed"]


def test_a_clip_longer_than_the_present_plan_makes_fails_with_its_limit(harness: Harness) -> None:
    with pytest.raises(JobFailed, match=r"4 s are more than the 3 s"):
        list(harness.engine.from_text(replace(SPEC, frame_count=4 * SPEC.frame_rate), harness.reported.append))


def test_drawn_paths_are_a_video_whose_first_frame_is_kept(harness: Harness) -> None:
    moved = [scene() for _ in range(49)]
    spec = replace(SPEC, prompt="")
    assert (
        len(list(harness.engine.from_paths(spec, FramesInMemory(moved), harness.reported.append))) == SPEC.frame_count
    )
    (request,) = harness.double.requests
    assert request.control
    assert request.control.kept == 1
    assert len(request.control.control_frames) == 49


@pytest.mark.parametrize("fps", [8, 16, 24])
def test_a_clip_ends_with_the_last_picture_where_one_is_given(harness: Harness, fps: int) -> None:
    spec = replace(SPEC, frame_rate=fps, frame_count=3 * fps)
    last = np.full((96, 160, 3), 200, np.uint8)
    list(harness.engine.from_picture(spec, scene(), harness.reported.append, last))
    (request,) = harness.double.requests
    assert request.control
    frames, kept = request.control.control_frames, request.control.kept_at_end
    shown = (spec.frame_count - 1) * 16 / fps  # the instant of the clip's last frame, in frames of the model
    assert len(frames) - kept <= shown
    assert all(np.array_equal(np.asarray(frame), last) for frame in frames[-kept:])
    assert all(frame is None for frame in frames[1:-kept])
