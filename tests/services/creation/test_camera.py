"""Where the camera goes, measured as a viewer would: by following points of the picture through the finished frames."""

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
import pytest

from services.creation.camera import Camera
from services.creation.engine import ClipSpec
from services.creation.engines.classic.engine import ClassicEngine
from shared import weights
from shared.arrays import Image

SIZE = (512, 288)
FRAMES = 25
STRIDE = 4  # frames between two measurements
AXES = ("x", "y", "zoom", "turn")


@dataclass(frozen=True)
class Motion:
    """What the content did over a clip, each axis in pixels at the frame's corner: right, down, larger, clockwise."""

    x: float
    y: float
    zoom: float
    turn: float


@pytest.fixture(scope="module")
def pictures() -> list[Image]:
    """A rendered scene, a portrait, and a made-up texture: none of them square to the frame."""
    capture = cv2.VideoCapture(str(weights.path("clip-bigbuckbunny")))
    capture.set(cv2.CAP_PROP_POS_FRAMES, 60)
    scene = capture.read()[1]
    portrait = cv2.imread(str(weights.path("picture-single-face")))
    random = np.random.default_rng(0)
    noise = sum(
        cv2.resize(random.normal(size=(n, n, 3)), (900, 700), interpolation=cv2.INTER_CUBIC) for n in (8, 24, 72, 200)
    )
    texture = np.clip(128 + 40 * np.asarray(noise), 0, 255)
    return [np.asarray(picture, np.uint8) for picture in (scene, portrait, texture)]


def frames(picture: Image, words: str, *, movement: int = 2, seed: int = 7) -> list[Image]:
    spec = ClipSpec(
        size=SIZE,
        frame_rate=8,
        frame_count=FRAMES,
        seed=seed,
        movement=movement,
        camera=Camera.parse(words),
        style=0,
        prompt="",
        negative_prompt="",
        guidance=12,
    )
    return list(ClassicEngine().from_picture(spec, picture, lambda _progress: None))


def motion(clip: list[Image]) -> Motion:
    """Sum robust similarity fits of tracked points, about the middle of the frame."""
    middle = (np.array(SIZE) - 1) / 2
    corner = float(np.hypot(*SIZE)) / 2
    total = np.zeros(4)
    for before, after in zip(clip[:-STRIDE:STRIDE], clip[STRIDE::STRIDE], strict=True):
        grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (before, after)]
        points = cv2.goodFeaturesToTrack(grey[0], 400, 0.005, 6)
        there, found, _ = cv2.calcOpticalFlowPyrLK(grey[0], grey[1], points, np.empty(0))
        back, found_again, _ = cv2.calcOpticalFlowPyrLK(grey[1], grey[0], there, np.empty(0))
        kept = (
            (np.asarray(found).ravel() == 1)
            & (np.asarray(found_again).ravel() == 1)
            & (np.abs(back - points).max(axis=(1, 2)) < 0.3)
        )
        fit, _ = cv2.estimateAffinePartial2D(
            points[kept, 0] - middle, there[kept, 0] - middle, method=cv2.RANSAC, ransacReprojThreshold=1.0
        )
        total += (
            fit[0, 2],
            fit[1, 2],
            corner * np.log(np.hypot(fit[0, 0], fit[1, 0])),
            corner * np.arctan2(fit[1, 0], fit[0, 0]),
        )
    return Motion(*total)


def mean_flow(clip: list[Image]) -> float:
    flows = []
    for before, after in zip(clip[:-STRIDE:STRIDE], clip[STRIDE::STRIDE], strict=True):
        grey = [cv2.resize(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), None, fx=0.5, fy=0.5) for frame in (before, after)]
        flow = cv2.calcOpticalFlowFarneback(grey[0], grey[1], np.empty(0), 0.5, 4, 21, 3, 7, 1.5, 0)
        flows.append(2 * np.linalg.norm(flow, axis=2).mean())
    return float(np.mean(flows))


