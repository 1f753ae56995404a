"""Following faces from frame to frame, so that each is recognised once and painted steadily."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from services.facefusion.attributes import Attributes
from services.facefusion.face import Face, Float, Image, overlap
from services.facefusion.landmarks import LandmarkFinder, crop_of_landmarks, crop_of_points
from services.facefusion.smoothing import OneEuro
from services.facefusion.swapper import View
from shared.media.shot_boundary import CutDetector

SAME_FACE = 0.25  # overlap of a track's box with a detection's, from which it may be the same face
MEETING = 0.2  # overlap of two tracks after which they are recognised anew
NEAR = 0.6  # of the face's size: how far a face moves between two frames at most
LONGEST_GAP = 12  # frames without a detection through which a face is followed by its landmarks alone
PRESENT = 0.5  # the landmark network's own score: below it there is no face in the crop
JUMP = 0.08  # of the face's size: a step that the margin of the next crop should not have to bear
FADE = 0.34  # opacity lost or won a frame while a face is doubtful


@dataclass
class Track:
    """One face for as long as it can be followed."""

    number: int
    face: Face
    first: int
    last: int
    missed: int = 0  # frames since the detector last saw it
    frames: int = 1
    looked: int = 0  # how often it was recognised
    looked_at: int = 0  # frame of the last look
    doubtful: bool = True  # recognise (again) before trusting the embedding
    embedding: Float | None = None
    attributes: Attributes | None = None
    landmarks: Float | None = None
    presence: float = 1.0
    opacity: float = 1.0
    fresh: bool = True
    smooth_landmarks: OneEuro = field(default_factory=OneEuro)
    smooth_points: OneEuro = field(default_factory=OneEuro)
    moved: Float = field(default_factory=lambda: np.zeros(2, np.float32))

    @property
    def detected(self) -> bool:
        """Whether the detector saw it in the current frame."""
        return self.missed == 0

    def locate(self, image: Image, finder: LandmarkFinder, seconds: float) -> View | None:
        """Find and smooth the landmarks in the current frame; None when there is no face to be painted."""
        if self.landmarks is None:
            rough, _ = finder(image, crop_of_points(self.face.points))
            crop = crop_of_landmarks(rough)
        else:
            crop = crop_of_landmarks(self.landmarks)
            if self.detected and float(np.abs(self.moved).max()) > JUMP * float(self.face.size.max()):
                crop[:2] += self.moved  # the head moves quickly: look where the detector sees it
        found, self.presence = finder(image, crop)
        seen = self.presence >= PRESENT
        self.doubtful |= not seen
        self.opacity = min(1.0, self.opacity + FADE) if seen else self.opacity - FADE
        if not seen and (self.landmarks is None or self.opacity <= 0):
            self.opacity = max(self.opacity, 0.0)
            return None
        height = max(float(np.ptp(found[:, 1])), 1.0)
        if seen or self.landmarks is None:
            before = self.landmarks
            self.landmarks = self.smooth_landmarks(found, seconds, height)
            if not self.detected and before is not None:
                self.face = shifted(self.face, (self.landmarks - before)[:, :2].mean(0))
        points = self.smooth_points(self.face.points, seconds, height)
        view = View(replace(self.face, points=points), self.landmarks, self.fresh, self.opacity)
        self.fresh = False
        return view


@dataclass
class Tracker:
    """`tracker(image, index) -> list[Track]`: the faces of this frame, each with the track it belongs to."""

    detect: Callable[[Image], list[Face]]
    tracks: list[Track] = field(default_factory=list)
    ended: list[Track] = field(default_factory=list)
    started: int = 0
    cuts: CutDetector = field(default_factory=CutDetector)
    before: Image | None = None

    def __call__(self, image: Image, index: int) -> list[Track]:
        """Detect, tell cuts, and give every face to the track that it continues."""
        if self._is_cut(image):
            self._end(self.tracks)
        faces = self.detect(image)
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
        for one in self.tracks:  # two faces that meet may have changed places
            others = (other for other in self.tracks if other is not one)
            one.doubtful |= any(overlap(one.face.bbox, other.face.bbox) > MEETING for other in others)
        for face in faces:
            self.started += 1
            self.tracks.append(Track(self.started, face, index, index))
        self._end([track for track in self.tracks if track.missed > LONGEST_GAP])
        return list(self.tracks)

    def all(self) -> list[Track]:
        """Every track so far, in order of appearance."""
        return sorted([*self.ended, *self.tracks], key=lambda track: track.number)

    def _end(self, gone: list[Track]) -> None:
        """Keep of a track only what the report tells, so that a long video needs no more memory than a short one."""
        for track in gone:
            track.landmarks, track.embedding = None, None
            track.smooth_landmarks, track.smooth_points = OneEuro(), OneEuro()
        self.ended += gone
        self.tracks = [track for track in self.tracks if all(track is not other for other in gone)]

    def _is_cut(self, image: Image) -> bool:
        before, self.before = self.before, image
        return before is not None and self.cuts.is_cut(before, image)


def assign(tracks: list[Track], faces: list[Face]) -> list[tuple[Track, Face]]:
    """Pair tracks with detections, the best fit first; what fits nowhere stays alone."""
    fits: list[tuple[float, Track, Face]] = []
    for track in tracks:
        for face in faces:
            shared = overlap(track.face.bbox, face.bbox)
            step = float(np.linalg.norm(face.centre - track.face.centre)) / max(float(track.face.size.max()), 1.0)
            if shared >= SAME_FACE or step < NEAR * min(track.missed + 1, 2) * 0.5:
                fits.append((shared - step, track, face))
    pairs: list[tuple[Track, Face]] = []
    for _, track, face in sorted(fits, key=lambda fit: -fit[0]):
        if all(track is not other and face is not taken for other, taken in pairs):
            pairs.append((track, face))
    return pairs


def shifted(face: Face, step: Float) -> Face:
    """Move a face by `step` pixels."""
    return replace(face, bbox=face.bbox + np.tile(step, 2), points=face.points + step)
