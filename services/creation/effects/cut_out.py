"""Something that stands free on plain ground, cut out around a point of it.

GrabCut (Rother, Kolmogorov and Blake, 2004) in discs of growing radius: the first whose foreground does not reach its
edge shows the whole thing. The ground must be plain all around: a face between hair and collar is part of something
larger, and what is behind it cannot be known.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.arrays import Image

Plane = NDArray[Any]  # float32 (H, W)

WORKING_SIDE = 240  # pixels of the shorter side of the picture in which it is searched
RADII = (0.07, 0.12, 0.2, 0.32)  # of the discs, in shorter sides
SURE = 0.15  # of a disc's radius: what belongs to the thing
ROUNDS = 4  # of GrabCut
EDGE_SHARE = 0.02  # of the disc's edge that a thing which stands free may touch
SMALLEST_SHARE = 0.06  # of the disc's area
SOLIDITY = 0.6  # area by that of the convex hull: what is below is a tangle
CONTRAST = 14.0  # in Lab, between both sides of its outline
PLAIN = 9.0  # in Lab, at most: how far nine tenths of the ground around it are from a smooth one
MARGIN = 2  # pixels that belong to its edge
HALO = 0.02  # of the shorter side: how far its edge fades out, with the glow or the shadow that it may have


def cut_out(picture: Image, point: NDArray[np.float64]) -> Plane | None:
    """Return the opacity, float32 0-1 (H, W), of the thing at `point` (x, y); None where nothing stands free."""
    height, width = picture.shape[:2]
    scale = min(1.0, WORKING_SIDE / min(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    x = min(max(round(float(point[0]) * scale), 0), size[0] - 1)
    y = min(max(round(float(point[1]) * scale), 0), size[1] - 1)
    for radius in RADII:
        found = _foreground(np.asarray(small, np.uint8), x, y, round(radius * min(size)))
        if found is not None:
            return _faded(found, (width, height), HALO * min(height, width))
    return None


def _faded(found: NDArray[np.bool_], size: tuple[int, int], halo: float) -> Plane:
    """Return the opacity at `size` (width, height): 1 on what was found, falling to 0 over `halo` pixels beyond it."""
    whole = cv2.resize(found.astype(np.float32), size, interpolation=cv2.INTER_LINEAR) > 0.25  # noqa: PLR2004
    distance = cv2.distanceTransform((~whole).astype(np.uint8), cv2.DIST_L2, 5)
    near = np.clip(1 - (distance - MARGIN) / np.float32(halo), 0, 1)
    return np.asarray(near * near * (3 - 2 * near), np.float32)


def _foreground(picture: Image, x: int, y: int, radius: int) -> NDArray[np.bool_] | None:
    """Return what stands free in the disc around (x, y), None where nothing does."""
    height, width = picture.shape[:2]
    margin = round(1.5 * radius) + 2
    left, top, right, bottom = max(x - margin, 0), max(y - margin, 0), min(x + margin, width), min(y + margin, height)
    patch = np.ascontiguousarray(picture[top:bottom, left:right])
    centre = (x - left, y - top)
    labels = np.full(patch.shape[:2], cv2.GC_BGD, np.uint8)
    cv2.circle(labels, centre, radius, int(cv2.GC_PR_BGD), -1)
    cv2.circle(labels, centre, round(0.65 * radius), int(cv2.GC_PR_FGD), -1)
    cv2.circle(labels, centre, max(1, round(SURE * radius)), int(cv2.GC_FGD), -1)
    inside = labels != cv2.GC_BGD
    cv2.setRNGSeed(0)
    cv2.grabCut(patch, labels, (0, 0, 0, 0), np.zeros((1, 65)), np.zeros((1, 65)), ROUNDS, cv2.GC_INIT_WITH_MASK)
    found = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
    _, parts = cv2.connectedComponents(found.astype(np.uint8), connectivity=4)
    connected = np.asarray(parts == parts[centre[1], centre[0]], np.uint8)
    opened = cv2.morphologyEx(connected, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    thing = _without_holes(np.asarray(opened, np.uint8))
    if not _stands_free(patch, thing, inside):
        return None
    whole = np.zeros((height, width), bool)
    whole[top:bottom, left:right] = thing > 0
    return whole


def _stands_free(patch: Image, thing: Image, inside: NDArray[np.bool_]) -> bool:
    """Whether the thing is compact, differs from what is around it, and does not go on beyond the disc."""
    disc = inside.astype(np.uint8)
    edge = (disc - cv2.erode(disc, np.ones((3, 3), np.uint8), borderValue=0)) > 0
    if thing.sum() < SMALLEST_SHARE * inside.sum() or (thing[edge] > 0).mean() > EDGE_SHARE:
        return False
    contours, _ = cv2.findContours(thing, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = max(contours, key=cv2.contourArea)
    hull = cv2.contourArea(cv2.convexHull(outline))
    if hull == 0 or thing.sum() < SOLIDITY * hull:
        return False
    lab = cv2.cvtColor(patch.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    within = (thing - cv2.erode(thing, np.ones((5, 5), np.uint8), borderValue=0)) > 0
    without = (cv2.dilate(thing, np.ones((7, 7), np.uint8)) - cv2.dilate(thing, np.ones((3, 3), np.uint8))) > 0
    return bool(_local_contrast(lab, within, without) > CONTRAST) and _is_plain(lab, thing)


def _is_plain(lab: Plane, thing: Image) -> bool:
    """Whether the ground around a thing is what a smooth surface through it would be."""
    size = max(2, round(0.35 * float(np.sqrt(thing.sum()))))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * size + 1, 2 * size + 1))
    around = (cv2.dilate(thing, kernel) - cv2.dilate(thing, np.ones((7, 7), np.uint8))) > 0
    rows, columns = np.nonzero(around)
    if len(rows) < 6:  # noqa: PLR2004  # too few for a plane
        return False
    basis = np.stack([np.ones(len(rows)), rows / thing.shape[0], columns / thing.shape[1]], axis=1)
    colours = lab[around].astype(np.float64)
    plane = basis @ np.linalg.lstsq(basis, colours, rcond=None)[0]
    return bool(np.percentile(np.linalg.norm(colours - plane, axis=1), 90) < PLAIN)


def _local_contrast(lab: Plane, within: NDArray[np.bool_], without: NDArray[np.bool_]) -> float:
    """Return the median difference between the colours just inside and just outside of an outline."""
    inner, outer = (_mean_near(lab, side) for side in (within, without))
    both = within & (inner[1] > 1e-3) & (outer[1] > 1e-3)  # noqa: PLR2004  # some of both sides near
    if not both.any():
        return 0.0
    return float(np.median(np.linalg.norm(inner[0][both] - outer[0][both], axis=1)))


def _mean_near(lab: Plane, side: NDArray[np.bool_]) -> tuple[Plane, Plane]:
    weight = cv2.GaussianBlur(side.astype(np.float32), (0, 0), 3)
    return cv2.GaussianBlur(lab * side[..., None], (0, 0), 3) / np.maximum(weight, 1e-6)[..., None], weight


def _without_holes(thing: Image) -> Image:
    contours, _ = cv2.findContours(thing, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros_like(thing)
    cv2.drawContours(filled, contours, -1, 1, -1)
    return filled
