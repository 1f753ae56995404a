"""The face as a mesh: every pixel of a face has a place in one flattened frontal face, the atlas.

Atlas coordinates are 0-1. One map samples the atlas for a frame (a source's skin, a mask, the earlier appearance of a
track), another samples a frame into the atlas.
"""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from services.facefusion.face import Float

SUBPIXEL_BITS = 4  # triangles are drawn to a sixteenth of a pixel
PADDING = 2.0  # pixels that a region adds around the landmarks: every step's cost grows with the region


@dataclass(frozen=True)
class Mesh:
    """The 468 points of the atlas and the triangles between them; eyes and mouth are holes."""

    points: Float  # (468, 2) in 0-1
    triangles: npt.NDArray[np.intp]  # (T, 3), clockwise on the screen when facing the camera
    mirrored: npt.NDArray[np.intp]  # (468,): which point is at the place of each in a mirror

    @classmethod
    @cache
    def load(cls) -> "Mesh":
        """Read `mesh.toml` once."""
        found = tomllib.loads((files("services.facefusion") / "mesh.toml").read_text(encoding="utf-8"))
        points, triangles, mirrored = (np.array(found[name]) for name in ("points", "triangles", "mirrored"))
        return cls(points.astype(np.float32), triangles.astype(np.intp), mirrored.astype(np.intp))


@dataclass(frozen=True)
class Region:
    """The part of a frame that a face covers, and where each of its pixels lies in the atlas."""

    x: int
    y: int
    covered: npt.NDArray[np.bool_]  # (h, w): pixels of the visible mesh
    atlas: Float  # (2, h, w): x and y in 0-1, meaningful where covered
    detail: Float  # (T,) atlas area a triangle has per pixel of it in the frame, 0 when hidden
    triangle: npt.NDArray[np.int32]  # (h, w): number of the triangle, -1 outside

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.covered.shape[1], self.covered.shape[0]


def areas(corners: Float) -> Float:
    """Twice the signed area of triangles (T, 3, 2); positive when clockwise on the screen."""
    one, other = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    return np.asarray(one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0], np.float32)


def bounds(landmarks: Float, shape: tuple[int, int]) -> tuple[npt.NDArray[np.int_], tuple[int, int]] | None:
    """Return the corner (x, y) and the size (width, height) of the region of a mesh; None outside the frame."""
    low = np.maximum(np.floor(landmarks[:, :2].min(0) - PADDING), 0).astype(int)
    high = np.minimum(np.ceil(landmarks[:, :2].max(0) + PADDING), [shape[1], shape[0]]).astype(int)
    width, height = (high - low).tolist()
    if width < 8 or height < 8:  # noqa: PLR2004  # too small for a face to be seen
        return None
    return low, (width, height)


def rasterise(landmarks: Float, shape: tuple[int, int]) -> Region | None:
    """Draw the mesh at (468, 3) landmarks of a frame of (height, width); None when it lies outside the frame.

    Far triangles are drawn first and those that face away are left out: what a turned head hides stays hidden.
    """
    mesh = Mesh.load()
    found = bounds(landmarks, shape)
    if found is None:
        return None
    low, (width, height) = found
    corners = (landmarks[:, :2] - low)[mesh.triangles]
    signed = areas(corners)
    numbers = np.full((height, width), -1, np.int32)
    order = np.argsort(-landmarks[:, 2][mesh.triangles].mean(1))
    order = order[signed[order] > 0]
    fixed = np.round(corners[order] * (1 << SUBPIXEL_BITS)).astype(np.int32)
    draw = cv2.fillConvexPoly  # some 800 calls: what each looks up by itself costs as much as what it draws
    for number, spots in zip(order.tolist(), fixed, strict=True):
        draw(numbers, spots, number, cv2.LINE_8, SUBPIXEL_BITS)
    covered = numbers >= 0
    whole = np.abs(areas(mesh.points[mesh.triangles]))
    detail = np.where(signed > 0, whole / np.maximum(signed, 1e-3), 0).astype(np.float32)
    atlas = place(numbers, corners, mesh.points[mesh.triangles])
    return Region(int(low[0]), int(low[1]), covered, atlas, detail, numbers)


