"""Every network that a job needs to find, recognise and render faces, loaded once per runner."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnxruntime

from services.facefusion.attributes import AttributeReader
from services.facefusion.classic import ClassicSwapper
from services.facefusion.detect import Detector
from services.facefusion.embed import SFace
from services.facefusion.face import Face, Float
from services.facefusion.inswapper import ArcFace, InSwapper
from services.facefusion.landmarks import LandmarkFinder, crop_of_landmarks, crop_of_landmarks5
from services.facefusion.nsfw import NsfwScorer
from services.facefusion.parsers import PARSERS, FaceParser
from services.facefusion.scrfd import ScrfdDetector
from services.facefusion.swapper import Swapper, View
from shared import weights
from shared.arrays import Image
from shared.process.cores import usable_cores
from shared.settings import Settings


@dataclass(frozen=True)
class FaceModel:
    """Callables over RGB uint8 frames; each documents its shapes."""

    detect: Callable[[Image], list[Face]]
    embed: Callable[[Image, Float], Float]
    embedder: str  # embeddings of different embedders cannot be compared
    landmarks: LandmarkFinder
    attributes: AttributeReader
    nsfw: Callable[[Image], float] | None
    swapper: Swapper
    at_once: int = 1  # frames that are best worked on side by side

    def view(self, image: Image, face: Face) -> View:
        """Find the 468 landmarks in a single image: two passes, the second on the crop that the first one found."""
        rough, _ = self.landmarks(image, crop_of_landmarks5(face.landmarks5))
        landmarks, _ = self.landmarks(image, crop_of_landmarks(rough))
        return View(face, landmarks)

    def largest(self, image: Image) -> Face | None:
        """Return the largest face of a picture, which is a portrait's subject; None when there is none."""
        return max(self.detect(image), key=lambda face: face.area, default=None)


def load(settings: Settings) -> FaceModel:
    """Load the networks that the settings ask for; JobFailed names the weights that are missing."""
    cuda = settings.device != "cpu" and "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    at_once = 1 if cuda else usable_cores()
    landmarks = LandmarkFinder(weights.path("face-landmarks-468"))
    attributes = AttributeReader(weights.path("age-v1"), weights.path("gender-v1"))
    nsfw = NsfwScorer(weights.path("open-nsfw")) if settings.facefusion.nsfw_check else None
    if wants_inswapper(settings, cuda=cuda):
        embed = ArcFace(weights.path("buffalo-l", "w600k_r50.onnx"), cuda=cuda)
        return FaceModel(
            detect=ScrfdDetector(weights.path("buffalo-l", "det_10g.onnx"), cuda=cuda),
            embed=embed,
            embedder="arcface-w600k-r50",
            landmarks=landmarks,
            attributes=attributes,
            nsfw=nsfw,
            at_once=at_once,
            swapper=InSwapper(
                weights.path("inswapper-128"),
                embed,
                cuda=cuda,
                sharpen=sharpener(settings) if settings.facefusion.sharpen else None,
            ),
        )
    return FaceModel(
        detect=Detector(weights.path("yunet"), cuda=cuda),
        embed=SFace(weights.path("sface"), cuda=cuda),
        embedder="sface",
        landmarks=landmarks,
        attributes=attributes,
        nsfw=nsfw,
        swapper=ClassicSwapper(parser_of(settings, cuda=cuda)),
        at_once=at_once,
    )


def wants_inswapper(settings: Settings, *, cuda: bool) -> bool:
    """`auto` takes the neural swapper where its weights were pulled, which accepts their licence, and a GPU runs it."""
    if settings.facefusion.swapper == "auto":
        return cuda and weights.exists("inswapper-128") and weights.exists("buffalo-l")
    return settings.facefusion.swapper == "inswapper"


def parser_of(settings: Settings, *, cuda: bool) -> FaceParser | None:
    """Load the further network for what is in front of a face, if the settings name one."""
    wanted = PARSERS.get(settings.facefusion.occluder)
    return None if wanted is None else FaceParser(wanted, weights.path(wanted.weights), cuda=cuda)


def sharpener(settings: Settings) -> Callable[[Float], Float]:
    """Return a callable that repairs a swapped chip with the upscaling network, four times as large."""
    from shared.networks.compute import choose_compute  # noqa: PLC0415  # torch only where it is asked for
    from shared.networks.rrdb import RRDB  # noqa: PLC0415
    from shared.networks.upscaler import Upscaler  # noqa: PLC0415

    network = RRDB.from_weights(weights.load_safetensors("realesrgan-x4plus"))
    upscale = Upscaler(network, choose_compute(settings.device), name="realesrgan-x4plus")
    return lambda chip: upscale(np.rint(chip).astype(np.uint8), 4).astype(np.float32)
