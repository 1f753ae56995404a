"""Face fusion: how fast it is, whose face the result resembles, and what it leaves unchanged.

Identity is measured by dlib's network (`kinora weights pull dlib-face`, `pip install dlib-bin`), which no swapper uses;
without it those figures are missing. Its descriptors of different people all point in about the same direction, so
their common mean is subtracted before the cosine: different people then have about 0, pictures of one person over 0.4.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from itertools import permutations
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import PIL.Image

from benchmarks.report import Report
from services.facefusion import model as models
from services.facefusion.classic import ClassicSwapper
from services.facefusion.face import Face
from services.facefusion.landmarks import INNER_LIPS, LEFT_EYE, RIGHT_EYE, opening
from services.facefusion.model import FaceModel
from services.facefusion.pipeline import swap_faces
from services.facefusion.preview import preview_swap
from services.facefusion.request import FaceFusionRequest
from services.facefusion.swapper import paste
from shared import weights
from shared.arrays import Image
from shared.media.decode import open_video
from shared.media.encode import encode
from shared.media.image import read_picture
from shared.media.provenance import Label
from shared.pipeline.direct_job import DirectJob
from shared.pipeline.job import Result
from shared.settings import FaceFusionSettings, Settings

Vector = npt.NDArray[np.float64]
FaceDescriptor = Callable[[Image, Face], Vector]

CLIP_FRAMES = 48
STILLS = (0, 20, 40, 60)  # frames of a clip on which identity is measured
HER_STILLS = (10, 242, 300, 340)
SIZES = ((640, 360), (1280, 720))


@dataclass(frozen=True)
class Setup:
    """What every measurement uses."""

    settings: Settings
    model: FaceModel
    folder: Path  # for results; deleted afterwards
    figures: dict[str, Any] = field(default_factory=dict)

    def run(self, work: Callable[..., Result], wanted: FaceFusionRequest) -> Result:
        """Run one request without a queue."""
        return DirectJob(self.folder, self.settings, service="bench").run(work, wanted, self.model)


def measure() -> Report:
    """Run every measurement: about three minutes on two idle cores."""
    settings = Settings(facefusion=FaceFusionSettings(swapper="classic"))
    rows: list[list[str]] = []
    notes = ["Classic swapper. CPU time is that of all threads; wall time depends on what else runs on the machine."]
    with tempfile.TemporaryDirectory() as folder:
        setup = Setup(settings, models.load(settings), Path(folder))
        for faces in (1, 2):
            for size in SIZES:
                write(setup.folder / f"{faces}_{size[1]}.mp4", people(faces, size))
                rows.append(speed(setup, faces, size))
        rows.append(preview(setup))
        rows += fidelity(setup)
        rows += in_front(setup)
    describe = dlib_descriptor()
    if describe is None:
        notes.append("Identity was not measured: dlib-face or dlib-bin is not installed.")
    else:
        rows += identity(setup, describe)
        rows += two_sources(setup, describe)
    return Report("facefusion", "Face fusion", ("figure", "value"), rows, setup.figures, notes)


# Media


def frames_of(name: str, count: int, start: int = 0) -> list[Image]:
    """Consecutive frames of a clip of the catalogue."""
    with av.open(weights.path(name)) as container:
        found = (np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in container.decode(video=0))
        return [image for index, image in enumerate(found) if start <= index < start + count]


def people(faces: int, size: tuple[int, int]) -> list[Image]:
    """One talking face as it is, or two of them side by side, at a size."""
    his = frames_of("clip-single-face", CLIP_FRAMES)
    if faces == 1:
        return [np.asarray(cv2.resize(frame, size), np.uint8) for frame in his]
    hers = frames_of("clip-woman-hands", CLIP_FRAMES, 260)
    both = (np.hstack([his[index][:, 120:440], hers[index][:, 300:620]]) for index in range(CLIP_FRAMES))
    return [np.asarray(cv2.resize(frame, size), np.uint8) for frame in both]


def picture(name: str) -> Image:
    """Read a picture of the catalogue."""
    with PIL.Image.open(weights.path(name)) as opened:
        return np.asarray(opened.convert("RGB"))


def write(path: Path, frames: list[Image]) -> Path:
    """Write a nearly lossless clip."""
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": "10", "preset": "veryfast"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def decode(path: Path) -> list[Image]:
    """Every frame of a file."""
    with av.open(path) as container:
        return [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in container.decode(video=0)]


def request(folder: Path, target: Path, **fields: Any) -> FaceFusionRequest:
    """Ask for a swap from the man's portrait, or another source, to a target."""
    source = fields.pop("source", weights.path("picture-single-face"))
    body = {"task_id": 1, "dist_dir": str(folder), "source_file": str(source), "target_file": str(target)}
    return FaceFusionRequest.model_validate(body | fields)


# Speed


