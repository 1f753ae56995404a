"""Load what the chosen row of the table needs."""

from dataclasses import dataclass

from services.facefusion.neural.analysis import ArcFace, Detector, GenderAge
from services.facefusion.neural.render import Converter, InSwapper, Network, SwapSession
from services.facefusion.neural.swap import NeuralSwapper
from services.facefusion.neural.swappers import SwapperRow, swappers
from shared import weights
from shared.settings import FaceFusionSettings
from shared.weights.swappers import GENDER_AGE, RECOGNISER, SWAPPERS

EMBEDDER = "arcface-w600k-r50"


@dataclass(frozen=True)
class NeuralParts:
    """The networks of a `FaceModel` that are another one's than the classic swapper's."""

    detect: Detector
    embed: ArcFace
    attributes: GenderAge | None  # None where its weights were not pulled
    swapper: NeuralSwapper


def load(name: str, settings: FaceFusionSettings, *, cuda: bool) -> NeuralParts:
    """Load a row of the table by its name; JobFailed names the weights or the package that are missing."""
    row = swappers()[name]
    embed = ArcFace(weights.path(RECOGNISER, "w600k_r50.onnx"), cuda=cuda)
    return NeuralParts(
        detect=Detector(weights.path(RECOGNISER, "det_10g.onnx"), cuda=cuda),
        embed=embed,
        attributes=GenderAge(weights.path(GENDER_AGE)) if weights.exists(GENDER_AGE) else None,
        swapper=NeuralSwapper(
            row,
            _network(row, cuda=cuda),
            embed,
            convert=_converter(row, cuda=cuda),
            pixel_boost=settings.pixel_boost,
        ),
    )


def _network(row: SwapperRow, *, cuda: bool) -> Network:
    path = weights.path(row.name)
    return InSwapper(path, cuda=cuda) if row.identity == "emap" else SwapSession(path, row, cuda=cuda)


def _converter(row: SwapperRow, *, cuda: bool) -> Converter | None:
    return Converter(weights.path(SWAPPERS[row.name]), cuda=cuda) if SWAPPERS[row.name] else None
