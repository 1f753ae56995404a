"""Frame interpolation: how good, against repeating, blending and ffmpeg; how fast, against RIFE as published.

Quality: every other frame of a real clip is taken out, predicted from its neighbours and compared with the real one.
`python -m benchmarks.interpo [CLIP] [TRIPLETS]` measures one clip only; it also writes the pictures of docs/interpo.md.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import av
import cv2
import imageio_ffmpeg
import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import pad

from benchmarks.report import Report
from benchmarks.textbook_rife import textbook_rife
from services.interpo.pipeline import interpolate_video
from services.interpo.request import InterpoRequest
from shared import weights
from shared.networks.compute import choose_compute
from shared.networks.interpolator import Interpolator
from shared.networks.rife import Rife
from shared.pipeline.direct_job import DirectJob
from shared.settings import Settings
from shared.weights.interpolators import INTERPOLATORS

Image = npt.NDArray[Any]
CLIPS = {"clip-bigbuckbunny": 65, "clip-carphone": 59, "clip-single-face": 17, "clip-no-face": 16}  # triplets
SIZES = ((640, 360), (1280, 720))
ROUNDS = 5  # medians; the machine is shared
PICTURES = Path(__file__).parent.parent / "docs" / "images"


@dataclass(frozen=True)
class Triplet:
    """Two frames of a clip and the one between them, which the methods do not see."""

    before: Image
    truth: Image
    after: Image


def measure() -> Report:
    """Measure quality on all clips and speed at both sizes."""
    rows: list[list[str]] = []
    figures: dict[str, Any] = {}
    for clip, count in CLIPS.items():
        quality = measure_quality(clip, count)
        figures[clip] = quality
        rows += [[f"{clip.removeprefix('clip-')}: {name}", *map(_shown, quality[name])] for name in quality]
    for size in SIZES:
        speed = measure_speed(size)
        figures[f"{size[0]}x{size[1]}"] = speed
        rows += [[f"{size[0]}x{size[1]}: {name}", f"{figure:.0f} ms", ""] for name, figure in speed.items()]
    return Report(
        name="interpo",
        title="Frame interpolation",
        columns=("what", "PSNR dB, or ms per new frame", "SSIM"),
        rows=rows,
        figures=figures,
        notes=(
            "Quality: mean over held-out middle frames; SSIM is that of the luma, 11x11 Gaussian windows.",
            "Speed: medians. Textbook is RIFE as published, eager fp32; each mode is compared with its own.",
            "minterpolate is ffmpeg's mi_mode=mci with its defaults, decoding included.",
        ),
    )


def measure_quality(clip: str, count: int) -> dict[str, tuple[float, float]]:
    """Return method -> (PSNR in dB, SSIM), means over `count` triplets spread over the clip."""
    frames = list(decoded(clip))
    middles = sorted({int(place) // 2 * 2 + 1 for place in np.linspace(0, len(frames) - 3, count)})
    triplets = [Triplet(*frames[middle - 1 : middle + 2]) for middle in middles]
    guesses = [
        ("repeat", (triplet.before for triplet in triplets)),
        ("blend", (_blend(triplet) for triplet in triplets)),
        ("minterpolate", minterpolated(frames, middles)),
    ]
    for mode, refine in (("plain", False), ("refined", True)):
        guesses.append((f"textbook, {mode}", _each(triplets, textbook(refine=refine))))
        guesses.append((f"Kinora, {mode}", _each(triplets, ours(refine=refine))))
    return {
        name: _means([(psnr(guess, t.truth), ssim(guess, t.truth)) for guess, t in zip(found, triplets, strict=True)])
        for name, found in guesses
    }


def measure_speed(size: tuple[int, int]) -> dict[str, float]:
    """Return what -> ms per new frame: the model alone, and the whole pipeline from file to file."""
    pictures = [
        cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in islice(decoded(next(iter(CLIPS))), 13)
    ]
    triplet = Triplet(*pictures[:3])
    found: dict[str, float] = {}
    for mode, refine in (("plain", False), ("refined", True)):
        methods = {f"textbook, {mode}": textbook(refine=refine), f"Kinora, {mode}": ours(refine=refine)}
        seconds: dict[str, list[float]] = {name: [] for name in methods}
        for turn in range(ROUNDS + 1):
            for name, method in methods.items():
                fresh = Triplet(triplet.before, triplet.truth, triplet.after.copy())  # one new frame a pair
                begin = time.perf_counter()
                method(fresh)
                if turn:  # the first call allocates
                    seconds[name].append(time.perf_counter() - begin)
        found |= {name: statistics.median(values) * 1000 for name, values in seconds.items()}
    with TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        _write(clip, pictures)
        job = DirectJob(Path(folder), Settings.load())
        model = Interpolator(_network(), choose_compute("auto"))
        request = InterpoRequest(task_id=1, video_url=str(clip), rate=2, dist_dir=folder)
        begin = time.perf_counter()
        job.run(interpolate_video, request, model)
        found["Kinora, refined, end to end"] = (time.perf_counter() - begin) / (len(pictures) - 1) * 1000
        begin = time.perf_counter()
        made = sum(1 for _ in _ffmpeg_doubled(clip, size)) - len(pictures)
        found["minterpolate"] = (time.perf_counter() - begin) / max(made, 1) * 1000
    return found


# The methods


def _network() -> Rife:
    return Rife.from_weights(weights.load_safetensors(INTERPOLATORS["4.0"]))


def ours(*, refine: bool) -> Callable[[Triplet], Image]:
    """Kinora's interpolator on this machine's best device."""
    interpolator = Interpolator(_network(), choose_compute("auto"), refine=refine)
    return lambda triplet: next(interpolator(triplet.before, triplet.after, [0.5]))


def textbook(*, refine: bool) -> Callable[[Triplet], Image]:
    """RIFE as published: eager fp32, frames padded with black to multiples of 128."""
    network = _network().eval()

    def predict(triplet: Triplet) -> Image:
        height, width = triplet.before.shape[:2]
        with torch.inference_mode():
            first, second = (
                pad(torch.from_numpy(image).permute(2, 0, 1)[None] / 255, (0, -width % 128, 0, -height % 128))
                for image in (triplet.before, triplet.after)
            )
            frame = textbook_rife(network, first, second, 0.5, refine=refine)[0, :, :height, :width]
            picture: Image = frame.clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).numpy()
        return picture

    return predict


def minterpolated(frames: Sequence[Image], middles: Sequence[int]) -> Iterator[Image]:
    """Let ffmpeg double the clip that has the even frames only; yield what it puts in place of `middles`."""
    with TemporaryDirectory() as folder:
        clip = Path(folder) / "half.mkv"
        height, width = frames[0].shape[:2]
        _write(clip, frames[::2])
        wanted = set(middles)
        doubled = enumerate(_ffmpeg_doubled(clip, (width, height)))
        made = {place: image for place, image in doubled if place in wanted}
        # At both ends minterpolate makes no frame: there it repeats.
        yield from (made.get(middle, frames[middle - 1]) for middle in middles)


def _ffmpeg_doubled(clip: Path, size: tuple[int, int]) -> Iterator[Image]:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(clip)]
    command += ["-vf", "minterpolate=fps=50:mi_mode=mci", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while data := process.stdout.read(size[0] * size[1] * 3):
            yield np.frombuffer(data, np.uint8).reshape(size[1], size[0], 3)


def _blend(triplet: Triplet) -> Image:
    mean: Image = np.rint((triplet.before.astype(np.float32) + triplet.after) / 2).astype(np.uint8)
    return mean


def _each(triplets: Sequence[Triplet], method: Callable[[Triplet], Image]) -> Iterator[Image]:
    yield from (method(triplet) for triplet in triplets)


# The figures


def psnr(picture: Image, truth: Image) -> float:
    """Return 10 log10(255² / mean squared error) over the three channels, in dB; 99 for equal pictures."""
    error = float(np.square(picture.astype(np.float64) - truth).mean())
    return 99.0 if error == 0 else float(10 * np.log10(255**2 / error))


def ssim(picture: Image, truth: Image) -> float:
    """Structural similarity of the luma (Wang et al. 2004): 11x11 Gaussian windows, K1 0.01, K2 0.03."""
    x, y = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float64) for image in (picture, truth))

    def local(values: Image) -> Image:
        return cv2.GaussianBlur(values, (11, 11), 1.5)

    mean_x, mean_y = local(x), local(y)
    variances = local(x * x) - mean_x**2 + local(y * y) - mean_y**2
    covariance = local(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return float((similarity / ((mean_x**2 + mean_y**2 + c1) * (variances + c2))).mean())


def _means(values: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return statistics.mean(value[0] for value in values), statistics.mean(value[1] for value in values)


def _shown(value: float) -> str:
    return f"{value:.2f}" if value > 1 else f"{value:.4f}"


# The media


def decoded(clip: str) -> Iterator[Image]:
    """Yield the frames of a clip of the catalogue."""
    with av.open(weights.path(clip)) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="rgb24")


def _write(target: Path, pictures: Sequence[Image]) -> None:
    """Write at 25 frames a second, without loss of anything but chroma's resolution."""
    with av.open(target, "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"qp": "0", "preset": "ultrafast"})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


if __name__ == "__main__":
    chosen, triplets = sys.argv[1], int(sys.argv[2])
    for method, (decibels, similarity) in measure_quality(chosen, triplets).items():
        print(f"{chosen:18} {method:18} {decibels:6.2f} dB  {similarity:.4f}", flush=True)
