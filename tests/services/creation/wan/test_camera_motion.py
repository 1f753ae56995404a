"""How far a clip moves by itself, and the warp that adds what is missing of an asked camera move."""

import cv2
import numpy as np
import pytest

from services.creation.camera import Camera
from services.creation.effects.camera_path import CameraPose, camera_path
from services.creation.effects.viewport import Viewport
from services.creation.engines.wan.camera_motion import measure_motion, missing_motion, warp
from shared.arrays import Image

SIZE = (320, 192)
COUNT = 9
MOVES = [
    Camera(zoom=1), Camera(zoom=-1), Camera(pan_x=1), Camera(pan_x=-1), Camera(pan_y=1), Camera(pan_y=-1),
    Camera(rotate=1), Camera(rotate=-1), Camera(tilt=1), Camera(tilt=-1), Camera(pan_x=1, pan_y=1),
]  # fmt: skip


@pytest.fixture(scope="module")
def scene() -> Image:
    random = np.random.default_rng(3)
    noise = random.integers(0, 256, (60, 100, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(noise, (800, 480), interpolation=cv2.INTER_CUBIC), np.uint8)


def filmed(scene: Image, camera: Camera, movement: int, share: float = 1.0) -> list[Image]:
    """Film a still scene with `share` of a camera move, as a model may that was asked in a prompt."""
    path = [scaled(pose, share) for pose in camera_path(camera, movement, 1, COUNT)]
    viewport = Viewport(path, source=(800, 480), size=SIZE)
    supersampled = viewport.supersample(scene)
    return [viewport.render(supersampled, index) for index in range(COUNT)]


def scaled(pose: CameraPose, share: float) -> CameraPose:
    return CameraPose(**{axis: share * value for axis, value in vars(pose).items()})


def upright(pose: CameraPose) -> float:
    return pose.y - 1.8 * float(np.tan(pose.tilt))


@pytest.mark.parametrize("camera", MOVES, ids=str)
def test_a_cameras_move_is_measured_from_its_pictures(scene: Image, camera: Camera) -> None:
    path = camera_path(camera, 3, 1, COUNT)
    moved = measure_motion(filmed(scene, camera, 3))
    assert moved.zoom == pytest.approx(path[-1].zoom - path[0].zoom, abs=0.02)
    assert moved.x == pytest.approx(path[-1].x - path[0].x, abs=0.012)
    assert moved.y == pytest.approx(upright(path[-1]) - upright(path[0]), abs=0.012)
    assert moved.rotation == pytest.approx(path[-1].rotation - path[0].rotation, abs=0.01)


@pytest.mark.parametrize("share", [0.5, -0.5])
@pytest.mark.parametrize("camera", MOVES[::2], ids=str)
def test_what_is_missing_of_a_move_is_added(scene: Image, camera: Camera, share: float) -> None:
    frames = filmed(scene, camera, 3, share)
    path = camera_path(camera, 3, 1, COUNT)
    whole = measure_motion(list(warp(frames, missing_motion(path, measure_motion(frames), camera), SIZE)))
    wanted = measure_motion(filmed(scene, camera, 3))
    for axis in ("zoom", "x", "y", "rotation"):
        # What the warp magnifies to hide its edges, it magnifies of the clip's own motion too: within a fifth.
        assert getattr(whole, axis) == pytest.approx(getattr(wanted, axis), rel=0.2, abs=0.01), axis


def test_a_clip_that_moves_as_asked_is_left_alone(scene: Image) -> None:
    camera = Camera(pan_x=1, zoom=1)
    frames = filmed(scene, camera, 2)
    path = missing_motion(camera_path(camera, 2, 1, COUNT), measure_motion(frames), camera)
    assert all(after is before for before, after in zip(frames, warp(frames, path, SIZE), strict=True))


def test_a_clip_that_went_too_far_is_not_turned_back(scene: Image) -> None:
    camera = Camera(pan_x=1)
    path = missing_motion(camera_path(camera, 1, 1, COUNT), measure_motion(filmed(scene, camera, 4)), camera)
    assert path[0] == path[-1] == CameraPose()


def test_something_that_moves_before_a_still_camera_is_no_camera_move(scene: Image) -> None:
    frames = filmed(scene, Camera(), 0)
    for index, frame in enumerate(frames):
        frame[60:120, 20 + 10 * index : 80 + 10 * index] = scene[:60, :60]
    moved = measure_motion(frames)
    assert max(abs(moved.x), abs(moved.y), abs(moved.zoom), abs(moved.rotation)) < 0.01


def test_noise_and_emptiness_count_as_a_camera_that_does_not_move() -> None:
    random = np.random.default_rng(0)
    noise = [random.integers(0, 256, (96, 160, 3), dtype=np.uint8) for _ in range(5)]
    assert measure_motion(noise) == CameraPose()
    assert measure_motion([np.zeros((96, 160, 3), np.uint8)] * 3) == CameraPose()
