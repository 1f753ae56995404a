"""Who is it: SFace (Apache-2.0), a 128-number embedding of an aligned face."""

from pathlib import Path

import numpy as np

from services.facefusion import network
from services.facefusion.face import Float, Image, align


class SFace:
    """`embed(image, points) -> (128,)` float32 of length 1; the same person lies above about 0.36 cosine."""

    def __init__(self, weights: Path, *, cuda: bool = False, threads: int = 2) -> None:
        self._session = network.session(network.read(weights), cuda=cuda, threads=threads)

    def __call__(self, image: Image, points: Float) -> Float:
        """Embed the face at five `points` of an RGB frame."""
        chip = align(image, points).astype(np.float32)
        (found,) = self._session.run(None, {"data": chip.transpose(2, 0, 1)[None]})
        return normalised(found[0])


def normalised(vector: Float) -> Float:
    """Scale to length 1."""
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-9), np.float32)


def distance(one: Float, other: Float) -> float:
    """Cosine distance `1 - cos` of two embeddings of length 1: 0 the same, 1 unrelated, 2 opposite."""
    return float(1 - np.dot(one, other))
