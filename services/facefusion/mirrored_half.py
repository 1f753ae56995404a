"""A source that is turned to one side: what its picture hides is taken from the half of the face that it shows.

People's two halves are alike enough for a viewer and for networks that recognise faces. The other half is sampled with
the mirrored landmarks, so that it lies where it belongs whatever the head does. Its slow colours are those of the half
that is there, continued: a lamp at one side would otherwise change sides in the mirror.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from services.facefusion.face import Float
from services.facefusion.mesh import Mesh, areas, atlas_numbers, rasterise, to_atlas
from services.facefusion.shading import average
from shared.arrays import Image

TURNED = 18.0  # degrees to one side from which on something is missing; a source that is less turned comes as it is
LEFT_EDGE, RIGHT_EDGE = 234, 454  # landmarks at the ears, whose difference in depth gives the turn
BETTER, MUCH_BETTER = 1.05, 1.25  # times the detail: from there on the other half is taken, all of it
LEAST = 1e-4  # detail of what cannot be seen at all
SHARE_SIDE = 256  # pixels of the atlas in which the shares of the two halves are blended
SEAM = 0.015  # of the atlas: the sigma of the blur between the halves
TONE = 0.12  # of the atlas: the sigma of the slow colours in which the halves are made alike
SMALL_SIDE = 64  # pixels of the atlas in which those are measured
MOST_FACTOR = 3.0  # by which they are changed


@dataclass(frozen=True)
class Flattened:
    """A source's face in the atlas."""

    skin: Image  # (side, side, 3) RGB
    detail: Float  # (T,) pixels of the picture for each unit of the atlas, by area; 0 where nothing was seen


def flattened(image: Image, landmarks: Float, side: int, least_turn: float = TURNED) -> Flattened:
    """Flatten a face into a `side` x `side` atlas; what a turned one hides is taken from its other half.

    A face that is turned by less than `least_turn` degrees comes as it is.
    """
    own = Flattened(to_atlas(image, landmarks, side), detail_of(landmarks))
    if abs(turn(landmarks)) < least_turn:
        return own
    mirror, counterparts = mirrored(image, landmarks)
    seen, others = (
        detail * visible(points, image)
        for detail, points in ((own.detail, landmarks), (detail_of(counterparts), counterparts))
    )
    taken = taken_of_other(seen, others)
    share, inside = drawn(taken), (atlas_numbers(SHARE_SIDE) >= 0).astype(np.float32)
    one, other = own.skin.astype(np.float32), to_atlas(mirror, counterparts, side).astype(np.float32)
    other = relit(other, drawn((others > seen).astype(np.float32)) * inside, one, (1 - share) * inside)
    full = np.asarray(cv2.resize(share, (side, side), interpolation=cv2.INTER_LINEAR), np.float32)
    mixed = one + (other - one) * full[..., None]
    return Flattened(np.clip(np.rint(mixed), 0, 255).astype(np.uint8), np.maximum(own.detail, others * taken))


def turn(landmarks: Float) -> float:
    """How far a face is turned to one side, in degrees, by the depth of its (468, 3) landmarks."""
    right, down, away = (landmarks[RIGHT_EDGE] - landmarks[LEFT_EDGE]).tolist()
    return float(np.degrees(np.arctan2(away, np.hypot(right, down))))


def mirrored(image: Image, landmarks: Float) -> tuple[Image, Float]:
    """Return the picture and its (468, 3) landmarks as in a mirror: each landmark is where its counterpart was."""
    flipped = landmarks[Mesh.load().mirrored]
    flipped[:, 0] = image.shape[1] - 1 - flipped[:, 0]
    return np.ascontiguousarray(image[:, ::-1]), flipped


def detail_of(landmarks: Float) -> Float:
    """Return (T,) pixels of a picture for each unit of the atlas, by area; 0 for triangles that face away."""
    mesh = Mesh.load()
    signed = areas(landmarks[:, :2][mesh.triangles])
    return np.where(signed > 0, np.maximum(signed, 0) / areas(mesh.points[mesh.triangles]), 0).astype(np.float32)


def visible(landmarks: Float, image: Image) -> Float:
    """Return (T,) 0-1: how much of each triangle no nearer part of the face hides, as the nose does, nor the border."""
    found = rasterise(landmarks, (image.shape[0], image.shape[1]))
    mesh = Mesh.load()
    if found is None:
        return np.zeros(len(mesh.triangles), np.float32)
    counted = np.bincount(found.triangle[found.covered], minlength=len(mesh.triangles))
    whole = np.maximum(areas(landmarks[:, :2][mesh.triangles]) / 2, 1.0)
    return np.clip(counted / whole, 0, 1).astype(np.float32)


def taken_of_other(own: Float, other: Float) -> Float:
    """Return (T,) 0-1: how much of each triangle is taken from the other half, by the details of the two."""
    ratio = other / np.maximum(own, LEAST)
    return np.asarray(np.clip((ratio - BETTER) / (MUCH_BETTER - BETTER), 0, 1), np.float32)


def drawn(taken: Float) -> Float:
    """Draw a share of each triangle (T,) into a small atlas, without edges between the triangles."""
    numbers = atlas_numbers(SHARE_SIDE)
    inside = (numbers >= 0).astype(np.float32)
    sigma = SEAM * SHARE_SIDE
    around = np.maximum(cv2.GaussianBlur(inside, (0, 0), sigma), 1e-3)
    return np.asarray(cv2.GaussianBlur(taken[np.maximum(numbers, 0)] * inside, (0, 0), sigma) / around, np.float32)


def relit(other: Float, weight: Float, one: Float, seen: Float) -> Float:
    """Give a skin (side, side, 3) the slow colours of another, continued from where `seen` (n, n) 0-1 is high.

    It is divided by its own, measured where `weight` is high: light multiplies.
    """
    wanted, found = (
        average(small(skin), small(place), TONE * SMALL_SIDE) for skin, place in ((one, seen), (other, weight))
    )
    factor = np.clip(wanted / np.maximum(found, 1.0), 1 / MOST_FACTOR, MOST_FACTOR)
    return other * np.asarray(cv2.resize(factor, other.shape[1::-1], interpolation=cv2.INTER_LINEAR), np.float32)


def small(picture: Float) -> Float:
    """Reduce (n, n[, 3]) to the size in which slow colours are measured."""
    return np.asarray(cv2.resize(picture, (SMALL_SIDE, SMALL_SIDE), interpolation=cv2.INTER_AREA), np.float32)
