"""Published networks that tell a face from what is in front of it: one row of data each, opt-in by licence.

All see a face aligned like FFHQ's (Karras and others 2019). XSeg (DeepFaceLab) returns how much of each pixel is face;
a parser (BiSeNet, Yu and others 2018, trained on CelebAMask-HQ) returns a score for each of nineteen classes. Their
interfaces are those of the files that FaceFusion publishes.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from services.facefusion import network
from services.facefusion.face import Float, umeyama_transform
from services.facefusion.mesh import to_atlas
from services.facefusion.occlusion import ATLAS_SIDE
from services.facefusion.swapper import View
from shared.arrays import Image

# Where FFHQ's alignment has left eye, right eye, nose tip and the corners of the mouth, in shares of the crop's side.
FFHQ: Float = np.array(
    [[0.37691676, 0.46864664], [0.62285697, 0.46912813], [0.50123859, 0.61331904], [0.39308822, 0.72541100],
     [0.61150205, 0.72490465]],
    np.float32,
)  # fmt: skip
FACE_CLASSES = (1, 2, 3, 4, 5, 10, 11, 12, 13)  # of CelebAMask-HQ: skin, brows, eyes, nose, mouth, lips; not 6, glasses
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Parser:
    """The interface of one file."""

    weights: str  # its name in the catalogue
    side: int  # pixels of the crop
    returns: Literal["face", "classes"]  # 0-1 in (1, side, side, 1); scores in (1, classes, side, side)
    channels_last: bool
    red_first: bool
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)  # of colours 0-1
    spread: tuple[float, float, float] = (1.0, 1.0, 1.0)


_XSEG = Parser("", 256, "face", channels_last=True, red_first=False)
PARSERS = {
    **{name: replace(_XSEG, weights=name) for name in ("xseg-1", "xseg-2", "xseg-3")},
    "bisenet-34": Parser(
        "bisenet-34", 512, "classes", channels_last=False, red_first=True, mean=IMAGENET[0], spread=IMAGENET[1]
    ),
}


class FaceParser:
    """`parser(image, view) -> (ATLAS_SIDE, ATLAS_SIDE)` float32: 1 where something covers the face, in the atlas."""

    def __init__(self, parser: Parser, weights: Path, *, cuda: bool = False) -> None:
        self.parser = parser
        self._session = network.session(network.read(weights), cuda=cuda)
        self._input = self._session.get_inputs()[0].name

    def __call__(self, image: Image, view: View) -> Float:
        """Look at the face of a (H, W, 3) RGB frame."""
        side = self.parser.side
        matrix = umeyama_transform(view.face.landmarks5, FFHQ * side)
        crop = cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)
        (found,) = self._session.run(None, {self._input: self._blob(np.asarray(crop, np.uint8))})
        if self.parser.returns == "face":
            face = np.clip(np.asarray(found, np.float32).reshape(side, side), 0, 1)
        else:
            face = np.isin(np.asarray(found)[0].argmax(0), FACE_CLASSES).astype(np.float32)
        points = view.landmarks[:, :2] @ matrix[:, :2].T + matrix[:, 2]
        shown = to_atlas(face, points.astype(np.float32), ATLAS_SIDE)
        return np.asarray(cv2.GaussianBlur(1 - shown, (0, 0), 1.0), np.float32)

    def _blob(self, crop: Image) -> Float:
        parser = self.parser
        colours = crop if parser.red_first else crop[..., ::-1]
        scaled = (colours.astype(np.float32) / 255 - np.array(parser.mean, np.float32)) / np.array(
            parser.spread, np.float32
        )
        return np.ascontiguousarray((scaled if parser.channels_last else scaled.transpose(2, 0, 1))[None], np.float32)
