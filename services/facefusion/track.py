"""Following faces from frame to frame, so that each is recognised once and rendered steadily."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from services.facefusion.attributes import Attributes
from services.facefusion.face import Face, Float, iou
from services.facefusion.landmarks import LandmarkFinder, crop_of_landmarks, crop_of_landmarks5
from services.facefusion.smoothing import OneEuro
from services.facefusion.swapper import View
from shared.arrays import Image, Picture
from shared.media.shot_boundary import CutDetector, reduced

SAME_FACE_IOU = 0.25  # of a track's box with a detection's: from here on it may be the same face
MEETING_IOU = 0.2  # of two tracks' boxes: above it both are recognised again
LONGEST_STEP = 0.3  # of the face's size: how far a face moves between two frames at most; twice that after a gap
LONGEST_GAP = 12  # frames without a detection in which a face is followed by its landmarks alone
MIN_PRESENCE = 0.5  # the landmark network's own score: below it there is no face in the crop
QUICK_STEP = 0.08  # of the face's size: a larger step moves the next crop, whose margin would not hold it
FADE_STEP = 0.34  # opacity lost or gained per frame while a face is doubtful
REPORTED_TRACKS = 200  # of which something is kept when they have ended: the first ones


@dataclass
class TrackSpan:
    """When a track was there: all that the report needs of one that has ended."""

    number: int
    first: int  # frame in which it appeared
    last: int  # frame in which the detector last saw it
    frames: int  # frames in which the detector saw it


@dataclass
class Track:
    """One face for as long as it can be followed."""

    number: int
    face: Face
    first: int  # frame in which it appeared
    last: int  # frame in which the detector last saw it
    missed: int = 0  # frames since then
    frames: int = 1  # frames in which the detector saw it
    recognitions: int = 0
    recognised_at: int = 0  # frame of the last recognition
    doubtful: bool = True  # recognise (again) before the embedding counts
    embedding: Float | None = None
    attributes: Attributes | None = None
    landmarks: Float | None = None  # (468, 3) in frame pixels, smoothed
    opacity: float = 1.0
    fresh: bool = True  # no view was made yet
    smooth_landmarks: OneEuro = field(default_factory=OneEuro)
    smooth_landmarks5: OneEuro = field(default_factory=OneEuro)
    moved: Float = field(default_factory=lambda: np.zeros(2, np.float32))  # pixels since the frame before

    @property
    def detected(self) -> bool:
        """Whether the detector saw it in the current frame."""
        return self.missed == 0

    @property
    def span(self) -> TrackSpan:
        """When it was there so far."""
        return TrackSpan(self.number, self.first, self.last, self.frames)

    def locate(self, image: Image, finder: LandmarkFinder, seconds: float) -> View | None:
        """Find and smooth the landmarks, `seconds` after the last frame; None when there is no face to be rendered."""
        found, presence = finder(image, self._crop(image, finder))
        seen = presence >= MIN_PRESENCE
        self.doubtful |= not seen
        self.opacity = min(1.0, self.opacity + FADE_STEP) if seen else self.opacity - FADE_STEP
        if not seen and (self.landmarks is None or self.opacity <= 0):
            self.opacity = max(self.opacity, 0.0)
            return None
        height = max(float(np.ptp(found[:, 1])), 1.0)
        if seen or self.landmarks is None:
            before = self.landmarks
            self.landmarks = self.smooth_landmarks(found, seconds, height)
            if not self.detected and before is not None:
                self.face = shifted(self.face, (self.landmarks - before)[:, :2].mean(0))
        landmarks5 = self.smooth_landmarks5(self.face.landmarks5, seconds, height)
        view = View(replace(self.face, landmarks5=landmarks5), self.landmarks, self.fresh, self.opacity)
        self.fresh = False
        return view

    def _crop(self, image: Image, finder: LandmarkFinder) -> Float:
        """Return where to search: around the last landmarks, or around those of a first pass."""
        if self.landmarks is None:
            rough, _ = finder(image, crop_of_landmarks5(self.face.landmarks5))
            return crop_of_landmarks(rough)
        crop = crop_of_landmarks(self.landmarks)
        if self.detected and float(np.abs(self.moved).max()) > QUICK_STEP * float(self.face.size.max()):
            crop[:2] += self.moved  # the head moves quickly: search where the detector sees it
        return crop


@dataclass
class Tracker:
    """`tracker(image, index) -> list[Track]`: the tracks of this frame, with those that a short gap interrupts.

    The faces of a frame are `detect`ed unless they are given.
    """

    detect: Callable[[Image], list[Face]]
    tracks: list[Track] = field(default_factory=list)
    ended: list[TrackSpan] = field(default_factory=list)
    started: int = 0
    cuts: CutDetector = field(default_factory=CutDetector)
    before: Picture | None = None  # the last picture, reduced: whoever has that picture may paint on it

    def __call__(
        self, image: Image, index: int, faces: list[Face] | None = None, small: Picture | None = None
    ) -> list[Track]:
        """Detect faces, end all tracks at a cut, and give every face to the track that it continues.

        `small` is the image `reduced`, where that is known.
        """
        if self._is_cut(reduced(image) if small is None else small):
            self._end(self.tracks)
        faces = self.detect(image) if faces is None else faces
        for track, face in assign(self.tracks, faces):
            track.moved = np.asarray(face.centre - track.face.centre, np.float32)
            track.doubtful |= track.missed > 1
            track.face, track.last, track.missed = face, index, 0
            track.frames += 1
            faces = [other for other in faces if other is not face]
        for track in self.tracks:
            if track.last != index:
                track.missed += 1
                track.moved = np.zeros(2, np.float32)
        for one in self.tracks:  # two faces that meet may have been exchanged
            others = (other for other in self.tracks if other is not one)
            one.doubtful |= any(iou(one.face.bbox, other.face.bbox) > MEETING_IOU for other in others)
        for face in faces:
            self.started += 1
            self.tracks.append(Track(self.started, face, index, index))
        self._end([track for track in self.tracks if track.missed > LONGEST_GAP])
        return list(self.tracks)

    def all(self) -> list[TrackSpan]:
        """Return the first `REPORTED_TRACKS` tracks so far, in order of appearance."""
        spans = [*self.ended, *(track.span for track in self.tracks if track.number <= REPORTED_TRACKS)]
        return sorted(spans, key=lambda span: span.number)

    def remembered(self) -> dict[str, Any]:
        """Return what `recall` takes: all that the next frames depend on, for `shared.pipeline.state_bytes`."""
        return {
            "tracks": self.tracks,
            "ended": self.ended,
            "started": self.started,
            "usual": self.cuts.usual,
            "before": self.before,
        }

    def recall(self, remembered: dict[str, Any]) -> None:
        """Go on where another tracker was."""
        self.tracks, self.ended, self.started = (remembered[name] for name in ("tracks", "ended", "started"))
        self.cuts, self.before = CutDetector(remembered["usual"]), remembered["before"]

    def _end(self, ending: list[Track]) -> None:
        """Keep of a track only what the report names, so that a long video needs no more memory than a short one."""
        self.ended += [track.span for track in ending if track.number <= REPORTED_TRACKS]
        self.tracks = [track for track in self.tracks if all(track is not other for other in ending)]

    def _is_cut(self, small: Picture) -> bool:
        before, self.before = self.before, small
        return before is not None and self.cuts.is_cut(before, self.before)


def assign(tracks: list[Track], faces: list[Face]) -> list[tuple[Track, Face]]:
    """Pair tracks with detections, the best fit first; what fits nothing stays unpaired."""
    fits: list[tuple[float, Track, Face]] = []
    for track in tracks:
        for face in faces:
            shared = iou(track.face.bbox, face.bbox)
            step = float(np.linalg.norm(face.centre - track.face.centre)) / max(float(track.face.size.max()), 1.0)
            if shared >= SAME_FACE_IOU or step < LONGEST_STEP * min(track.missed + 1, 2):
                fits.append((shared - step, track, face))
    pairs: list[tuple[Track, Face]] = []
    for _, track, face in sorted(fits, key=lambda fit: -fit[0]):
        if all(track is not other and face is not taken for other, taken in pairs):
            pairs.append((track, face))
    return pairs


def shifted(face: Face, step: Float) -> Face:
    """Move a face by `step` (x, y) pixels."""
    return replace(face, bbox=face.bbox + np.tile(step, 2), landmarks5=face.landmarks5 + step)
