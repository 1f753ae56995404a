"""The wan engine around its model: takes asked for, frames finished, memory stepped down to. The model is a double."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from services.creation.camera import Camera
from services.creation.engine import Image, Shot, Step
from services.creation.engines.wan.camera_motion import measured
from services.creation.engines.wan.engine import WanEngine, _settled
from services.creation.engines.wan.generation_request import Take
from services.creation.engines.wan.memory_fallback import Ladder
from services.creation.engines.wan.plans import PLANS, Plan
from services.creation.request import ANIME, PIXEL, CreationRequest
from shared.errors import JobFailed

SIZE = (160, 96)
SHOT = Shot(
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
class Double:
    """Films a still scene whose brightness tells the time: frame n has n levels more than the first."""

    plan: Plan
    takes: list[Take] = field(default_factory=list)
    fails: Callable[[], BaseException | None] = lambda: None
    ignores: tuple[str, ...] = ()

    @property
    def details(self) -> dict[str, Any]:
        return {"model": "double", "plan": self.plan.name, "steps": 2}

    def warm(self) -> None:
        pass

    def __call__(self, take: Take, step: Step) -> list[Image]:
        self.takes.append(take)
        step(0.5)
        if error := self.fails():
            raise error
        step(1.0)
        return [scene() + np.uint8(index) for index in range(take.frame_count)]


def scene() -> Image:
    noise = np.random.default_rng(1).integers(0, 150, (24, 40, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(noise, SIZE, interpolation=cv2.INTER_CUBIC), np.uint8)


def mean(first: Image, second: Image, position: float) -> Image:
    return np.asarray(cv2.addWeighted(first, 1 - position, second, position, 0), np.uint8)


@dataclass(frozen=True)
class Held:
    """Footage that is in memory."""

    pictures: Sequence[Image]

    def frames(self, frame_rate: int) -> Iterator[Image]:
        assert frame_rate == 16, "the model's own rate"
        yield from self.pictures

    def samples(self) -> Sequence[Image]:
        return self.pictures[::16]


@dataclass
class Set:
    """An engine with its double and what it was told."""

    engine: WanEngine
    double: Double
    told: list[float] = field(default_factory=list)


@pytest.fixture
def film() -> Set:
    double = Double(PLANS["low"])
    return Set(WanEngine(Ladder(lambda _plan: double, double.plan), mean, area=160 * 96, guidance=5.0), double)


@pytest.mark.parametrize("fps", [8, 12, 16, 20, 24])
def test_three_seconds_at_any_rate_are_the_same_motion(film: Set, fps: int) -> None:
    frames = list(film.engine.from_text(replace(SHOT, frame_rate=fps, frame_count=3 * fps), film.told.append))
    assert len(frames) == 3 * fps
    times = np.array([frame.astype(float).mean() for frame in frames]) - frames[0].mean()
    wanted = np.arange(3 * fps) * 16 / fps  # levels are frames of the model's 16 a second
    assert np.abs(times - wanted).max() <= 0.76, "an instant is shown that is another frame's"


def test_a_take_carries_every_field_in_the_models_terms(film: Set) -> None:
    shot = replace(SHOT, negative_prompt="雨", guidance=24, movement=4, camera=Camera(zoom=1))
    list(film.engine.from_text(shot, film.told.append))
    (take,) = film.double.takes
    assert take.prompt.startswith("猫，")
    assert "推近" in take.prompt
    assert take.negative_prompt.startswith("雨，")
    assert (take.guidance, take.seed, take.size, take.frame_count) == (7.5, 5, SIZE, 49)
    assert take.control is None


def test_a_picture_is_the_first_frame_and_movement_the_freedom_to_leave_it(film: Set) -> None:
    wide = np.asarray(cv2.resize(scene(), (640, 300)), np.uint8)
    for movement in range(5):
        list(film.engine.from_picture(replace(SHOT, movement=movement), wide, film.told.append))
    controls = [take.control for take in film.double.takes]
    assert all(control and control.kept == 1 and len(control.leads) == 49 for control in controls)
    assert all(control and control.leads[1:] == (None,) * 48 for control in controls)
    first = controls[0].leads[0] if controls[0] else None
    assert first is not None
    assert first.shape == (96, 160, 3)
    livelinesses = [control.liveliness for control in controls if control]
    assert all(less < more for less, more in pairwise(livelinesses))
    assert livelinesses[1] == 1.0


@pytest.mark.parametrize(
    ("fields", "kept"),
    [({"prompt": ""}, 1), ({}, 0), ({"style": ANIME}, 0), ({"style": PIXEL, "prompt": ""}, 1)],
    ids=["own colours", "words", "anime", "pixel"],
)
def test_a_video_leads_by_its_light_or_its_lines(film: Set, fields: dict[str, Any], kept: int) -> None:
    shot = replace(SHOT, frame_rate=16, frame_count=12, **fields)
    frames = list(film.engine.from_video(shot, Held([scene()] * 12), film.told.append))
    assert len(frames) == 12  # and the take 13: no frame is dropped for the model's sake
    (take,) = film.double.takes
    assert take.control is not None
    assert (take.frame_count, take.control.kept) == (13, kept)
    drawn = take.control.leads[-1]
    assert drawn is not None
    assert np.ptp(drawn, axis=2).max() == 0, "colours are the model's"
    if fields.get("style") == ANIME:
        assert drawn.mean() > 128, "black lines on white paper"
    assert "镜头" not in take.prompt


def test_pixel_style_ends_in_cells_of_few_colours(film: Set) -> None:
    shot = replace(SHOT, frame_rate=16, frame_count=20, style=PIXEL)
    frames = np.stack(list(film.engine.from_video(shot, Held([scene()] * 20), film.told.append)))
    cells = frames.reshape(20, 24, 4, 40, 4, 3)
    assert (cells == cells[:, :, :1, :, :1]).all()
    assert len(np.unique(frames.reshape(-1, 3), axis=0)) <= 48


@pytest.mark.parametrize("count", [30, 72, 81, 82, 200])
@pytest.mark.parametrize("fps", [8, 16, 24])
def test_a_video_keeps_its_length_over_any_number_of_windows(film: Set, count: int, fps: int) -> None:
    shot = replace(SHOT, frame_rate=fps, frame_count=round(count / 16 * fps))
    frames = list(film.engine.from_video(shot, Held([scene()] * count), film.told.append))
    assert len(frames) == shot.frame_count
    assert all(take.frame_count <= PLANS["low"].window for take in film.double.takes)
    later = film.double.takes[1:]
    assert all(take.control and take.control.kept == 9 for take in later), "each goes on from the one before"


@pytest.mark.parametrize(("made", "asked", "shown"), [(5, 5, 5), (6, 5, 5), (4, 5, 5), (8, 5, 8), (2, 5, 2), (0, 5, 0)])
def test_only_the_rounding_of_a_length_is_made_up_for(made: int, asked: int, shown: int) -> None:
    """A header that lied by more is not believed: neither are frames dropped, nor a long end made of one frame."""
    assert len(list(_settled(iter([scene()] * made), asked))) == shown


def test_progress_rises_through_every_window_to_nearly_all(film: Set) -> None:
    list(film.engine.from_video(replace(SHOT, frame_count=300), Held([scene()] * 200), film.told.append))
    assert film.told == sorted(film.told)
    assert len(film.told) == 2 * len(film.double.takes) > 6
    assert 0.9 < film.told[-1] < 1


@pytest.mark.parametrize("camera", [Camera(pan_x=1), Camera(zoom=1), Camera(rotate=-1)], ids=str)
def test_a_camera_that_the_model_did_not_move_is_moved(film: Set, camera: Camera) -> None:
    frames = list(film.engine.from_text(replace(SHOT, camera=camera, movement=3), film.told.append))
    (axis, way) = next((axis, way) for axis, way in vars(camera).items() if way)
    moved = measured(frames)
    assert way * {"pan_x": moved.x, "zoom": moved.zoom, "rotate": moved.rotation}[axis] > 0.08


def test_a_stop_at_a_step_ends_the_clip(film: Set) -> None:
    class Stopped(BaseException):
        pass

    def stop(_progress: float) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        list(film.engine.from_text(SHOT, stop))


def test_fields_that_do_not_act_are_named(film: Set) -> None:
    body = {"task_id": 1, "dist_dir": "/m", "category": 3, "video_url": "/m/a.mp4", "movement": 3, "guidance": 20}
    request = CreationRequest.model_validate(body | {"prompt_cn": "猫"})
    assert film.engine.ignored(request) == ["movement"]
    assert film.engine.ignored(CreationRequest.model_validate(body | {"camera": "zoom in"})) == []
    film.double.ignores = ("guidance",)
    assert film.engine.ignored(request) == ["guidance", "movement"]


# Memory.


def ladder(errors: list[BaseException | None], plan: str = "speed") -> tuple[Ladder, list[str]]:
    """Return a ladder whose takes end with `errors` one after another, and the plans that it loads."""
    loaded: list[str] = []

    def load(plan: Plan) -> Double:
        loaded.append(plan.name)
        return Double(plan, fails=lambda: errors.pop(0) if errors else None)

    return Ladder(load, PLANS[plan]), loaded  # type: ignore[index]  # a plan's name


TAKE = Take("猫", "", 5.0, 1, SIZE, 5)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
    ids=["cuda", "python", "cpu"],
)
def test_a_take_without_room_is_made_again_one_plan_lower_and_stays_there(error: BaseException) -> None:
    model, loaded = ladder([error])
    assert len(model(TAKE, lambda _share: None)) == 5
    assert loaded == ["speed", "balanced"]
    assert model.details["plan"] == "balanced"
    assert model.window == PLANS["balanced"].window
    model(TAKE, lambda _share: None)
    assert loaded == ["speed", "balanced"]


def test_a_second_lack_of_room_ends_the_task_with_the_plan_that_failed() -> None:
    model, loaded = ladder([torch.OutOfMemoryError(), torch.OutOfMemoryError()])
    with pytest.raises(JobFailed, match="not even under plan balanced"):
        model(TAKE, lambda _share: None)
    assert loaded == ["speed", "balanced"]


@pytest.mark.parametrize("plan", ["low", "draft"])
def test_below_the_smallest_plan_there_is_none(plan: str) -> None:
    model, _ = ladder([MemoryError()], plan)
    with pytest.raises(JobFailed, match=f"not even under plan {plan}"):
        model(TAKE, lambda _share: None)


def test_another_error_is_no_lack_of_room() -> None:
    model, loaded = ladder([RuntimeError("shapes differ")])
    with pytest.raises(RuntimeError, match="shapes differ"):
        model(TAKE, lambda _share: None)
    assert loaded == ["speed"]