@pytest.mark.parametrize(
    ("words", "moves"),
    [
        ("zoom in", {"zoom": 1}),
        ("zoom out", {"zoom": -1}),
        ("pan right", {"x": -1}),
        ("pan left", {"x": 1}),
        ("pan up", {"y": 1}),
        ("pan down", {"y": -1}),
        ("pan up-left", {"x": 1, "y": 1}),
        ("pan up-right", {"x": -1, "y": 1}),
        ("pan down-left", {"x": 1, "y": -1}),
        ("pan down-right", {"x": -1, "y": -1}),
        ("tilt up", {"y": 1}),
        ("tilt down", {"y": -1}),
        ("rotate cw", {"turn": -1}),
        ("rotate ccw", {"turn": 1}),
        ("zoom in, rotate ccw", {"zoom": 1, "turn": 1}),
    ],
)
def test_the_content_moves_against_the_camera_and_in_no_other_way(
    pictures: list[Image], words: str, moves: dict[str, int]
) -> None:
    for picture in pictures:
        seen = motion(frames(picture, words))
        asked = {axis: getattr(seen, axis) * sign for axis, sign in moves.items()}
        least = min(asked.values())
        assert least > 0.03 * SIZE[1], f"{words}: {seen}"
        for axis in set(AXES) - set(moves):
            assert abs(getattr(seen, axis)) < 0.1 * least, f"{words}: {axis} of {seen}"


@pytest.mark.parametrize("words", ["", "pan left", "zoom out", "tilt up", "rotate cw"])
def test_every_step_of_movement_moves_at_least_a_quarter_more(pictures: list[Image], words: str) -> None:
    flows = [mean_flow(frames(pictures[0], words, movement=movement)) for movement in range(5)]
    assert all(more >= 1.25 * less for less, more in pairwise(flows)), flows


def test_the_calmest_picture_without_a_camera_hardly_moves(pictures: list[Image]) -> None:
    seen = motion(frames(pictures[0], "", movement=0))
    assert max(abs(seen.x), abs(seen.y), abs(seen.zoom), abs(seen.turn)) < 0.01 * SIZE[0]


def test_the_least_camera_still_moves(pictures: list[Image]) -> None:
    assert motion(frames(pictures[0], "pan left", movement=0)).x > 0.02 * SIZE[0]


@pytest.mark.parametrize("words", ["", "pan left"])
def test_the_same_seed_gives_the_same_frames_and_another_seed_others(pictures: list[Image], words: str) -> None:
    one, again, other = (frames(pictures[1], words, seed=seed) for seed in (1, 1, -(2**63)))
    assert all(np.array_equal(a, b) for a, b in zip(one, again, strict=True))
    assert not np.array_equal(one[-1], other[-1])


@pytest.mark.parametrize("size", [(900, 400), (400, 900)])
def test_no_frame_looks_past_the_edge_of_the_picture(size: tuple[int, int]) -> None:
    """Over a picture that is a slope both ways, whatever lies beyond its edge would be level."""
    across, down = np.meshgrid(np.linspace(0, 255, size[0]), np.linspace(0, 255, size[1]))
    slope = np.stack([across, down, down], axis=-1).astype(np.uint8)
    for words in ("pan up-left", "rotate cw", "tilt up, pan right", "zoom out, rotate ccw, pan down"):
        for frame in frames(slope, words, movement=4)[::6]:
            level = frame.astype(int)
            for edge, inside in ((level[:, 0], level[:, 8]), (level[:, -1], level[:, -9])):
                assert np.abs(edge - inside).sum(axis=-1).min() > 0, words
            for edge, inside in ((level[0], level[8]), (level[-1], level[-9])):
                assert np.abs(edge - inside).sum(axis=-1).min() > 0, words


def test_the_first_frame_is_the_picture_itself_where_the_camera_zooms_in(pictures: list[Image]) -> None:
    scene = pictures[0]
    first = frames(scene, "zoom in", movement=2)[0]
    wanted = cv2.resize(scene, SIZE, interpolation=cv2.INTER_AREA)
    assert np.abs(first.astype(int) - wanted).mean() < 3


def test_an_endless_panorama_costs_no_more_than_a_picture() -> None:
    panorama = np.full((32, 30_000, 3), 200, np.uint8)
    assert {frame.shape for frame in frames(panorama, "zoom in, pan left", movement=4)} == {(SIZE[1], SIZE[0], 3)}
