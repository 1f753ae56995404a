"""Who a face belongs to: SFace (Apache-2.0), an embedding of 128 numbers of an aligned face."""

from pathlib import Path

import numpy as np

from services.facefusion import network
from services.facefusion.face import Float, align
from shared.arrays import Image


class SFace:
    """`embed(image, landmarks5) -> (128,)` float32 of length 1; one person's faces have a cosine above about 0.36."""

    def __init__(self, weights: Path, *, cuda: bool = False) -> None:
        self._session = network.session(network.read(weights), cuda=cuda)

    def __call__(self, image: Image, landmarks5: Float) -> Float:
        """Embed the face at five landmarks of an RGB frame."""
        chip = align(image, landmarks5).astype(np.float32)
        (found,) = self._session.run(None, {"data": chip.transpose(2, 0, 1)[None]})
        return normalised(found[0])


def normalised(vector: Float) -> Float:
    """Scale to length 1."""
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-9), np.float32)


def cosine_distance(one: Float, other: Float) -> float:
    """Return `1 - cos` of two embeddings of length 1: 0 the same, 1 unrelated, 2 opposite."""
    return float(1 - np.dot(one, other))
