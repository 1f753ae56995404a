"""The interpolator: pictures of any size and depth at any instant, each frame analysed once, motion in place."""

from itertools import pairwise
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch

from services.interpo.model import load
from shared import weights
from shared.arrays import Image, Picture
from shared.networks.compute import Compute
from shared.networks.interpolator import Interpolator, _CpuWork, _GpuWork
from shared.networks.rife import LARGE_MOTION, FrameFeatures, Rife
from shared.networks.rife_blocks import Layout
from shared.process.ordered_map import ordered_map
from shared.settings import Settings

TINY = Layout("tiny", (16, 12, 8, 8), (8, 4, 2, 1), 0, 0, False, True, True, True)
CPU = Compute(torch.device("cpu"), torch.float32)
Floats = npt.NDArray[np.float64]
SIZE = (192, 128)  # width, height of the affine pan
MARGIN = 16  # pixels at the edge, whose content comes from outside


@pytest.fixture
def tiny() -> Interpolator:
    torch.manual_seed(3)
    return Interpolator(Rife(TINY), CPU)


@pytest.fixture(scope="module")
def real() -> Interpolator:
    return Interpolator(Rife.from_weights(weights.load_safetensors("rife-4.0")), CPU)


def noise(height: int, width: int, seed: int, dtype: type = np.uint8) -> npt.NDArray[Any]:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, (height, width, 3), dtype, endpoint=True)


def affine(timestep: float, *, growth: float = 0.0, turn: float = 0.0) -> Image:
    """A textured plane on its way: at 1 it has moved by (8, 3) pixels, grown by `growth` and turned by `turn` radians.

    Every instant is rendered exactly, not resampled.
    """
    rows, columns = np.mgrid[0 : SIZE[1], 0 : SIZE[0]].astype(np.float64)
    x, y = came_from(columns, rows, timestep, growth, turn)
    waves = [np.sin(x / 5) * np.cos(y / 7), np.sin((x + y) / 9), np.cos(x / 11 - y / 6)]
    return np.stack([127.5 + 100 * wave for wave in waves], -1).round().astype(np.uint8)


