"""Whose face is replaced: every track is recognised once, then selected by mode, order, filters and distance."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from services.facefusion.embed import cosine_distance, normalised
from services.facefusion.face import Float
from services.facefusion.literals import Mode, Order
from services.facefusion.model import FaceModel
from services.facefusion.order_and_filters import Filters, ordered
from services.facefusion.track import REPORTED_TRACKS, Track, TrackSpan
from shared.arrays import Image

BORDERLINE = 0.08  # so near to the allowed distance one embedding does not decide
MOST_RECOGNITIONS = 5  # per track in a borderline case
RECOGNITION_INTERVAL = 5  # frames between two recognitions of a track
SAME_PERSON = 0.25  # distance below which two faces of one frame are one person twice: a mirror, a screen


@dataclass(frozen=True)
class SelectionCriteria:
    """What the request asks for."""

    mode: Mode
    order: Order
    filters: Filters
    max_distance: float = 0.5  # cosine distance to the reference, matched when strictly below
    embedding: Float | None = None  # (n,) of length 1, of the reference; needed for mode "reference"
    centre: Float | None = None  # (x, y) of the reference in its frame, 0-1: tells a person from their mirror image


@dataclass
class TrackMatch:
    """What was decided about one track, and in how many frames it was swapped."""

    swapped_frames: int = 0
    selected: bool = False  # in any frame
    distance: float | None = None  # cosine distance to the reference
    reason: str = ""


@dataclass
class FaceSelector:
    """`selector(image, tracks, index)`: the tracks whose face is replaced, frame after frame of one job."""

    criteria: SelectionCriteria
    model: FaceModel
    matches: dict[int, TrackMatch] = field(default_factory=dict)  # by track number
    chosen: int | None = None  # mode "one": number of the track that was chosen and stays
    nearest_forgotten: float | None = None  # the smallest distance of all whose match was forgotten

    def __call__(self, image: Image, tracks: list[Track], index: int) -> list[Track]:
        """Return those of this frame's tracks whose face shall be replaced."""
        for track in tracks:
            if track.detected and self._needs_recognition(track, index):
                self._recognise(image, track, index)
        candidates = [track for track in tracks if self._passes(track)]
        match self.criteria.mode:
            case "many":
                return self._select(candidates, candidates, "")
            case "one":
                return self._select(candidates, self._first(candidates), "another face comes first")
            case "reference":
                near = [track for track in candidates if self._is_near(track)]
                return self._select(near, self._without_duplicates(near, image), "a double of a nearer face")

    @property
    def nearest(self) -> float | None:
        """The smallest distance of any track to the reference."""
        distances = (self.nearest_forgotten, *(match.distance for match in self.matches.values()))
        return min((distance for distance in distances if distance is not None), default=None)

    def count_swapped(self, track: Track) -> None:
        """Count a frame in which a track's face was really replaced."""
        self.matches[track.number].swapped_frames += 1

    def forget(self, live: set[int]) -> None:
        """Drop what no later frame and no report needs: the matches of tracks that are not `live` and come too late."""
        for number in self.matches.keys() - live:
            if number > REPORTED_TRACKS:
                gone = [self.matches.pop(number).distance, self.nearest_forgotten]
                self.nearest_forgotten = min((distance for distance in gone if distance is not None), default=None)

    def remembered(self) -> dict[str, Any]:
        """Return what `recall` takes, for `shared.pipeline.state_bytes`."""
        return {"matches": self.matches, "chosen": self.chosen, "nearest_forgotten": self.nearest_forgotten}

    def recall(self, remembered: dict[str, Any]) -> None:
        """Go on where another selector with the same criteria was."""
        self.matches, self.chosen = remembered["matches"], remembered["chosen"]
        self.nearest_forgotten = remembered["nearest_forgotten"]

    def report(self, tracks: list[TrackSpan]) -> list[dict[str, Any]]:
        """Return the match report, one entry a track."""
        return [
            {
                "track": track.number,
                "first_frame": track.first,
                "last_frame": track.last,
                "frames": track.frames,
                "distance": None if match.distance is None else round(match.distance, 3),
                "swapped_frames": match.swapped_frames,
                "reason": match.reason,
            }
            for track in tracks
            if (match := self.matches.get(track.number))
        ]

    def _needs_recognition(self, track: Track, index: int) -> bool:
        if track.recognitions == 0:
            return True
        if self.criteria.mode != "reference":
            return False
        distance = self.matches[track.number].distance
        borderline = distance is not None and abs(distance - self.criteria.max_distance) < BORDERLINE
        again = index - track.recognised_at >= RECOGNITION_INTERVAL
        return again and (track.doubtful or (borderline and track.recognitions < MOST_RECOGNITIONS))

    def _recognise(self, image: Image, track: Track, index: int) -> None:
        """Read attributes and embedding; a track's embeddings are averaged, after a doubt only the new one counts."""
        if self.criteria.filters.active and track.attributes is None:
            track.attributes = self.model.attributes(image, track.face.landmarks5)
        match = self.matches.setdefault(track.number, TrackMatch())
        if self.criteria.embedding is not None:
            found = self.model.embed(image, track.face.landmarks5)
            if track.embedding is not None and not track.doubtful:
                found = found + track.embedding * track.recognitions
            track.embedding = normalised(found)
            match.distance = cosine_distance(track.embedding, self.criteria.embedding)
        track.recognitions, track.recognised_at, track.doubtful = track.recognitions + 1, index, False

    def _passes(self, track: Track) -> bool:
        """Whether a track was recognised and no filter leaves it out."""
        if track.recognitions == 0:
            return False
        refusal = self.criteria.filters.refusal(track.attributes) if track.attributes else ""
        if refusal:
            self.matches[track.number].reason = f"filtered: {refusal}"
        return not refusal

    def _is_near(self, track: Track) -> bool:
        near = self._distance(track) < self.criteria.max_distance
        self.matches[track.number].reason = "matched" if near else "too far from the reference"
        return near

    def _distance(self, track: Track) -> float:
        found = self.matches[track.number].distance
        return np.inf if found is None else found

    def _without_duplicates(self, near: list[Track], image: Image) -> list[Track]:
        """Leave out a face that looks just like a nearer one of the same frame: nobody is in a frame twice.

        Of duplicates that are equally near, the one at the reference's place is the person.
        """
        size = np.array(image.shape[1::-1], np.float32)
        place = self.criteria.centre

        def cost(track: Track) -> float:
            shift = 0.0 if place is None else float(np.linalg.norm(track.face.centre / size - place))
            return self._distance(track) + SAME_PERSON * shift

        kept: list[Track] = []
        for track in sorted(near, key=cost):
            found, others = track.embedding, (other.embedding for other in kept)
            if found is None or all(one is None or cosine_distance(found, one) >= SAME_PERSON for one in others):
                kept.append(track)
        return kept

    def _first(self, candidates: list[Track]) -> list[Track]:
        """Return the first in the order; it stays until it is gone, so that people who cross do not alternate."""
        staying = [track for track in candidates if track.number == self.chosen]
        first = staying or ordered(candidates, self.criteria.order, lambda track: track.face)[:1]
        self.chosen = first[0].number if first else None
        return first

    def _select(self, candidates: list[Track], selected: list[Track], why_not: str) -> list[Track]:
        """Note for the report why each candidate was selected or not; return the selected ones."""
        for track in candidates:
            match = self.matches[track.number]
            if any(track is other for other in selected):
                match.reason, match.selected = "matched", True
            elif not match.selected:
                match.reason = why_not
        return selected
