"""How much of what is in front of a face is found, and how much of the face is taken for it, pixel by pixel.

Counted in the frame, on the pixels that a swap paints: inside the oval, without eyes and the inside of the mouth. Three
ways of counting stand side by side: `all` of these pixels; without the person's own `hair`, which is in front of the
face, though nobody put it there; and without the `edge` of the thing either, whose pixels show both.

`python -m benchmarks.occluders.measure` prints all tables.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, Self

import cv2
import numpy as np

from benchmarks.faces.media import frames_of, picture
from benchmarks.faces.setup import largest
from benchmarks.occluders.composites import KINDS, Composite, composite
from benchmarks.occluders.own_hair import own_hair
from services.facefusion import model as models
from services.facefusion.classic import ClassicSource, to_lab
from services.facefusion.face import Face, Float
from services.facefusion.landmarks import OVAL, crop_of_landmarks
from services.facefusion.mesh import from_atlas, rasterise, to_atlas
from services.facefusion.model import FaceModel
from services.facefusion.occluder import covering
from services.facefusion.occlusion import ATLAS_SIDE, Mask, OcclusionMemory
from services.facefusion.swapper import View, paste
from shared import weights
from shared.arrays import Image
from shared.settings import FaceFusionSettings, Settings

FRAMES = 24
EDGE = 0.012  # of the face's height: how far from the edge of hair or a thing pixels show both
Counting = Literal["all", "hair", "edge"]
Update = Callable[[OcclusionMemory, Float], Float]  # a memory and one frame's face: 0-1, 1 where nothing covers it
METHODS: dict[str, Update] = {
    "before": lambda memory, lab: memory.update(lab),
    "now": lambda memory, lab: memory.update(lab, covering(lab)),
}


@dataclass
class Tally:
    """Pixels counted so far."""

    found: int = 0  # that are covered and were found
    missed: int = 0
    wrong: int = 0  # of the face, taken for something in front of it
    clear: int = 0

    def add(self, truth: Mask, hidden: Mask) -> None:
        """Count the pixels of one face."""
        self.found += int((truth & hidden).sum())
        self.missed += int((truth & ~hidden).sum())
        self.wrong += int((~truth & hidden).sum())
        self.clear += int((~truth & ~hidden).sum())

    def __iadd__(self, other: "Tally") -> Self:
        """Add another one's pixels."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)
        return self

    @property
    def recall(self) -> float:
        """Share of the covered pixels that was found."""
        return self.found / max(self.found + self.missed, 1)

    @property
    def precision(self) -> float:
        """Share of what was found that is covered."""
        return self.found / max(self.found + self.wrong, 1)

    @property
    def lost(self) -> float:
        """Share of the clear face that was taken for covered."""
        return self.wrong / max(self.wrong + self.clear, 1)


@dataclass(frozen=True)
class Person:
    """Consecutive frames of one face, and its landmarks where nothing covers it."""

    name: str
    frames: list[Image]
    landmarks: list[Float]


def people(model: FaceModel) -> list[Person]:
    """Return the man and the woman in moving pictures; the faces of the pictures as stills."""
    his = frames_of("clip-single-face", FRAMES, 10)
    hers = frames_of("clip-woman-hands", FRAMES, 250)
    return [filmed("man", his, model), filmed("woman", hers, model), *stills(model)]


def filmed(name: str, frames: list[Image], model: FaceModel) -> Person:
    """Follow the largest face of a clip."""
    points = model.view(frames[0], largest(model, frames[0])).landmarks
    found = []
    for frame in frames:
        points, _ = model.landmarks(frame, crop_of_landmarks(points))
        found.append(points)
    return Person(name, frames, found)