def speed(setup: Setup, faces: int, size: tuple[int, int]) -> list[str]:
    """Frames a second from file to file, and where the time goes."""
    wanted = request(setup.folder, setup.folder / f"{faces}_{size[1]}.mp4", programe=1, face_selector_mode="many")
    walls, cpus = [], []
    for _ in range(3):
        wall, cpu = time.perf_counter(), time.process_time()
        setup.run(swap_faces, wanted)
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    stages = stage_times(setup, wanted)
    best, median = CLIP_FRAMES / min(walls), CLIP_FRAMES / statistics.median(walls)
    cpu_ms = min(cpus) / CLIP_FRAMES * 1000
    setup.figures[f"{faces}_face_{size[0]}x{size[1]}"] = {
        "fps": round(best, 1),
        "fps_median": round(median, 1),
        "cpu_ms_per_frame": round(cpu_ms, 1),
        "stages_ms": stages,
    }
    listed = ", ".join(f"{name} {value:.1f}" for name, value in stages.items())
    value = f"{best:.1f} fps best, {median:.1f} median; {cpu_ms:.0f} ms CPU a frame (ms: {listed})"
    return [f"speed, {faces} face(s), {size[0]}x{size[1]}", value]


def stage_times(setup: Setup, wanted: FaceFusionRequest) -> dict[str, float]:
    """Median milliseconds a frame of detection, landmarks and rendering, each measured by itself."""
    model = setup.model
    image, times = decode(Path(wanted.target_file))[0], {}
    faces = model.detect(image)
    views = [model.view(image, face) for face in faces]
    portrait = read_source(wanted, setup.settings)
    source = model.swapper.prepare(portrait, model.view(portrait, largest(model, portrait)))
    renderers = [source.renderer() for _ in views]

    def render() -> None:
        canvas = image.copy()
        for renderer, view in zip(renderers, views, strict=True):
            patch = renderer(image, replace(view, fresh=False))
            if patch:
                paste(canvas, patch)

    works: dict[str, Callable[[], object]] = {
        "detect": lambda: model.detect(image),
        "landmarks": lambda: [model.landmarks(image, np.array([*face.centre, 300, 0], np.float32)) for face in faces],
        "paint": render,  # the key of the published figures
        "recognise once a track": lambda: [model.embed(image, face.landmarks5) for face in faces],
    }
    for name, work in works.items():
        work()
        taken = []
        for _ in range(15):
            start = time.perf_counter()
            work()
            taken.append(time.perf_counter() - start)
        times[name] = round(statistics.median(taken) * 1000, 2)
    return times


def read_source(wanted: FaceFusionRequest, settings: Settings) -> Image:
    """Read the source picture as the pipeline reads it."""
    with DirectJob(Path(wanted.dist_dir), settings).input(wanted.source_file) as file:
        return np.asarray(read_picture(file), np.uint8)


def preview(setup: Setup) -> list[str]:
    """Time a warm preview at 1280x720 without the queue around it."""
    wanted, taken = request(setup.folder, setup.folder / "1_720.mp4", frame_number=30), []
    for _ in range(7):
        start = time.perf_counter()
        setup.run(preview_swap, wanted)
        taken.append(time.perf_counter() - start)
    median = statistics.median(taken)
    setup.figures["preview_seconds"] = {"median": round(median, 3), "best": round(min(taken), 3)}
    return ["preview, warm, 1280x720", f"{median:.2f} s median, {min(taken):.2f} s best"]


# What stays unchanged


def fidelity(setup: Setup) -> Iterator[list[str]]:
    """Compare the pixels outside the face with the source only encoded again, and jitter, mouth and eyes inside it."""
    model, figures = setup.model, setup.figures
    target = weights.path("clip-single-face")
    hers = setup.folder / "her.png"
    cv2.imwrite(str(hers), frames_of("clip-woman-hands", 1, 242)[0][..., ::-1])
    wanted = request(setup.folder, target, programe=1, face_selector_mode="many", source=hers)
    swapped = decode(setup.folder / setup.run(swap_faces, wanted).video)
    plain, before = decode(encoded_again(target, setup)), decode(target)
    outside = [
        psnr_outside(one, other, model.detect(source))
        for one, other, source in zip(swapped, plain, before, strict=True)
    ]
    figures["psnr_outside_db"] = round(min(outside), 1)
    yield ["outside the face boxes, against the source encoded again", f"{min(outside):.1f} dB at the worst frame"]
    old, new = (followed(model, frames) for frames in (before, swapped))
    figures["jitter_ratio"] = round(jitter(new) / jitter(old), 3)
    yield ["landmark jitter after against before", f"{(jitter(new) / jitter(old) - 1) * 100:+.0f} %"]
    for name, contours in (("mouth", (INNER_LIPS,)), ("eyes", (LEFT_EYE, RIGHT_EYE))):
        openings = [[sum(opening(points, contour) for contour in contours) for points in found] for found in (old, new)]
        figures[f"{name}_correlation"] = round(float(np.corrcoef(np.array(openings))[0, 1]), 3)
        yield [f"opening of the {name} follows the target", f"correlation {figures[f'{name}_correlation']:.3f}"]


