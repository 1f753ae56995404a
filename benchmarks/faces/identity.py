"""Whose face a result resembles, by a network that no swapper uses."""

import statistics
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from itertools import permutations

import numpy as np
import numpy.typing as npt
import PIL.Image

from benchmarks.faces.media import decode, frames_of, people, picture, write
from benchmarks.faces.setup import Setup, largest, request
from services.facefusion.face import Face
from services.facefusion.pipeline import swap_faces
from services.facefusion.swapper import paste
from shared import weights
from shared.arrays import Image

Vector = npt.NDArray[np.float64]
FaceDescriptor = Callable[[Image, Face], Vector]

COUPLE_SIZE = (640, 360)
STILLS = (0, 20, 40, 60)  # frames of a clip on which identity is measured
HER_STILLS = (10, 242, 300, 340)


def dlib_descriptor() -> FaceDescriptor | None:
    """Dlib's descriptor (128,) of one face; None without its weights or its library."""
    if find_spec("dlib") is None or not weights.exists("dlib-face"):
        return None
    import dlib  # type: ignore[import-not-found]  # noqa: PLC0415  # optional, see above

    network = dlib.face_recognition_model_v1(str(weights.path("dlib-face")))
    aligner = dlib.shape_predictor(str(weights.path("dlib-face", "shape_predictor_5_face_landmarks.dat")))

    def describe(image: Image, face: Face) -> Vector:
        x1, y1, x2, y2 = (float(value) for value in face.bbox)
        box = dlib.rectangle(
            int(x1), int(y1 + 0.15 * (y2 - y1)), int(x2), int(y2)
        )  # dlib's boxes do not contain the forehead
        return np.array(network.compute_face_descriptor(image, aligner(image, box), 0, 0.25))

    return describe


def centred(describe: FaceDescriptor, crowd: list[tuple[Image, Face]]) -> FaceDescriptor:
    """Return a descriptor without what the faces of a crowd have in common, of length 1."""
    common = np.mean([describe(image, face) for image, face in crowd], 0)

    def seen(image: Image, face: Face) -> Vector:
        vector = describe(image, face) - common
        return np.asarray(vector / np.linalg.norm(vector))

    return seen


def identity(setup: Setup, describe: FaceDescriptor) -> Iterator[list[str]]:
    """Every ordered pair of three people: how near the result is to the source and to the target's own face."""
    model, figures = setup.model, setup.figures
    group, portrait = picture("picture-multi-face"), picture("picture-single-face")
    his, hers = frames_of("clip-single-face", 72), frames_of("clip-woman-hands", 345)
    sources: dict[str, Image] = {"man": portrait, "woman": hers[242], "group": group}
    targets = {"man": [his[i] for i in STILLS], "woman": [hers[i] for i in HER_STILLS], "group": [group]}
    crowd = [(image, face) for image in (portrait, hers[242], group) for face in model.detect(image)]
    seen = centred(describe, crowd)
    for one, other in permutations(sources, 2):
        source = sources[one]
        wanted_face = largest(model, source)
        wanted = seen(source, wanted_face)
        prepared = model.swapper.prepare(source, model.view(source, wanted_face))
        to_source, to_own = [], []
        for target in targets[other]:
            face = largest(model, target)
            patch, result = prepared.renderer()(target, model.view(target, face)), target.copy()
            if patch:
                paste(result, patch)
            found = seen(result, largest(model, result))
            to_source.append(float(found @ wanted))
            to_own.append(float(found @ seen(target, face)))
        near, own = statistics.mean(to_source), statistics.mean(to_own)
        figures[f"identity_{one}_to_{other}"] = {"source": round(near, 3), "own": round(own, 3)}
        yield [
            f"identity, {one} onto {other}",
            f"cosine {near:.2f} to the source, {own:.2f} to the own face ({near - own:+.2f})",
        ]


def two_sources(setup: Setup, describe: FaceDescriptor) -> Iterator[list[str]]:
    """Put two people's faces on each other in one run: how near each result is to its own source and to the other one.

    The man stands on the left, the woman on the right; position 0 gets the woman's face, position 1 the man's.
    """
    model, folder, figures = setup.model, setup.folder, setup.figures
    target = write(folder / "couple.mp4", people(2, COUPLE_SIZE))
    portraits = {"woman": frames_of("clip-woman-hands", 1, 242)[0], "man": picture("picture-single-face")}
    for name, portrait in portraits.items():
        PIL.Image.fromarray(portrait).save(folder / f"{name}.png")
    faces = [{"source_file": str(folder / f"{name}.png")} for name in portraits]
    result = decode(folder / setup.run(swap_faces, request(folder, target, programe=1, faces=faces)).video)
    crowd = [
        (image, face) for image in (*portraits.values(), picture("picture-multi-face")) for face in model.detect(image)
    ]
    seen = centred(describe, crowd)
    sources = [seen(portrait, largest(model, portrait)) for portrait in portraits.values()]
    stills = [(image, sorted(model.detect(image), key=lambda face: float(face.centre[0]))) for image in result[::6]]
    for place, (name, side) in enumerate(zip(portraits, ("left", "right"), strict=True)):
        found = [seen(image, faces_of_it[place]) for image, faces_of_it in stills if len(faces_of_it) == len(sources)]
        own, other = (
            statistics.mean(float(vector @ source) for vector in found)
            for source in (sources[place], sources[1 - place])
        )
        nearer = sum(float(vector @ sources[place]) > float(vector @ sources[1 - place]) for vector in found)
        figures[f"two_sources_{name}"] = {
            "own": round(own, 3),
            "other": round(other, 3),
            "nearer": nearer,
            "of": len(found),
        }
        nearness = f"cosine {own:.2f} to the own source, {other:.2f} to the other's"
        yield [
            f"two sources in one run, {name} on the {side}",
            f"{nearness}; nearer to its own in {nearer} of {len(found)} stills",
        ]