def stills(model: FaceModel) -> Iterator[Person]:
    """Yield the faces of `picture-multi-face` without sunglasses and, 360 pixels high, of `pictures-portraits`."""
    group = picture("picture-multi-face")
    faces = sorted(model.detect(group), key=lambda face: float(face.centre[0]))
    for number, face in enumerate(faces[1:]):  # the first one wears sunglasses
        yield still(f"group {number + 1}", group, face, model)
    for name in ("person_a_1", "person_a_2", "person_b_1", "person_b_2", "impostor_1", "impostor_2"):
        image = cv2.imread(str(weights.path("pictures-portraits", f"{name}.jpg")))
        assert image is not None
        scale = min(1.0, 360 / image.shape[0])
        small = cv2.resize(image[..., ::-1], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        portrait = np.ascontiguousarray(small, np.uint8)
        yield still(name, portrait, largest(model, portrait), model)


def still(name: str, image: Image, face: Face, model: FaceModel) -> Person:
    """One face of a picture."""
    return Person(name, [image], [model.view(image, face).landmarks])


def hidden_pixels(image: Image, points: Float, clear: Float, oval: Float) -> tuple[Mask, Mask]:
    """Return what is taken for covered and what counts, both (H, W); `oval` are the landmarks of the true face."""
    shape = (image.shape[0], image.shape[1])
    counted, hidden = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
    region = rasterise(points, shape)
    if region is None:
        return hidden, counted
    width, height = region.size
    part = np.s_[region.y : region.y + height, region.x : region.x + width]
    inside = np.zeros(shape, np.uint8)
    cv2.fillPoly(inside, [np.rint(oval[list(OVAL), :2]).astype(np.int32)], 1)
    counted[part] = region.covered & (inside[part] > 0)
    hidden[part] = from_atlas(np.ascontiguousarray(clear), region) < 0.5  # noqa: PLR2004
    return hidden & counted, counted


@dataclass(frozen=True)
class Seen:
    """A covered face as a swap sees it."""

    composite: Composite
    points: Float  # (468, 3) found on the composite
    lab: Float  # in the atlas
    oval: Float  # (468, 3) of the face without the thing
    hair: Mask  # (H, W): the person's own over the face

    def counts(self, counting: Counting) -> Mask:
        """Return which pixels (H, W) count."""
        thing = self.composite.covered > 0.5  # noqa: PLR2004
        if counting == "all":
            return np.ones_like(thing)
        side = 2 * max(round(EDGE * float(np.ptp(self.oval[:, 1]))), 1) + 1
        around = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
        others = (cv2.dilate(self.hair.astype(np.uint8), around) == 0) | thing
        if counting == "hair":
            return np.asarray(others, np.bool_)
        edge = cv2.morphologyEx(thing.astype(np.uint8), cv2.MORPH_GRADIENT, around) > 0
        return np.asarray(others & ~edge, np.bool_)


def followed(person: Person, made: Iterable[Composite], model: FaceModel) -> list[Seen]:
    """Follow a covered face as a video's is followed."""
    found, points = [], person.landmarks[0]
    for one, frame, oval in zip(made, person.frames, person.landmarks, strict=True):
        points, _ = model.landmarks(one.image, crop_of_landmarks(points))
        hair = own_hair(person.name, frame, oval)
        found.append(Seen(one, points, to_lab(to_atlas(one.image, points, ATLAS_SIDE)), oval, hair))
    return found


def tallied(faces: Iterable[Seen], update: Update, counting: Counting = "all") -> Tally:
    """Count all frames of one person."""
    tally, memory = Tally(), OcclusionMemory()
    for face in faces:
        clear = update(memory, face.lab)
        hidden, counted = hidden_pixels(face.composite.image, face.points, clear, face.oval)
        counted &= face.counts(counting)
        tally.add((face.composite.covered > 0.5)[counted], hidden[counted])  # noqa: PLR2004
    return tally


def clean(person: Person, model: FaceModel, update: Update, counting: Counting = "all") -> float:
    """Share of a face that is lost though nothing covers it."""
    bare = [Composite(frame, np.zeros(frame.shape[:2], np.float32)) for frame in person.frames]
    return tallied(followed(person, bare, model), update, counting).lost


def table(
    model: FaceModel, found: list[Person], kinds: tuple[str, ...] = KINDS
) -> dict[tuple[str, Counting], dict[str, Tally]]:
    """Recall and precision by method and counting, then by `KIND, from the first frame on`, `…, enters later` and
    `…, stills`, the same of `all` kinds.
    """
    ways: tuple[Counting, ...] = ("all", "hair", "edge")
    result: dict[tuple[str, Counting], dict[str, Tally]] = {(name, way): {} for name in METHODS for way in ways}
    for person in found:
        moving = len(person.frames) > 1
        for kind in kinds:
            for enters in (False, True) if moving else (False,):
                faces = followed(person, composite(kind, person.frames, person.landmarks, enters=enters), model)
                when = ("enters later" if enters else "from the first frame on") if moving else "stills"
                for (name, way), rows in result.items():
                    tally = tallied(faces, METHODS[name], way)
                    for what in (kind, "all"):
                        row = rows.setdefault(f"{what}, {when}", Tally())
                        row += tally
    return result


def report(model: FaceModel) -> str:
    """Write all tables as text."""
    found = people(model)
    counted = table(model, found)
    columns = list(counted)
    lines = ["recall at precision: " + ", ".join(f"{name} ({way})" for name, way in columns)]
    for what in sorted(counted[columns[0]]):
        cells = (f"{counted[column][what].recall:.2f} at {counted[column][what].precision:.2f}" for column in columns)
        lines.append(f"{what}: " + ", ".join(cells))
    for person in found:
        lost = (f"{clean(person, model, METHODS[name], way):.1%}" for name in METHODS for way in ("all", "hair"))
        lines.append(f"lost of the clear face, {person.name}: " + ", ".join(lost))
    return "\n".join(lines)


def decibels_at(person: Person, kind: str, model: FaceModel, source: ClassicSource) -> tuple[float, float]:
    """Compare swapped frames with the composite: inside the whole thing, and inside its part on the face."""
    made = composite(kind, person.frames, person.landmarks, enters=False)
    renderer, points = source.renderer(), person.landmarks[0]
    whole: list[Float] = []
    inner: list[Float] = []
    for index, (one, oval) in enumerate(zip(made, person.landmarks, strict=True)):
        points, _ = model.landmarks(one.image, crop_of_landmarks(points))
        face = Face(np.concatenate([points[:, :2].min(0), points[:, :2].max(0)]), points[:5, :2], 1.0)
        patch, result = renderer(one.image, View(face, points, fresh=index == 0)), one.image.copy()
        if patch:
            paste(result, patch)
        error = ((result.astype(np.float32) - one.image) ** 2).mean(2)
        thing = cv2.erode((one.covered > 0.9).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0  # noqa: PLR2004
        inside = np.zeros(error.shape, np.uint8)
        cv2.fillPoly(inside, [np.rint(oval[list(OVAL), :2]).astype(np.int32)], 1)
        whole.append(error[thing])
        inner.append(error[thing & (inside > 0)])
    worst = [max(float(np.concatenate(part).mean()), 1e-3) for part in (whole, inner)]
    return float(10 * np.log10(255**2 / worst[0])), float(10 * np.log10(255**2 / worst[1]))


if __name__ == "__main__":
    embedded = models.load(Settings(facefusion=FaceFusionSettings(swapper="classic")))
    sys.stdout.write(report(embedded) + "\n")
