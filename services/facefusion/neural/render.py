"""Networks that render a chip with another identity, behind one interface: `render(chips, identity) -> chips`.

inswapper runs in insightface's own class; the other rows of the table in a session of ours.
"""

from pathlib import Path
from typing import Protocol

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

from services.facefusion import network
from services.facefusion.face import Float
from services.facefusion.neural.insight import open_model
from services.facefusion.neural.swappers import SwapperRow
from shared.errors import JobFailed

EMAP = "buff2fs"  # the initializer that holds inswapper's 512 x 512 matrix
EMBEDDING = 512  # numbers of an ArcFace embedding
IMAGE_RANK, VECTOR_RANK = 4, 2  # NCHW; [1, 512]


class Network(Protocol):
    """A swapping network, for chips as its row describes them."""

    emap: Float | None  # (512, 512): takes an embedding into the network's space; None where it needs none

    def __call__(self, chip: Float, identity: Float) -> Float:
        """Render (3, side, side) in the network's range with an identity (512,); return the same shape."""


class InSwapper:
    """inswapper_128 as `insightface.model_zoo.INSwapper`; its matrix is the one that is named or shaped so."""

    def __init__(self, weights: Path, *, cuda: bool = False) -> None:
        self.emap: Float | None = emap_of(onnx.load(weights), weights.name)
        self._model = open_model(weights, "INSwapper", cuda=cuda)
        self._model.emap = self.emap  # it takes the last initializer, whatever that is
        self._model.input_std = 1.0  # chips arrive in 0-1

    def __call__(self, chip: Float, identity: Float) -> Float:
        """Render one chip."""
        return np.asarray(self._model.forward(chip[None], identity[None])[0], np.float32)


class SwapSession:
    """Any other row: inputs are found by their rank, never by their position."""

    emap: Float | None = None

    def __init__(self, weights: Path, row: SwapperRow, *, cuda: bool = False) -> None:
        self._session = session_of(weights, cuda=cuda)
        ranks = {len(entry.shape): entry for entry in self._session.get_inputs()}
        if set(ranks) != {IMAGE_RANK, VECTOR_RANK} or list(ranks[IMAGE_RANK].shape[2:]) != [row.side, row.side]:
            raise JobFailed("facefusion_other_network", name=weights.name, kind=row.name)
        self._target, self._source = ranks[IMAGE_RANK].name, ranks[VECTOR_RANK].name
        self._output = self._session.get_outputs()[0].name

    def __call__(self, chip: Float, identity: Float) -> Float:
        """Render one chip."""
        (found,) = self._session.run([self._output], {self._target: chip[None], self._source: identity[None]})
        return np.asarray(found[0], np.float32)


class Converter:
    """`converter(embedding) -> (512,)`: an ArcFace embedding, not scaled, in the space of another embedder."""

    def __init__(self, weights: Path, *, cuda: bool = False) -> None:
        self._session = session_of(weights, cuda=cuda)
        self._input = self._session.get_inputs()[0].name

    def __call__(self, embedding: Float) -> Float:
        """Convert (512,) float32."""
        return np.asarray(self._session.run(None, {self._input: embedding[None]})[0], np.float32).reshape(-1)


def session_of(weights: Path, *, cuda: bool) -> onnxruntime.InferenceSession:
    """Start a session of a file, which onnxruntime maps instead of copying."""
    return onnxruntime.InferenceSession(str(weights), network.session_options(), providers=network.providers(cuda=cuda))


def emap_of(model: onnx.ModelProto, name: str) -> Float:
    """Find the matrix that takes an ArcFace embedding into inswapper's space: by its name, else by its shape."""
    square = [entry for entry in model.graph.initializer if list(entry.dims) == [EMBEDDING, EMBEDDING]]
    named = [entry for entry in square if entry.name == EMAP]
    if len(named or square) != 1:
        raise JobFailed("facefusion_no_emap", name=name)
    return np.asarray(numpy_helper.to_array((named or square)[0]), np.float32)
