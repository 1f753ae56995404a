"""What insightface's networks say of a picture: where its faces are, whose they are, how old and of which sex."""

from pathlib import Path

import cv2
import numpy as np

from services.facefusion.attributes import Attributes
from services.facefusion.detect import LONG_SIDE
from services.facefusion.embed import normalised
from services.facefusion.face import ARCFACE_112, Face, Float, align, umeyama_transform
from services.facefusion.neural.insight import open_model
from shared.arrays import Image

MIN_SCORE = 0.5  # SCRFD's own limit
CHIP_SIDE = 112  # pixels of the aligned chip, which a face's box just about covers


class Detector:
    """`detector(image) -> list[Face]`, best score first; image is (H, W, 3) RGB uint8 of any size."""

    def __init__(self, weights: Path, *, cuda: bool = False) -> None:
        self._model = open_model(weights, "SCRFD", cuda=cuda)
        self._model.prepare(0, input_size=(LONG_SIDE, LONG_SIDE), det_thresh=MIN_SCORE)

    def __call__(self, image: Image) -> list[Face]:
        """Detect on a square of `LONG_SIDE` pixels; coordinates are returned in pixels of `image`."""
        if min(image.shape[:2]) * LONG_SIDE < max(image.shape[:2]):  # less than a pixel would be left of that side
            return []
        boxes, landmarks5 = self._model.detect(bgr(image))
        return [Face(box[:4], points, float(box[4])) for box, points in zip(boxes, landmarks5, strict=True)]


class ArcFace:
    """`embed(image, landmarks5) -> (512,)` float32 of length 1."""

    def __init__(self, weights: Path, *, cuda: bool = False) -> None:
        self._model = open_model(weights, "ArcFaceONNX", cuda=cuda)

    def __call__(self, image: Image, landmarks5: Float) -> Float:
        """Embed the face at five landmarks of an RGB frame."""
        return normalised(self.raw(image, landmarks5))

    def raw(self, image: Image, landmarks5: Float) -> Float:
        """Embed without scaling to length 1: (512,) float32, as converters of embeddings take it.

        The chip is cut out here: insightface's own `get` calls what scikit-image has deprecated, and warns each time.
        """
        return np.asarray(self._model.get_feat(bgr(align(image, landmarks5)))[0], np.float32)


class GenderAge:
    """`reader(image, landmarks5) -> Attributes` for one face of an RGB frame."""

    def __init__(self, weights: Path) -> None:
        self._model = open_model(weights, "Attribute")

    def __call__(self, image: Image, landmarks5: Float) -> Attributes:
        """Read one face. The network looks at one and a half of its box, so the box need not be exact."""
        from insightface.app.common import Face as InsightFace  # noqa: PLC0415  # see `open_model`

        gender, years = self._model.get(bgr(image), InsightFace(bbox=box_of(landmarks5)))
        return Attributes(float(max(years, 0)), "male" if gender == 1 else "female")


def bgr(image: Image) -> Image:
    """Return an RGB picture as OpenCV's order of channels."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), np.uint8)


def box_of(landmarks5: Float) -> Float:
    """Estimate a face's box (x1, y1, x2, y2) by its five landmarks: upright, around the aligned chip's middle."""
    back = cv2.invertAffineTransform(umeyama_transform(landmarks5, ARCFACE_112))
    centre = back @ np.array([CHIP_SIDE / 2, CHIP_SIDE / 2, 1])
    half = CHIP_SIDE / 2 * float(np.sqrt(abs(np.linalg.det(back[:, :2]))))
    return np.concatenate([centre - half, centre + half]).astype(np.float32)
