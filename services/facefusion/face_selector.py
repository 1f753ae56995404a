"""Whose face is replaced: every track is recognised once, then selected by mode, order, filters and distance."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from services.facefusion.embed import cosine_distance, normalised
from services.facefusion.face import Float
from services.facefusion.literals import Mode, Order
from services.facefusion.model import FaceModel
from services.facefusion.order_and_filters import Filters, ordered
from services.facefusion.steadiness import EVERY
from services.facefusion.track import REPORTED_TRACKS, Track, TrackSpan
from shared.arrays import Image

BORDERLINE = 0.08  # so near to the allowed distance one embedding does not decide
MOST_RECOGNITIONS = 5  # per track in a borderline case
RECOGNITION_INTERVAL = 5  # frames between two recognitions of a track
LEAST_SIZE = 16  # pixels of a face that is replaced, the longer side of its box: below it a swap is a smear
SHRUNK = 0.8  # share of that size below which a face that was replaced before is not any more: no flicker in between
TOO_SMALL = "too small"
UNSTEADY = "landmarks do not hold"  # of a drawn or an animal's face, of a profile
SAME_PERSON = 0.25  # distance below which two faces of one frame are one person twice: a mirror, a screen


@dataclass(frozen=True)
class EntryCriteria:
    """Whom one source is put on."""

    filters: Filters
    max_distance: float = 0.5  # cosine distance to the reference, matched when strictly below
    embedding: Float | None = None  # (n,) of length 1, of the reference; without one nobody is near in mode "reference"
    centre: Float | None = None  # (x, y) of the reference in its frame, 0-1: tells a person from their mirror image


@dataclass(frozen=True)
class SelectionCriteria:
    """What the request asks for: one entry for each source, in the order in which they come first.

    In mode "reference" a face goes to the entry whose reference is nearest among those that want it, of equally near
    ones to the first. In mode "many" it goes to the first entry whose filters it passes. In mode "one" each entry has
    one face: the first in the order that passes its filters and that no entry before it has.
    """

    mode: Mode
    order: Order
    entries: tuple[EntryCriteria, ...]
    names_entries: bool = False  # in the report


@dataclass
class TrackMatch:
    """What was decided about one track, and in how many frames it was swapped."""

    swapped_frames: int = 0
    selected: bool = False  # in any frame
    distance: float | None = None  # cosine distance to its entry's reference, before it has one to the nearest
    reason: str = ""
    entry: int | None = None  # whose source is put on it
    distances: tuple[float, ...] = ()  # to the references of all entries, infinite to one that nobody is
    holds: bool = False  # whether its landmarks have held once
    examined_at: int | None = None  # frame in which that was last looked at


@dataclass
class FaceSelector:
    """`selector(image, tracks, index)`: the tracks whose face is replaced, frame after frame of one job."""

    criteria: SelectionCriteria
    model: FaceModel
    matches: dict[int, TrackMatch] = field(default_factory=dict)  # by track number
    chosen: dict[int, int] = field(default_factory=dict)  # mode "one": by entry, the track that was chosen and stays
    nearest_forgotten: float | None = None  # the smallest distance of all whose match was forgotten

    def __call__(self, image: Image, tracks: list[Track], index: int) -> list[Track]:
        """Return those of this frame's tracks whose face shall be replaced."""
        for track in tracks:
            if track.detected and self._needs_recognition(track, index):
                self._recognise(image, track, index)
            if track.detected:
                self._examine(image, track, index)
        candidates = [track for track in tracks if self._passes(track)]
        match self.criteria.mode:
            case "many":
                for track in candidates:
                    self.matches[track.number].entry = self._open_to(track)[0]
                return self._select(candidates, candidates, "")
            case "one":
                return self._select(candidates, self._firsts(candidates), "another face comes first")
            case "reference":
                near = [track for track in candidates if self._is_near(track)]
                return self._select(near, self._without_duplicates(near, image), "a double of a nearer face")

    def entry_of(self, track: Track) -> int:
        """Return which entry a selected track has."""
        entry = self.matches[track.number].entry
        if entry is None:
            message = f"track {track.number} is not selected"
            raise ValueError(message)
        return entry

    @property
    def nearest(self) -> float | None:
        """The smallest distance of any track to the reference."""
        distances = (self.nearest_forgotten, *(match.distance for match in self.matches.values()))
        return min((distance for distance in distances if distance is not None), default=None)

    @property
    def only_small(self) -> bool:
        """Whether faces were found and all of them were too small."""
        reasons = {match.reason for match in self.matches.values()}
        return reasons == {TOO_SMALL}

    @property
    def only_unsteady(self) -> bool:
        """Whether faces were found and no landmarks hold on any of them that is large enough."""
        return only_unsteady({match.reason for match in self.matches.values()})

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
                **({"entry": match.entry if match.selected else None} if self.criteria.names_entries else {}),
            }
            for track in tracks
            if (match := self.matches.get(track.number))
        ]

    def _needs_recognition(self, track: Track, index: int) -> bool:
        if track.recognitions == 0:
            return True
        if self.criteria.mode != "reference":
            return False
        again = index - track.recognised_at >= RECOGNITION_INTERVAL
        if not again or track.doubtful:
            return again
        return track.recognitions < MOST_RECOGNITIONS and self._is_borderline(self.matches[track.number].distances)

    def _is_borderline(self, distances: tuple[float, ...]) -> bool:
        """Whether a distance is about the allowed one, or two entries want a face that is about as near to both."""
        limits = [entry.max_distance for entry in self.criteria.entries]
        if any(abs(distance - limit) < BORDERLINE for distance, limit in zip(distances, limits, strict=False)):
            return True
        wanting = sorted(distance for distance, limit in zip(distances, limits, strict=False) if distance < limit)
        return len(wanting) > 1 and wanting[1] - wanting[0] < BORDERLINE

    def _recognise(self, image: Image, track: Track, index: int) -> None:
        """Read attributes and embedding; a track's embeddings are averaged, after a doubt only the new one counts."""
        entries = self.criteria.entries
        if any(entry.filters.active for entry in entries) and track.attributes is None:
            track.attributes = self.model.attributes(image, track.face.landmarks5)
        match = self.matches.setdefault(track.number, TrackMatch())
        if any(entry.embedding is not None for entry in entries):
            found = self.model.embed(image, track.face.landmarks5)
            if track.embedding is not None and not track.doubtful:
                found = found + track.embedding * track.recognitions
            track.embedding = embedding = normalised(found)
            match.distances = tuple(
                np.inf if entry.embedding is None else cosine_distance(embedding, entry.embedding) for entry in entries
            )
            match.distance = min(match.distances)
        track.recognitions, track.recognised_at, track.doubtful = track.recognitions + 1, index, False

    def _examine(self, image: Image, track: Track, index: int) -> None:
        """Look whether the landmarks of a track hold, now and then until they have once."""
        match = self.matches[track.number]
        if match.holds or (match.examined_at is not None and index - match.examined_at < EVERY):
            return
        match.holds, match.examined_at = self.model.holds(image, track.face), index

    def _open_to(self, track: Track) -> list[int]:
        """Return the entries whose filters a track passes."""
        return [
            number
            for number, entry in enumerate(self.criteria.entries)
            if track.attributes is None or not entry.filters.refusal(track.attributes)
        ]

    def _passes(self, track: Track) -> bool:
        """Whether a track was recognised, is large enough, can be painted on, and not every filter leaves it out."""
        if track.recognitions == 0:
            return False
        match = self.matches[track.number]
        if float(track.face.size.max()) < LEAST_SIZE * (SHRUNK if match.selected else 1):
            match.reason = match.reason if match.selected else TOO_SMALL
            return False
        if not match.holds:
            match.reason = UNSTEADY
            return False
        if self._open_to(track):
            return True
        if track.attributes:
            refusal = self.criteria.entries[0].filters.refusal(track.attributes)
            match.reason = f"filtered: {refusal}"
        return False

    def _is_near(self, track: Track) -> bool:
        """Give a track to the nearest of the entries that want it; False when none does."""
        match, entries = self.matches[track.number], self.criteria.entries
        numbers = self._open_to(track) if match.distances else []
        wanting = [number for number in numbers if match.distances[number] < entries[number].max_distance]
        if wanting:
            match.entry = min(wanting, key=lambda number: match.distances[number])
            match.distance = match.distances[match.entry]
        match.reason = "matched" if wanting else "too far from the reference"
        return bool(wanting)

    def _distance(self, track: Track) -> float:
        found = self.matches[track.number].distance
        return np.inf if found is None else found

    def _without_duplicates(self, near: list[Track], image: Image) -> list[Track]:
        """Leave out a face that looks just like a nearer one of the same frame: nobody is in a frame twice.

        Of duplicates that are equally near, the one at the reference's place is the person. Where two entries have two
        of them, both mean what they say.
        """
        size = np.array(image.shape[1::-1], np.float32)

        def cost(track: Track) -> float:
            place = self.criteria.entries[self.entry_of(track)].centre
            shift = 0.0 if place is None else float(np.linalg.norm(track.face.centre / size - place))
            return self._distance(track) + SAME_PERSON * shift

        kept: list[Track] = []
        for track in sorted(near, key=cost):
            found, entry = track.embedding, self.entry_of(track)
            others = (other.embedding for other in kept if self.entry_of(other) == entry)
            if found is None or all(one is None or cosine_distance(found, one) >= SAME_PERSON for one in others):
                kept.append(track)
        return kept

    def _firsts(self, candidates: list[Track]) -> list[Track]:
        """Return each entry's first in the order; it stays until it is gone: people who cross do not alternate."""
        given = {
            entry: track
            for entry, number in self.chosen.items()
            for track in candidates
            if track.number == number and entry in self._open_to(track)
        }
        free = [track for track in candidates if all(track is not other for other in given.values())]
        for entry in range(len(self.criteria.entries)):
            open_ones = [track for track in free if entry in self._open_to(track)]
            if entry in given or not open_ones:
                continue
            given[entry] = ordered(open_ones, self.criteria.order, lambda track: track.face)[0]
            free = [track for track in free if track is not given[entry]]
        self.chosen = {entry: track.number for entry, track in given.items()}
        for entry, track in given.items():
            self.matches[track.number].entry = entry
        return [given[entry] for entry in sorted(given)]

    def _select(self, candidates: list[Track], selected: list[Track], why_not: str) -> list[Track]:
        """Note for the report why each candidate was selected or not; return the selected ones."""
        for track in candidates:
            match = self.matches[track.number]
            if any(track is other for other in selected):
                match.reason, match.selected = "matched", True
            elif not match.selected:
                match.reason = why_not
        return selected


def only_unsteady(reasons: set[str]) -> bool:
    """Whether landmarks that do not hold are why nobody was swapped, beside faces that are too small."""
    return UNSTEADY in reasons and reasons <= {UNSTEADY, TOO_SMALL}
