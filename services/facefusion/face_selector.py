"""Who gets the new face: every track is recognised once and judged by mode, order, filters and distance."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from services.facefusion.embed import distance, normalised
from services.facefusion.face import Float, Image
from services.facefusion.literals import Mode, Order
from services.facefusion.model import FaceModel
from services.facefusion.order_and_filters import Filters, ordered
from services.facefusion.track import Track

CLOSE_CALL = 0.08  # of the allowed distance: so near to it one look is not enough
MOST_LOOKS, LOOK_AGAIN = 5, 5  # looks a track at a close call, and frames between them
DOUBLE = 0.25  # distance between two faces of one frame that can only be one person twice: a mirror, a screen
REPORTED_TRACKS = 200


@dataclass(frozen=True)
class Wish:
    """What the caller asked for."""

    mode: Mode
    order: Order
    filters: Filters
    most: float = 0.5  # cosine distance to the reference, matched when strictly below
    reference: Float | None = None  # (n,) of length 1, needed for mode "reference"
    where: Float | None = None  # (x, y) of the reference in its frame, 0-1: tells a person from their mirror image


@dataclass
class Verdict:
    """What became of one track."""

    painted: int = 0  # frames
    distance: float | None = None
    reason: str = ""


@dataclass
class Casting:
    """Chooses the tracks to be painted, frame after frame of one job."""

    wish: Wish
    model: FaceModel
    verdicts: dict[int, Verdict] = field(default_factory=dict)
    leading: int | None = None  # mode "one": the track that was chosen and stays

    def __call__(self, image: Image, tracks: list[Track], index: int) -> list[Track]:
        """Return those of this frame's tracks that shall be painted."""
        for track in tracks:
            if track.detected and self._needs_a_look(track, index):
                self._look(image, track, index)
        willing = [track for track in tracks if self._passes(track)]
        match self.wish.mode:
            case "many":
                return self._judged(willing, willing, "")
            case "one":
                return self._judged(willing, self._leader(willing), "another face comes first")
            case "reference":
                near = [track for track in willing if self._is_near(track)]
                return self._judged(near, self._without_doubles(near, image), "a double of a nearer face")

    @property
    def nearest(self) -> float | None:
        """The smallest distance of any track to the reference."""
        return min(
            (verdict.distance for verdict in self.verdicts.values() if verdict.distance is not None), default=None
        )

    def painted(self, track: Track) -> None:
        """Count a frame in which a track was really painted."""
        self.verdicts[track.number].painted += 1

    def report(self, tracks: list[Track]) -> list[dict[str, Any]]:
        """Return the match report, one entry a track."""
        return [
            {
                "track": track.number,
                "first_frame": track.first,
                "last_frame": track.last,
                "frames": track.frames,
                "distance": None if verdict.distance is None else round(verdict.distance, 3),
                "swapped_frames": verdict.painted,
                "reason": verdict.reason,
            }
            for track in tracks[:REPORTED_TRACKS]
            if (verdict := self.verdicts.get(track.number))
        ]

    def _needs_a_look(self, track: Track, index: int) -> bool:
        if track.looked == 0:
            return True
        if self.wish.mode != "reference":
            return False
        verdict = self.verdicts[track.number]
        close = verdict.distance is not None and abs(verdict.distance - self.wish.most) < CLOSE_CALL
        again = index - track.looked_at >= LOOK_AGAIN
        return again and (track.doubtful or (close and track.looked < MOST_LOOKS))

    def _look(self, image: Image, track: Track, index: int) -> None:
        """Recognise a track; at a close call the looks are averaged, in doubt only the new one counts."""
        if self.wish.filters.active and track.attributes is None:
            track.attributes = self.model.attributes(image, track.face.points)
        verdict = self.verdicts.setdefault(track.number, Verdict())
        if self.wish.reference is not None:
            seen = self.model.embed(image, track.face.points)
            fresh_start = track.embedding is None or track.doubtful
            weight = 0 if fresh_start else track.looked
            track.embedding = normalised(seen + (track.embedding * weight if track.embedding is not None else 0))
            verdict.distance = distance(track.embedding, self.wish.reference)
        track.looked, track.looked_at, track.doubtful = track.looked + 1, index, False

    def _passes(self, track: Track) -> bool:
        """Whether a track was recognised and no filter is against it."""
        if track.looked == 0:
            return False
        refusal = self.wish.filters.refusal(track.attributes) if track.attributes else ""
        if refusal:
            self.verdicts[track.number].reason = f"filtered: {refusal}"
        return not refusal

    def _is_near(self, track: Track) -> bool:
        near = self._distance(track) < self.wish.most
        self.verdicts[track.number].reason = "matched" if near else "too far from the reference"
        return near

    def _distance(self, track: Track) -> float:
        found = self.verdicts[track.number].distance
        return np.inf if found is None else found

    def _without_doubles(self, near: list[Track], image: Image) -> list[Track]:
        """Leave out a face that looks just like a nearer one of the same frame: nobody is in a frame twice.

        Of doubles that are equally near the one at the reference's place is the person.
        """
        size = np.array(image.shape[1::-1], np.float32)

        def farness(track: Track) -> float:
            apart = (
                0.0 if self.wish.where is None else float(np.linalg.norm(track.face.centre / size - self.wish.where))
            )
            return self._distance(track) + DOUBLE * apart

        kept: list[Track] = []
        for track in sorted(near, key=farness):
            seen = track.embedding
            if seen is None or all(e is None or distance(seen, e) >= DOUBLE for e in (k.embedding for k in kept)):
                kept.append(track)
        return kept

    def _leader(self, willing: list[Track]) -> list[Track]:
        """Return the first in the order; it stays until it is gone, so that crossing people do not flicker."""
        staying = [track for track in willing if track.number == self.leading]
        first = staying or ordered(willing, self.wish.order, lambda track: track.face)[:1]
        self.leading = first[0].number if first else None
        return first

    def _judged(self, willing: list[Track], chosen: list[Track], why_not: str) -> list[Track]:
        for track in willing:
            taken = any(track is other for other in chosen)
            verdict = self.verdicts[track.number]
            if taken:
                verdict.reason = "matched"
            elif verdict.painted == 0:
                verdict.reason = why_not
        return chosen
