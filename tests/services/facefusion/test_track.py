"""Following faces through frames."""

from collections.abc import Iterator

import numpy as np

from services.facefusion.face import Face
from services.facefusion.smoothing import OneEuro
from services.facefusion.track import LONGEST_GAP, Tracker
from shared.arrays import Image
from tests.support.faces import frames_of, model

BLANK: Image = np.zeros((90, 160, 3), np.uint8)


def face(x: float, y: float = 20, size: float = 30) -> Face:
    return Face(np.array([x, y, x + size, y + size], np.float32), np.full((5, 2), x, np.float32), 0.9)


def tracker_of(frames: list[list[Face]]) -> Tracker:
    """A tracker whose detector finds these faces, frame by frame."""
    found: Iterator[list[Face]] = iter(frames)
    return Tracker(lambda _image: next(found))


def numbers(tracker: Tracker, images: list[Image]) -> list[list[int]]:
    """Which tracks the detector saw in each frame, left to right."""
    return [
        [
            track.number
            for track in sorted(tracker(image, index), key=lambda track: float(track.face.bbox[0]))
            if track.detected
        ]
        for index, image in enumerate(images)
    ]


def test_a_moving_face_keeps_its_number() -> None:
    assert numbers(tracker_of([[face(x)] for x in range(0, 60, 6)]), [BLANK] * 10) == [[1]] * 10


def test_two_faces_side_by_side_are_not_mixed_up() -> None:
    frames = [[face(20 + step), face(80 - step)] for step in range(10)]
    assert numbers(tracker_of(frames), [BLANK] * 10) == [[1, 2]] * 10


def test_a_short_gap_is_bridged_and_the_track_recognised_again_afterwards() -> None:
    frames = [[face(20)], [face(21)], [], [], [], [face(24)]]
    tracker = tracker_of(frames)
    for index in range(2):
        (track,) = tracker(BLANK, index)
    track.doubtful = False

    assert [len(tracker(BLANK, index)) for index in range(2, 5)] == [1, 1, 1]
    (again,) = tracker(BLANK, 5)

    assert again is track
    assert again.doubtful


def test_a_face_that_stays_away_is_forgotten() -> None:
    tracker = tracker_of([[face(20)], *[[]] * (LONGEST_GAP + 1), [face(20)]])

    seen = numbers(tracker, [BLANK] * (LONGEST_GAP + 3))

    assert seen[0] == [1]
    assert seen[-1] == [2]
    assert [track.number for track in tracker.all()] == [1, 2]


def test_a_cut_ends_every_track_though_the_next_face_is_in_the_same_place() -> None:
    bright = np.full_like(BLANK, 200)
    tracker = tracker_of([[face(20)]] * 4)

    assert numbers(tracker, [BLANK, BLANK, bright, bright]) == [[1], [1], [2], [2]]


def test_faces_that_meet_are_recognised_again() -> None:
    tracker = tracker_of([[face(20), face(70)], [face(26), face(64)], [face(32), face(50)]])
    for index in range(2):
        for track in tracker(BLANK, index):
            track.doubtful = False

    assert all(track.doubtful for track in tracker(BLANK, 2))


def test_landmarks_of_a_still_face_jitter_less_than_the_networks_and_do_not_lag() -> None:
    frames = frames_of("clip-single-face")
    tracker = Tracker(model().detect)
    smoothed, raw = [], []
    for index, image in enumerate(frames):
        (track,) = tracker(image, index)
        view = track.locate(image, model().landmarks, 1 / 30)
        assert view is not None
        smoothed.append(view.landmarks[:, :2])
        raw.append(model().view(image, track.face).landmarks[:, :2])

    def jitter(points: list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]) -> float:
        return float(np.abs(np.diff(points, 2, axis=0)).mean())

    assert jitter(smoothed) < 0.9 * jitter(raw)
    assert np.abs(np.array(smoothed) - np.array(raw)).mean() < 0.01 * np.ptp(raw[0][:, 1])


def test_the_filter_follows_a_fast_motion_and_calms_noise() -> None:
    noise = np.random.default_rng(1).normal(0, 0.5, (60, 1, 2)).astype(np.float32)
    still, moving = OneEuro(), OneEuro()
    calmed = np.array([still(point, 1 / 30, 200) for point in noise])
    fast = [moving(np.full((1, 2), 20 * step, np.float32), 1 / 30, 200) for step in range(20)]

    assert calmed[10:].std() < 0.7 * noise[10:].std()
    assert abs(float(fast[-1][0, 0]) - 20 * 19) < 10  # in a tenth of a second it moves 60 pixels
