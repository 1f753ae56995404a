"""One restorer: an ONNX network that takes an aligned face and returns the same face, repaired."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from services.facefusion import network
from services.facefusion.face import Float
from shared.errors import JobFailed
from shared.process.cores import usable_cores

PLANES = 4  # dimensions of a picture: NCHW
TYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16}


@dataclass(frozen=True)
class Interface:
    """What a network expects and returns: RGB, NCHW, -1 to 1 on both sides."""

    side: int  # pixels of the chip
    template: Float  # (5, 2) where the landmarks lie in it
    extra: Mapping[str, float] = field(default_factory=dict)  # its other inputs by name, such as CodeFormer's weight


class Restorer:
    """`restorer(chip) -> chip`: both (side, side, 3) RGB 0-255 float32. Any number of threads may call it.

    One chip at a time is restored, on all cores: what a large network needs for one is hundreds of megabytes.
    """

    def __init__(self, name: str, path: Path, interface: Interface, *, cuda: bool = False) -> None:
        """Load the network; raises JobFailed where the file has another interface."""
        self.name, self.interface = name, interface
        self._session = network.session(network.read(path), cuda=cuda, threads=usable_cores())
        pictures = [entry for entry in self._session.get_inputs() if len(entry.shape) == PLANES]
        others = [entry for entry in self._session.get_inputs() if len(entry.shape) != PLANES]
        wanted = [1, 3, interface.side, interface.side]
        fits = len(pictures) == 1 and all(
            size == want or not isinstance(size, int) for size, want in zip(pictures[0].shape, wanted, strict=True)
        )
        if not fits or any(entry.name not in interface.extra for entry in others):
            shapes = ", ".join(f"{entry.name} {list(entry.shape)}" for entry in self._session.get_inputs())
            raise JobFailed("facefusion_other_restorer", name=path.name, side=interface.side, found=shapes)
        self._picture, self._output = pictures[0], self._session.get_outputs()[0].name
        self._extra = {entry.name: np.array([interface.extra[entry.name]], TYPES[entry.type]) for entry in others}
        self._one = threading.Lock()

    def __call__(self, chip: Float) -> Float:
        """Restore a chip; one that the network makes no finite numbers of stays as it is."""
        blob = (chip.transpose(2, 0, 1)[None] / 127.5 - 1).astype(TYPES[self._picture.type])
        with self._one:
            (found,) = self._session.run([self._output], {self._picture.name: blob, **self._extra})
        restored = (np.clip(found[0].transpose(1, 2, 0).astype(np.float32), -1, 1) + 1) * 127.5
        return np.asarray(restored if np.isfinite(restored).all() else chip, np.float32)
