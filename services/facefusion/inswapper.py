"""The neural swap: inswapper_128 through onnxruntime. Its weights are non-commercial and never shipped.

The network takes an aligned face of 128 pixels and the source's ArcFace embedding, which a matrix in the file (the
emap) takes into the network's own space, and returns the same chip with the other identity. The file's inputs and the
matrix are found by name and shape, never by position.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnx
from onnx import numpy_helper

from services.facefusion import network
from services.facefusion.embed import normalised
from services.facefusion.face import ARCFACE_112, Float, align, umeyama_transform
from services.facefusion.swapper import Patch, Steps, View
from shared.arrays import Image
from shared.errors import JobFailed

CHIP_SIDE = 128  # pixels of the network's chip
EMAP = "buff2fs"  # the initializer that holds the 512 x 512 matrix
EMBEDDING = 512  # numbers of an ArcFace embedding
BLUR = 0.3  # share of the chip over which the box mask fades

# Where the network expects the five landmarks: ARCFACE_112 shifted by 8 pixels in a chip of 128.
TEMPLATE: Float = (ARCFACE_112 + np.array([8.0, 0.0], np.float32)).astype(np.float32)


class ArcFace:
    """`embed(image, landmarks5) -> (512,)` float32 of length 1 (w600k_r50; non-commercial weights)."""

    def __init__(self, weights: Path, *, cuda: bool = False) -> None:
        self._session = network.session(network.read(weights), cuda=cuda)
        self._input = self._session.get_inputs()[0].name

    def __call__(self, image: Image, landmarks5: Float) -> Float:
        """Embed the face at five landmarks of an RGB frame."""
        chip = (align(image, landmarks5).astype(np.float32) - 127.5) / 127.5
        (found,) = self._session.run(None, {self._input: chip.transpose(2, 0, 1)[None]})
        return normalised(found[0])


class InSwapper:
    """The `Swapper` of this module."""

    name = "inswapper"

    def __init__(self, weights: Path, embed: ArcFace, *, cuda: bool = False) -> None:
        model = network.read(weights)
        self.emap = emap_of(model, weights.name)
        self._session = network.session(model, cuda=cuda)
        shapes = {entry.name: list(entry.shape) for entry in self._session.get_inputs()}
        self._target = next(name for name, shape in shapes.items() if len(shape) == 4)  # noqa: PLR2004  # NCHW
        self._source = next(name for name, shape in shapes.items() if len(shape) == 2)  # noqa: PLR2004
        self._embed = embed

    def prepare(self, image: Image, view: View) -> "InSwapperSource":
        """Embed the source and take the embedding into the network's space."""
        latent = self._embed(image, view.face.landmarks5) @ self.emap
        return InSwapperSource(self, normalised(latent))

    def render(self, chip: Image, latent: Float) -> Float:
        """Turn a target's chip, (128, 128, 3) RGB 0-255, into the same with the source's identity, float32."""
        blob = (chip.astype(np.float32) / 255).transpose(2, 0, 1)[None]
        (found,) = self._session.run(None, {self._target: blob, self._source: latent[None]})
        return np.asarray(np.clip(found[0].transpose(1, 2, 0), 0, 1) * 255, np.float32)


@dataclass(frozen=True)
class InSwapperSource:
    """A source, ready for the network."""

    swapper: InSwapper
    latent: Float  # (512,) of length 1

    def renderer(self, remembered: None = None) -> "InSwapperRenderer":  # noqa: ARG002  # as others need it
        """Return a renderer; it keeps nothing from frame to frame: the landmarks were smoothed before."""
        return InSwapperRenderer(self)


@dataclass(frozen=True)
class InSwapperRenderer:
    """Renders the source over one track."""

    source: InSwapperSource
    remembered: None = None

    def steps(self, image: Image, view: View) -> Steps:
        """Do all in the second step."""
        yield
        return self(image, view)

    def __call__(self, image: Image, view: View) -> Patch | None:
        """Swap the aligned chip and warp it back to the region of the frame that it came from."""
        matrix = umeyama_transform(view.face.landmarks5, TEMPLATE)
        chip = np.asarray(cv2.warpAffine(image, matrix, (CHIP_SIDE, CHIP_SIDE), flags=cv2.INTER_AREA), np.uint8)
        rendered = self.source.swapper.render(chip, self.source.latent)
        return paste_back(rendered, matrix, (image.shape[0], image.shape[1]), view.opacity)


def paste_back(
    rendered: Float, matrix: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]", shape: tuple[int, int], opacity: float
) -> Patch | None:
    """Warp a chip back to the part of a (height, width) frame that it covers; `matrix` took the frame to the chip."""
    side = rendered.shape[0]
    inverse = cv2.invertAffineTransform(matrix)
    corners = np.array([[0, 0, 1], [side, 0, 1], [0, side, 1], [side, side, 1]], np.float64) @ inverse.T
    low = np.maximum(np.floor(corners.min(0)), 0).astype(int)
    high = np.minimum(np.ceil(corners.max(0)), [shape[1], shape[0]]).astype(int)
    width, height = (high - low).tolist()
    if width < 1 or height < 1:
        return None
    shifted = inverse.copy()
    shifted[:, 2] -= low
    size = (width, height)
    pixels = cv2.warpAffine(rendered, shifted, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    mask = cv2.warpAffine(box_mask(side), shifted, size, flags=cv2.INTER_LINEAR)
    return Patch(
        int(low[0]), int(low[1]), np.asarray(pixels, np.float32), (np.clip(mask, 0, 1) * opacity).astype(np.float32)
    )


def box_mask(side: int) -> Float:
    """1 in the middle of a chip, fading to 0 at its border."""
    width = int(side * 0.5 * BLUR)
    border = max(width // 2, 1)
    mask = np.ones((side, side), np.float32)
    mask[:border], mask[-border:], mask[:, :border], mask[:, -border:] = 0, 0, 0, 0
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), width * 0.25, borderType=cv2.BORDER_CONSTANT), np.float32)


def emap_of(model: onnx.ModelProto, name: str) -> Float:
    """Find the matrix that takes an ArcFace embedding into the swapper's space: by its name, else by its shape."""
    square = [entry for entry in model.graph.initializer if list(entry.dims) == [EMBEDDING, EMBEDDING]]
    named = [entry for entry in square if entry.name == EMAP]
    if len(named or square) != 1:
        raise JobFailed("facefusion_no_emap", name=name)
    return np.asarray(numpy_helper.to_array((named or square)[0]), np.float32)
