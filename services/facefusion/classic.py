"""The classic swap: the source's skin, warped triangle by triangle onto the target and lit like the target.

No generator and no licence beyond the landmark network's. The source's face is flattened into the atlas once. Per
frame the atlas is warped onto the target's landmarks, its colours are changed to the target's (in Lab: first mean and
spread, then the slow change of light across the face), and it is blended in through a soft mask. Eyes and the inside
of the mouth stay the target's, so that gaze, blinks and speech stay.
"""

from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

from services.facefusion import expression, grain, occluder, occlusion, shading, sharpness
from services.facefusion import mask as masks
from services.facefusion.expression import ExpressionMemory
from services.facefusion.face import Float
from services.facefusion.mesh import Region, from_atlas, rasterise, sample, to_atlas
from services.facefusion.mirrored_half import TURNED, flattened, turn
from services.facefusion.occluder import Occluder
from services.facefusion.occlusion import OcclusionMemory
from services.facefusion.source_skin import SLIGHTLY, Skin, SourceSkin
from services.facefusion.swapper import Patch, Steps, View, at_once
from services.facefusion.usable_skin import usable_skin
from shared.arrays import Image

ATLAS_SIDES = (256, 512, 1024)
COLOUR_MEMORY = 0.85  # share of the colour statistics that is kept from frame to frame of a track
LEAST_RATIO: Float = np.array([0.8, 0.35, 0.35], np.float32)  # factor limits of the contrast (L) and the colour (a, b)
MOST_RATIO = 1.5
MIN_SKIN = 0.5  # share of a pixel that must be plain skin for its colour to be measured
STATISTICS_SIDE = 128  # pixels: of a larger face, every second, third, … row and column gives the same statistics
LEAST_SKIN = 16  # pixels: with less the colours are left alone


@dataclass(frozen=True)
class ClassicSource:
    """A source person, ready to be painted."""

    skin: SourceSkin
    parser: Occluder | None = None

    def renderer(self, remembered: "Appearance | None" = None) -> "ClassicRenderer":
        """Return a renderer for one track."""
        return ClassicRenderer(self, remembered or Appearance())


class ClassicSwapper:
    """The `Swapper` of this module; needs no weights of its own."""

    name = "classic"

    def __init__(self, parser: Occluder | None = None) -> None:
        self._parser = parser  # a further network for what is in front of a face

    def prepare(self, image: Image, view: View) -> ClassicSource:
        """Flatten the source's face into the atlas."""
        turned = turn(view.landmarks)
        better_side = SLIGHTLY <= abs(turned) < TURNED  # of a source that is turned by more there is only that one
        completed = skin_of(image, view.landmarks, SLIGHTLY) if better_side else None
        return ClassicSource(SourceSkin(skin_of(image, view.landmarks, TURNED), completed, turned), self._parser)


@dataclass
class Appearance:
    """How a track has looked so far."""

    occlusion: OcclusionMemory = field(default_factory=OcclusionMemory)
    expression: ExpressionMemory = field(default_factory=ExpressionMemory)
    colours: Float | None = None  # (4, 3): as `measured`, averaged
    detail: Float | None = None  # (2, 2): as `sharpness.detail`, averaged

    def average(self, colours: Float | None, detail: Float | None) -> None:
        """Take what was measured in one more frame."""
        self.colours = averaged(self.colours, colours)
        self.detail = averaged(self.detail, detail)