def view(picture: Image, timestep: float, *, growth: float = 0.0, turn: float = 0.0) -> Image:
    """A real picture on the same way, looked at by a camera that samples every pixel of it."""
    samples = 6  # no fewer than the picture has itself
    rows, columns = (np.mgrid[0 : SIZE[1] * samples, 0 : SIZE[0] * samples] + 0.5) / samples - 0.5
    room = np.array(picture.shape[1::-1]) - 60  # what the way leads out of the frame
    enlarged = float((room / SIZE).min())
    x, y = (
        ((place - size / 2) * enlarged + whole / 2).astype(np.float32)
        for place, size, whole in zip(
            came_from(columns, rows, timestep, growth, turn), SIZE, picture.shape[1::-1], strict=True
        )
    )
    sampled = cv2.remap(picture, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(cv2.resize(sampled, SIZE, interpolation=cv2.INTER_AREA), np.uint8)


def came_from(columns: Floats, rows: Floats, timestep: float, growth: float, turn: float) -> tuple[Floats, Floats]:
    """Where the points seen at these places were at 0. Every point goes straight and evenly."""
    middle = np.array(SIZE)[:, None] / 2
    end = (1 + growth) * np.array([(np.cos(turn), -np.sin(turn)), (np.sin(turn), np.cos(turn))])
    matrix = np.eye(2) + timestep * (end - np.eye(2))
    seen = np.stack((columns.ravel(), rows.ravel())) - middle - timestep * np.array([(8.0,), (3.0,)])
    x, y = (np.linalg.inv(matrix) @ seen + middle).reshape(2, *rows.shape)
    return x, y


def displacement(picture: Image, truth: Image) -> float:
    """How many pixels `picture` lies beside `truth`: the shift that explains their difference best (Lucas-Kanade)."""
    inner = np.s_[MARGIN:-MARGIN, MARGIN:-MARGIN]
    down, across = np.gradient(truth[inner].astype(float), axis=(0, 1))
    slopes = np.stack((across.ravel(), down.ravel()), axis=1)
    difference = truth[inner].astype(float) - picture[inner]
    return float(np.hypot(*np.linalg.lstsq(slopes, difference.ravel(), rcond=None)[0]))


@pytest.mark.parametrize(("height", "width"), [(64, 96), (37, 51), (2, 2), (1, 1)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pictures_of_any_size_and_depth_keep_both(tiny: Interpolator, height: int, width: int, dtype: type) -> None:
    first, second = noise(height, width, 1, dtype), noise(height, width, 2, dtype)
    pictures = list(tiny(first, second, [0.25, 0.5, 0.75]))
    assert [picture.shape for picture in pictures] == [(height, width, 3)] * 3
    assert all(picture.dtype == dtype for picture in pictures)


def test_eight_and_sixteen_bits_agree(real: Interpolator) -> None:
    first, second = affine(0), affine(1)
    narrow = next(real(first, second, [0.5])).astype(float)
    wide = next(real(first.astype(np.uint16) * 257, second.astype(np.uint16) * 257, [0.5]))
    assert np.abs(narrow * 257 - wide).max() <= 257


@pytest.mark.parametrize("rate", [6, 8])
@pytest.mark.parametrize(
    ("motion", "refine"),
    [({}, True), ({}, False), ({"growth": 0.02, "turn": 0.02}, False)],
    ids=["pan refined", "pan", "growing and turning pan"],
)
def test_a_pan_is_in_place_at_every_instant(
    real: Interpolator, rate: int, motion: dict[str, float], *, refine: bool
) -> None:
    timesteps = [place / rate for place in range(1, rate)]
    interpolator = Interpolator(real._network, CPU, refine=refine)
    pictures = interpolator(affine(0, **motion), affine(1, **motion), timesteps)
    errors = [displacement(picture, affine(at, **motion)) for at, picture in zip(timesteps, pictures, strict=True)]
    assert max(errors) < 0.25, errors


@pytest.mark.parametrize("clip", ["clip-bigbuckbunny", "clip-single-face"])
@pytest.mark.parametrize("motion", [{}, {"growth": 0.02, "turn": 0.02}], ids=["pan", "growing and turning pan"])
def test_a_real_picture_is_in_place_at_every_instant(real: Interpolator, clip: str, motion: dict[str, float]) -> None:
    with av.open(weights.path(clip)) as container:
        picture = np.asarray(next(container.decode(video=0)).to_ndarray(format="rgb24"), np.uint8)
    for rate in (6, 8):
        timesteps = [place / rate for place in range(1, rate)]
        made = real(view(picture, 0, **motion), view(picture, 1, **motion), timesteps)
        errors = [displacement(shown, view(picture, at, **motion)) for at, shown in zip(timesteps, made, strict=True)]
        assert max(errors) < 0.25, errors


def test_a_frame_is_analysed_once_for_both_of_its_pairs(tiny: Interpolator) -> None:
    analysed: list[object] = []
    tiny._network.contextnet.register_forward_hook(lambda *call: analysed.append(call))
    frames = [noise(64, 64, seed) for seed in range(4)]
    for first, second in pairwise(frames):
        list(tiny(first, second, [0.5]))
    assert len(analysed) == len(frames)


def test_what_was_kept_of_a_frame_changes_nothing(tiny: Interpolator) -> None:
    frames = [noise(64, 64, seed) for seed in range(3)]
    list(tiny(frames[0], frames[1], [0.5]))
    after_another = next(tiny(frames[1], frames[2], [0.5]))
    fresh = next(tiny(frames[1].copy(), frames[2].copy(), [0.5]))
    assert np.array_equal(after_another, fresh)


def test_instants_are_computed_only_as_they_are_asked_for() -> None:
    """A cancelled task must not wait for seven 4K frames that nobody will see."""
    network = Rife(TINY)
    batches: list[int] = []
    network.block3.register_forward_pre_hook(lambda _block, inputs: batches.append(len(inputs[0])))  # type: ignore[union-attr]  # a module
    interpolator = Interpolator(network, CPU, batch_pixels=2 * 64 * 64)
    pictures = interpolator(noise(64, 64, 1), noise(64, 64, 2), [place / 6 for place in range(1, 6)])
    next(pictures)
    assert batches == [2]
    list(pictures)
    assert batches == [2, 2, 1]


def test_frames_beyond_1440_lines_are_searched_at_half_the_size(tiny: Interpolator) -> None:
    seen: list[tuple[int, ...]] = []
    tiny.refine = False
    tiny._network.block3.register_forward_pre_hook(lambda _block, inputs: seen.append(tuple(inputs[0].shape[-2:])))  # type: ignore[union-attr]  # a module
    list(tiny(noise(1441, 2560, 1), noise(1441, 2560, 2), [0.5]))
    assert seen == [(736, 1280)]


@pytest.mark.needs_gpu
def test_cuda_in_half_precision_agrees_with_the_cpu() -> None:
    first, second = affine(0.0), affine(1.0)
    on_cpu, on_gpu = (
        next(iter(load(Settings(device=device))(first, second, [0.5]))).astype(float) for device in ("cpu", "cuda")
    )
    assert np.abs(on_gpu - on_cpu).mean() < 0.5


def test_two_pictures_that_differ_in_size_are_a_mistake_of_the_caller(tiny: Interpolator) -> None:
    with pytest.raises(ValueError, match="not one video"):
        next(tiny(noise(64, 64, 1), noise(64, 32, 1), [0.5]))


@pytest.mark.parametrize("far", [False, True])
@torch.inference_mode()
def test_what_a_gpu_records_gives_the_pictures_of_a_cpu(*, far: bool) -> None:
    """Here without the recording, which needs a GPU: places, instants, and the second search for large motion."""
    torch.manual_seed(3)
    network = Rife(TINY).eval()
    if far:
        network.block1.lastconv.bias.data[:4] = LARGE_MOTION  # type: ignore[union-attr,operator]  # a module
    frames = [noise(48, 80, seed) for seed in range(4)]
    on_cpu = _CpuWork(network, CPU, frames[0], refine=True)
    as_on_gpu = _GpuWork(network, CPU, frames[0], refine=True)
    for first, second in pairwise([*frames, frames[0]]):
        for instants in ([0.5], [0.25, 0.5, 0.75]):
            wanted = on_cpu.between(first, second, instants)
            for made, picture in zip(as_on_gpu.between(first, second, instants), wanted, strict=True):
                assert np.abs(made.astype(int) - picture).max() <= 1


def test_pairs_in_several_threads_are_those_of_one(tiny: Interpolator) -> None:
    frames = [noise(48, 80, seed) for seed in range(7)]
    alone = [next(iter(tiny(first, second, [0.5]))) for first, second in pairwise(frames)]
    analysed: list[int] = []
    network = tiny._network
    analyse = network.features

    def counted(frame: torch.Tensor, *, refine: bool) -> FrameFeatures:
        analysed.append(1)
        return analyse(frame, refine=refine)

    network.features = counted  # type: ignore[method-assign]
    tiny._work = None

    def between(pair: tuple[Picture, Picture]) -> Picture:
        return next(iter(tiny(*pair, [0.5])))

    together = list(ordered_map(between, pairwise(frames), 3))
    assert all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))
    assert len(analysed) == len(frames)  # a frame that two pairs share is analysed once
