"""Every network that a job needs to find, recognise and render faces, loaded once per runner."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

import onnxruntime

from services.facefusion.attributes import AttributeReader, Attributes
from services.facefusion.classic import ClassicSwapper
from services.facefusion.detect import Detector
from services.facefusion.embed import SFace
from services.facefusion.face import Face, Float
from services.facefusion.landmarks import LandmarkFinder, crop_of_landmarks, crop_of_landmarks5
from services.facefusion.nsfw import NsfwScorer
from services.facefusion.parsers import PARSERS, FaceParser
from services.facefusion.restoration.restorer import Restorer
from services.facefusion.restoration.restorers import restorers_of
from services.facefusion.steadiness import Holds, examiner
from services.facefusion.swapper import Swapper, View
from shared import weights
from shared.arrays import Image
from shared.process.cores import usable_cores
from shared.settings import Settings
from shared.weights import swappers


@dataclass(frozen=True)
class FaceModel:
    """Callables over RGB uint8 frames; each documents its shapes."""

    detect: Callable[[Image], list[Face]]
    embed: Callable[[Image, Float], Float]
    embedder: str  # embeddings of different embedders cannot be compared
    landmarks: LandmarkFinder
    attributes: Callable[[Image, Float], Attributes]
    nsfw: Callable[[Image], float] | None
    swapper: Swapper
    at_once: int = 1  # frames that are best worked on side by side
    restorer: Callable[[bool], Restorer | None] = lambda _asked: None  # of a task, which may have asked for one
    holds: Holds = lambda _image, _face: True  # whether landmarks can be placed on a face

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
    if name := neural_swapper(settings, cuda=cuda):
        from services.facefusion.neural.load import EMBEDDER  # noqa: PLC0415  # insightface is imported only for these
        from services.facefusion.neural.load import load as load_neural  # noqa: PLC0415

        parts = load_neural(name, settings.facefusion, cuda=cuda)
        return FaceModel(
            detect=parts.detect,
            embed=parts.embed,
            embedder=EMBEDDER,
            landmarks=landmarks,
            attributes=parts.attributes or attributes,
            nsfw=nsfw,
            swapper=parts.swapper,
            at_once=at_once,
            restorer=restorers_of(settings, cuda=cuda),
        )
    return FaceModel(
        holds=examiner(landmarks),
        detect=Detector(weights.path("yunet"), cuda=cuda),
        embed=SFace(weights.path("sface"), cuda=cuda),
        embedder="sface",
        landmarks=landmarks,
        attributes=attributes,
        nsfw=nsfw,
        swapper=ClassicSwapper(parser_of(settings, cuda=cuda)),
        at_once=at_once,
        restorer=restorers_of(settings, cuda=cuda),
    )


def neural_swapper(settings: Settings, *, cuda: bool) -> str:
    """Return the row of the table of neural swappers that is wanted, "" for the classic swapper.

    `auto` takes inswapper where its weights were pulled, which accepts their licence, where insightface is installed,
    and a GPU runs it.
    """
    wanted = settings.facefusion.swapper
    if wanted == "auto":
        here = all(weights.exists(entry) for entry in swappers.needed_by("inswapper"))
        wanted = "inswapper" if cuda and here and find_spec("insightface") else "classic"
    return "" if wanted == "classic" else swappers.ALIASES.get(wanted, wanted)


def parser_of(settings: Settings, *, cuda: bool) -> FaceParser | None:
    """Load the further network for what is in front of a face, if the settings name one."""
    wanted = PARSERS.get(settings.facefusion.occluder)
    return None if wanted is None else FaceParser(wanted, weights.path(wanted.weights), cuda=cuda)