def place(numbers: npt.NDArray[np.int32], corners: Float, wanted: Float) -> Float:
    """Return for each pixel of `numbers` (h, w) where its triangle's affine map takes it: x and y, (2, h, w).

    `corners` and `wanted` are the triangles (T, 3, 2) here and there. The six numbers of the maps are looked up as six
    planes: rows of six in one table take seven times as long.
    """
    height, width = numbers.shape
    triangle = np.maximum(numbers, 0).astype(np.intp)  # once: otherwise each lookup converts it again
    x, y = np.arange(width, dtype=np.float32)[None], np.arange(height, dtype=np.float32)[:, None]
    spots = np.empty((2, height, width), np.float32)
    by_x, by_y = np.empty((2, height, width), np.float32)
    for spot, maps in zip(spots, affine_maps(corners, wanted), strict=True):
        for part, found in zip(maps, (by_x, by_y, spot), strict=True):
            np.take(part, triangle, out=found, mode="clip")  # "raise" would fill a copy of `out`
        np.multiply(by_x, x, out=by_x)
        np.multiply(by_y, y, out=by_y)
        np.add(by_x, by_y, out=by_x)
        np.add(by_x, spot, out=spot)
    return spots


def affine_maps(corners: npt.NDArray[np.floating], wanted: npt.NDArray[np.floating]) -> Float:
    """Return the maps that take triangles (T, 3, 2) to wanted ones: for x and y the factors of x, y and 1, (2, 3, T).

    Cramer's rule on two edges, in float64; a general solver takes twice as long. A triangle that is collapsed to a
    line has a map to the wanted first corner: any finite one is good enough.
    """
    here, there = np.asarray(corners, np.float64), np.asarray(wanted, np.float64)
    one, other = here[:, 1] - here[:, 0], here[:, 2] - here[:, 0]
    area = one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0]
    flat = np.abs(area) < 1e-3  # noqa: PLR2004  # square pixels
    share = np.where(flat, 0, 1 / np.where(flat, 1, area))[:, None]
    first, second = there[:, 1] - there[:, 0], there[:, 2] - there[:, 0]
    by_x = (first * other[:, 1:] - second * one[:, 1:]) * share
    by_y = (second * one[:, :1] - first * other[:, :1]) * share
    start = there[:, 0] - by_x * here[:, 0, :1] - by_y * here[:, 0, 1:]
    return np.ascontiguousarray(np.stack([by_x, by_y, start]).transpose(2, 0, 1), np.float32)


@cache
def atlas_numbers(side: int) -> npt.NDArray[np.int32]:
    """Which triangle each pixel of a `side` x `side` atlas belongs to, -1 outside."""
    mesh = Mesh.load()
    numbers = np.full((side, side), -1, np.int32)
    fixed = np.round((mesh.points * side - 0.5)[mesh.triangles] * (1 << SUBPIXEL_BITS)).astype(np.int32)
    for number, corners in enumerate(fixed):
        cv2.fillConvexPoly(numbers, corners, number, lineType=cv2.LINE_8, shift=SUBPIXEL_BITS)
    numbers.setflags(write=False)
    return numbers


def to_atlas(image: npt.NDArray[Any], landmarks: Float, side: int) -> npt.NDArray[Any]:
    """Sample an image (H, W, C) at its landmarks into a `side` x `side` atlas; holes repeat what lies around."""
    mesh = Mesh.load()
    corners = (mesh.points * side - 0.5)[mesh.triangles]
    spots = place(atlas_numbers(side), corners, landmarks[:, :2][mesh.triangles])
    return sample(image, spots)


def from_atlas(content: npt.NDArray[Any], region: Region) -> npt.NDArray[Any]:
    """Sample an atlas (side, side[, C]) for a region of a frame."""
    spots = region.atlas * content.shape[0] - 0.5
    return sample(content, spots)


def sample(image: npt.NDArray[Any], spots: Float) -> npt.NDArray[Any]:
    """Sample (H, W[, C]) bilinearly at pixel positions (2, h, w), x and y; positions outside take the edge."""
    return np.asarray(cv2.remap(image, spots[0], spots[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


@cache
def contour_mask(side: int, *contours: tuple[int, ...]) -> Float:
    """Fill contours of landmark numbers in a `side` x `side` atlas: 1 inside, 0 outside."""
    mask = np.zeros((side, side), np.float32)
    for contour in contours:
        cv2.fillPoly(mask, [np.round((Mesh.load().points * side - 0.5)[list(contour)]).astype(np.int32)], 1)
    mask.setflags(write=False)
    return mask