@dataclass
class ClassicRenderer:
    """Renders the source over one track, frame after frame."""

    source: ClassicSource
    remembered: Appearance = field(default_factory=Appearance)

    def __call__(self, image: Image, view: View) -> Patch | None:
        """Render the source over one view of the target; None when nothing of it can be seen."""
        return at_once(self.steps(image, view))

    def steps(self, image: Image, view: View) -> Steps:
        """Do so in six steps; the odd ones follow those of the frame before, the even ones see this frame alone.

        Whether the track begins anew; what covers the face; the same with the memory, and the folds; the colours; the
        same averaged; the picture.
        """
        if view.fresh:
            self.remembered = Appearance()
        remembered = self.remembered
        yield
        near = grain.Reduced.of(image, view)
        if near is None:
            return None
        whole = (image, view)
        image, view, shape = near.image, near.view, (near.image.shape[0], near.image.shape[1])
        seen = to_lab(to_atlas(image, view.landmarks, occlusion.ATLAS_SIDE))
        covered = occluder.covering(seen)
        if self.source.parser:
            covered = np.maximum(covered, self.source.parser(*whole))
        region = rasterise(view.landmarks, shape)
        yield
        clear = remembered.occlusion.update(seen, covered)
        folds = remembered.expression.update(seen, clear, self.source.skin.own.frown)
        if region is None or not region.covered.any():
            return None
        yield
        width, height = region.size
        target = to_lab(image[region.y : region.y + height, region.x : region.x + width])
        source = self.source.skin.seen(region, view.landmarks)
        skin = source.pixels
        shown = from_atlas(np.ascontiguousarray(np.minimum(clear, source.usable)), region)
        blend = masks.blend(region, view.landmarks, shown * source.enough)
        now = measured(skin, target, region, blend)
        features = from_atlas(grain.features(), region)
        detail = sharpness.detail(skin[..., 0], target[..., 0], blend, features[..., 0], near.sigma)
        yield
        remembered.average(now, detail)
        colours = remembered.colours
        sharp = sharpness.sharpness(remembered.detail, 1 if colours is None else float(contrast(colours)[0]))
        yield
        matched = skin if now is None or colours is None else moved(skin, colours)
        away = np.asarray(cv2.subtract(target, matched), np.float32)
        matched = np.asarray(cv2.add(matched, shading.light(away, blend, shown, region)), np.float32)
        matched[..., 0] += from_atlas(folds, region)
        beside = (~region.covered).view(np.uint8)
        matched = np.asarray(cv2.copyTo(target, beside, matched))  # so that no blur brings in what lies beside the mesh
        patch = Patch(region.x, region.y, to_rgb(matched), blend * view.opacity)
        return near.enlarged(patch, features, sharp)


def skin_of(image: Image, landmarks: Float, least_turn: float) -> Skin:
    """Flatten a source's face; what it hides is taken from its other half if it is turned by so many degrees."""
    longest = float(np.ptp(landmarks[:, :2], axis=0).max())
    side = next((side for side in ATLAS_SIDES if side * 0.8 >= longest), ATLAS_SIDES[-1])
    face = flattened(image, landmarks, side, least_turn)
    levels = [to_lab(face.skin)]
    while levels[-1].shape[0] > ATLAS_SIDES[0] // 2:
        half = cv2.resize(levels[-1], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        levels.append(np.asarray(half, np.float32))
    small = to_lab(flattened(image, landmarks, occlusion.ATLAS_SIDE, least_turn).skin)
    frown = expression.upright(expression.folds(np.ascontiguousarray(small[..., 0])))
    return Skin(tuple(levels), usable_skin(small), face.detail, frown)


def averaged(before: Float | None, now: Float | None) -> Float | None:
    """Average what a track showed so far with what it shows now, where it shows something."""
    if before is None or now is None:
        return before if now is None else now
    return np.asarray(COLOUR_MEMORY * before + (1 - COLOUR_MEMORY) * now, np.float32)


def measured(skin: Float, target: Float, region: Region, blend: Float) -> Float | None:
    """Return (4, 3) in Lab: source mean, source spread, target mean, target spread; None for too little skin."""
    step = -(-max(region.size) // STATISTICS_SIDE)
    sparse = np.s_[::step, ::step]
    spots = region.atlas[:, ::step, ::step] * occlusion.ATLAS_SIDE - 0.5
    weight = blend[sparse] * (sample(occlusion.plain_skin(), np.ascontiguousarray(spots)) > MIN_SKIN)
    if float(weight.sum()) * step**2 < LEAST_SKIN:
        return None
    return np.stack([*statistics(skin[sparse], weight), *statistics(target[sparse], weight)]).astype(np.float32)


def moved(skin: Float, colours: Float) -> Float:
    """Give the source's skin the target's colours: mean and spread."""
    ratio = contrast(colours)
    to_target = np.column_stack([np.diag(ratio), colours[2] - colours[0] * ratio])
    return np.asarray(cv2.transform(skin, to_target), np.float32)


def contrast(colours: Float) -> Float:
    """Return the factors (3,) by which the source's Lab is spread."""
    return np.asarray(np.clip(colours[3] / np.maximum(colours[1], 1e-3), LEAST_RATIO, MOST_RATIO), np.float32)


def statistics(lab: Float, weight: Float) -> tuple[Float, Float]:
    """Weighted mean and spread of the three Lab channels."""
    share, pixels = (weight / weight.sum()).reshape(-1), lab.reshape(-1, 3)
    mean = share @ pixels
    return mean, np.sqrt(share @ (pixels - mean) ** 2)


def to_lab(image: npt.NDArray[np.uint8]) -> Float:
    """RGB 0-255 to Lab with L 0-100."""
    return np.asarray(cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2Lab), np.float32)


def to_rgb(lab: Float) -> Float:
    """Lab to RGB 0-255, float32."""
    return np.asarray(np.clip(cv2.cvtColor(lab.astype(np.float32), cv2.COLOR_Lab2RGB), 0, 1) * 255, np.float32)