def encoded_again(target: Path, setup: Setup) -> Path:
    """Write the source, decoded and encoded as a result is, unchanged."""
    settings = setup.settings
    job = DirectJob(setup.folder, settings, service="bench")
    with job.input(str(target)) as file, open_video(file) as video, job.output(".mp4") as output:
        size = (video.width, video.height)
        encode(video.frames(), output, like=video, size=size, settings=settings, label=Label.of(settings, output))
    return setup.folder / output.name


def psnr_outside(one: Image, other: Image, faces: list[Face]) -> float:
    """Peak signal to noise outside the detector's boxes and a tenth around them, in decibels."""
    outside = np.ones(one.shape[:2], bool)
    for face in faces:
        margin = face.size * 0.1
        low, high = np.maximum(face.bbox[:2] - margin, 0).astype(int), (face.bbox[2:] + margin).astype(int)
        outside[low[1] : high[1], low[0] : high[0]] = False
    error = float(((one[outside].astype(np.float64) - other[outside]) ** 2).mean())
    return 99.0 if error == 0 else 10 * np.log10(255**2 / error)


def followed(model: FaceModel, frames: list[Image]) -> list[npt.NDArray[np.float32]]:
    """Landmarks of the largest face of every frame, each found in that frame alone."""
    return [model.view(frame, largest(model, frame)).landmarks for frame in frames]


def jitter(points: list[npt.NDArray[np.float32]]) -> float:
    """Mean size of the second difference in time, in pixels."""
    return float(np.abs(np.diff([found[:, :2] for found in points], 2, axis=0)).mean())


def largest(model: FaceModel, image: Image) -> Face:
    """Return the face of a frame that is known to have one."""
    face = model.largest(image)
    assert face is not None, "no face in a frame that has one"
    return face


# What is in front


def in_front(setup: Setup) -> Iterator[list[str]]:
    """Measure what is found of things with known masks, what is lost of clear faces, and the pixels of a hand."""
    from benchmarks.occluders import measure as occluders  # noqa: PLC0415  # it uses the pictures of this module

    model, people = setup.model, occluders.people(setup.model)
    counted = setup.figures["in_front"] = {}
    found = occluders.table(model, people)
    for name, now in found["now", "all"].items():
        before, apart = found["before", "all"][name], found["now", "hair"][name]
        counted[name] = {"recall": round(now.recall, 3), "precision": round(now.precision, 3)}
        counted[name]["precision_without_hair"] = round(apart.precision, 3)
        value = f"recall {now.recall:.2f} at precision {now.precision:.2f}, {apart.precision:.2f} without own hair"
        yield [
            f"in front: {name}",
            f"{value}; by colour and memory alone {before.recall:.2f} at {before.precision:.2f}",
        ]
    for person in people:
        lost = occluders.clean(person, model, occluders.METHODS["now"])
        counted[f"lost, {person.name}"] = round(lost, 4)
        yield [f"in front: nothing, {person.name}", f"{lost * 100:.1f} % of the face taken for covered"]
    portrait = picture("picture-single-face")
    source = ClassicSwapper().prepare(portrait, model.view(portrait, largest(model, portrait)))
    whole, inner = occluders.decibels_at(people[1], "hand", model, source)
    counted["hand_db"] = [round(whole, 1), round(inner, 1)]
    yield ["in front: pixels of a hand after the swap", f"{whole:.1f} dB, {inner:.1f} where it is before the face"]


# Identity


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


def identity(setup: Setup, describe: FaceDescriptor) -> Iterator[list[str]]:
    """Every ordered pair of three people: how near the result is to the source and to the target's own face."""
    model, figures = setup.model, setup.figures
    group, portrait = picture("picture-multi-face"), picture("picture-single-face")
    his, hers = frames_of("clip-single-face", 72), frames_of("clip-woman-hands", 345)
    sources: dict[str, Image] = {"man": portrait, "woman": hers[242], "group": group}
    targets = {"man": [his[i] for i in STILLS], "woman": [hers[i] for i in HER_STILLS], "group": [group]}
    crowd = [(image, face) for image in (portrait, hers[242], group) for face in model.detect(image)]
    common = np.mean([describe(image, face) for image, face in crowd], 0)

    def seen(image: Image, face: Face) -> Vector:
        vector = describe(image, face) - common
        return np.asarray(vector / np.linalg.norm(vector))

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
    target = write(folder / "couple.mp4", people(2, SIZES[0]))
    portraits = {"woman": frames_of("clip-woman-hands", 1, 242)[0], "man": picture("picture-single-face")}
    for name, portrait in portraits.items():
        PIL.Image.fromarray(portrait).save(folder / f"{name}.png")
    faces = [{"source_file": str(folder / f"{name}.png")} for name in portraits]
    result = decode(folder / setup.run(swap_faces, request(folder, target, programe=1, faces=faces)).video)
    crowd = [
        (image, face) for image in (*portraits.values(), picture("picture-multi-face")) for face in model.detect(image)
    ]
    common = np.mean([describe(image, face) for image, face in crowd], 0)

    def seen(image: Image, face: Face) -> Vector:
        vector = describe(image, face) - common
        return np.asarray(vector / np.linalg.norm(vector))

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
