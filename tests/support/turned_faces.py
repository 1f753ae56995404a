"""Faces that are turned to one side, made of faces that are not."""

import numpy as np

from services.facefusion.mesh import from_atlas, rasterise, to_atlas
from services.facefusion.swapper import View
from shared.arrays import Image


def turned(image: Image, view: View, degrees: float) -> tuple[Image, View]:
    """The same face turned about the vertical: its own skin on its own landmarks, which have a depth."""
    angle, middle = np.radians(degrees), view.landmarks.mean(0)
    x, y, z = (view.landmarks - middle).T
    places = np.stack([x * np.cos(angle) + z * np.sin(angle), y, z * np.cos(angle) - x * np.sin(angle)], 1) + middle
    landmarks = places.astype(np.float32)
    region = rasterise(landmarks, (image.shape[0], image.shape[1]))
    assert region is not None
    skin = from_atlas(to_atlas(image, view.landmarks, 512), region)
    frame = np.full_like(image, 90)
    part = frame[region.y : region.y + region.size[1], region.x : region.x + region.size[0]]
    part[region.covered] = skin[region.covered]
    return frame, View(view.face, landmarks)
