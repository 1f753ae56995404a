"""The networks are the published ones, and tiles, scales, precisions and a short memory change nothing that shows."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import av
import cv2
import ncnn
import numpy as np
import numpy.typing as npt
import pytest
import torch

from services.upscale.model import load
from shared import weights
from shared.arrays import Picture
from shared.errors import JobFailed
from shared.networks.area import shrink
from shared.networks.compute import Compute
from shared.networks.rrdb import RRDB
from shared.networks.srvgg import SRVGG
from shared.networks.tiles import plan
from shared.networks.upscaler import Network, Upscaler
from shared.process.malloc import KEEP_FREED_MEMORY
from shared.settings import Settings, UpscaleSettings
from shared.weights.upscalers import UPSCALERS

CPU = Compute(torch.device("cpu"), torch.float32)
NCNN_FILES = {
    "realesr-animevideov3": "realesr-animevideov3-x4",
    "realesrgan-x4plus": "realesrgan-x4plus",
    "realesrgan-x4plus-anime": "realesrgan-x4plus-anime",
}
OVERLAPS = {stored.name: stored.overlap for stored in UPSCALERS.values()}


def network(name: str) -> Network:
    state = weights.load_safetensors(name)
    return SRVGG.from_weights(state) if "video" in name else RRDB.from_weights(state)


def psnr(one: npt.NDArray[Any], other: npt.NDArray[Any], peak: float = 255) -> float:
    return float(10 * np.log10(peak**2 / np.mean((one.astype(float) - other.astype(float)) ** 2)))


def sharpness(picture: Picture) -> float:
    """Return the mean absolute Laplacian of the luminance: how much fine detail there is."""
    return float(np.abs(cv2.Laplacian(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.CV_32F)).mean())


@pytest.fixture(scope="module")
def film() -> Picture:
    """A frame of Big Buck Bunny at 320x180."""
    with av.open(str(weights.path("clip-bigbuckbunny"))) as container:
        frames = [
            frame.to_ndarray(format="rgb24") for frame, _ in zip(container.decode(video=0), range(61), strict=False)
        ]
    return np.ascontiguousarray(cv2.resize(frames[-1], (320, 180), interpolation=cv2.INTER_AREA))


@pytest.fixture(scope="module")
def animevideo(film: Picture) -> tuple[Upscaler, Picture]:
    """The default on a CPU as the service loads it, and what it makes of the frame."""
    upscaler = Upscaler(SRVGG.from_weights(weights.load_safetensors("realesr-animevideov3")).anchored(), CPU)
    return upscaler, upscaler(film, 4)


def ncnn_picture(name: str, picture: Picture) -> npt.NDArray[np.float32]:
    """What ncnn makes of a picture with the original files, 0-255 unrounded."""
    net = ncnn.Net()
    net.opt.num_threads = 2
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.load_param(str(weights.path(name, NCNN_FILES[name] + ".param")))
    net.load_model(str(weights.path(name, NCNN_FILES[name] + ".bin")))
    planes = np.ascontiguousarray(picture.transpose(2, 0, 1), np.float32) / 255
    extractor = net.create_extractor()
    extractor.input("data", ncnn.Mat(planes))
    output: npt.NDArray[np.float32] = np.array(extractor.extract("output")[1])
    return np.clip(output.transpose(1, 2, 0) * 255, 0, 255)


@pytest.mark.parametrize(
    ("name", "crop"),
    [("realesr-animevideov3", 160), ("realesrgan-x4plus-anime", 40), ("realesrgan-x4plus", 24)],
)
def test_a_network_answers_as_ncnn_does_with_the_original_files(film: Picture, name: str, crop: int) -> None:
    picture = np.ascontiguousarray(film[10 : 10 + crop, 100 : 100 + crop])
    reference = ncnn_picture(name, picture)
    assert psnr(Upscaler(network(name), CPU)(picture, 4), reference) > 55  # 45 is asked for; only the rounding is left


@pytest.mark.parametrize("name", ["realesr-animevideov3", "realesrgan-x4plus-anime"])
def test_half_precision_stays_within_45_db(film: Picture, name: str) -> None:
    side = 64 if "video" in name else 32  # without the instructions bf16 is slow
    picture = np.ascontiguousarray(film[10 : 10 + side, 100 : 100 + side])
    half = Upscaler(network(name), Compute(torch.device("cpu"), torch.bfloat16))
    assert psnr(half(picture, 4), Upscaler(network(name), CPU)(picture, 4)) > 45


@pytest.mark.parametrize("ratio", [1, 2, 3])
@pytest.mark.parametrize("name", ["realesr-animevideov3", "realesrgan-x4plus-anime"])
def test_a_smaller_ratio_is_the_area_average_of_the_x4_picture(film: Picture, name: str, ratio: int) -> None:
    picture = torch.from_numpy(film[20:52, 100:140].copy()).permute(2, 0, 1).unsqueeze(0) / 255
    original = network(name)
    with torch.inference_mode():
        expected = shrink(original.at_scale(4)(picture), 4, ratio)
        assert torch.allclose(original.at_scale(ratio)(picture), expected, atol=1e-5)


def test_the_area_average_equals_opencv_s() -> None:
    picture = np.random.default_rng(1).random((48, 64, 3), np.float32)
    ours = shrink(torch.from_numpy(picture).permute(2, 0, 1).unsqueeze(0), 4, 3)[0].permute(1, 2, 0).numpy()
    assert np.allclose(ours, cv2.resize(picture, (48, 36), interpolation=cv2.INTER_AREA), atol=1e-5)


@pytest.mark.parametrize("ratio", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_size_and_dtype_are_exactly_as_asked(film: Picture, ratio: int, dtype: type[np.generic]) -> None:
    odd = np.ascontiguousarray(film[:31, :47].astype(dtype))
    enlarged = Upscaler(network("realesr-animevideov3"), CPU)(odd, ratio)
    assert (enlarged.shape, enlarged.dtype) == ((31 * ratio, 47 * ratio, 3), odd.dtype)


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (3, 2)])
def test_the_smallest_pictures_work(shape: tuple[int, int]) -> None:
    enlarged = Upscaler(network("realesr-animevideov3"), CPU)(np.zeros((*shape, 3), np.uint8), 4)
    assert enlarged.shape == (shape[0] * 4, shape[1] * 4, 3)


def test_sixteen_bits_keep_what_eight_would_lose(animevideo: tuple[Upscaler, Picture], film: Picture) -> None:
    upscaler, eight = animevideo
    sixteen = upscaler(film.astype(np.uint16) * 257, 4)
    assert np.abs(sixteen / 257 - eight).max() <= 0.51
    assert len(np.unique(sixteen)) > 10_000


def test_tiles_of_animevideov3_equal_the_whole_frame(film: Picture) -> None:
    whole = Upscaler(network("realesr-animevideov3"), CPU)(film, 4)
    tiled = Upscaler(network("realesr-animevideov3"), CPU, window_pixels=150 * 150)(film, 4)
    # The same sums in fp32; a value on the very edge of rounding may fall to the other side.
    assert np.abs(tiled.astype(int) - whole).max() <= 1
    assert (tiled != whole).mean() < 1e-5


@pytest.mark.parametrize(("name", "window"), [("realesrgan-x4plus-anime", 216), ("realesrgan-x4plus", 278)])
def test_tiles_of_the_deep_networks_leave_no_seam(film: Picture, name: str, window: int) -> None:
    picture = np.ascontiguousarray(film[60:84, 40:280] if "anime" in name else film[70:86, 10:310])
    whole = Upscaler(network(name), CPU)(picture, 4).astype(int)
    tiled = Upscaler(network(name), CPU, overlap=OVERLAPS[name], window_pixels=picture.shape[0] * window)(picture, 4)
    assert len(plan(*picture.shape[:2], window_pixels=picture.shape[0] * window, overlap=OVERLAPS[name] or 0)) == 2
    difference = np.abs(tiled - whole)
    assert difference.mean() <= 0.2
    assert difference.max() <= 4


def test_the_deep_networks_enlarge_in_strips_without_a_trace(film: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = np.ascontiguousarray(film[:40, :40])
    whole = Upscaler(network("realesrgan-x4plus-anime"), CPU)(picture, 4)
    monkeypatch.setattr("shared.networks.rrdb.TAIL_PIXELS", 40 * 7)
    strips = Upscaler(network("realesrgan-x4plus-anime"), CPU)(picture, 4)
    assert (strips != whole).mean() < 1e-3
    assert np.abs(strips.astype(int) - whole).max() <= 1


class Narrow:
    """A network that doubles each pixel and runs out of memory on windows of more than `limit` pixels."""

    reach = 0
    values_per_pixel = 1

    def __init__(self, limit: int, failure: Callable[[], RuntimeError]) -> None:
        self.limit = limit
        self.failure = failure

    def at_scale(self, scale: int) -> torch.nn.Module:
        narrow = self

        class Repeat(torch.nn.Module):
            def forward(self, picture: torch.Tensor) -> torch.Tensor:
                if picture.shape[2] * picture.shape[3] > narrow.limit:
                    raise narrow.failure()
                return picture.repeat_interleave(scale, 2).repeat_interleave(scale, 3)

        return Repeat()

    def in_precision(self, _dtype: torch.dtype) -> torch.nn.Module:
        return torch.nn.Identity()


@pytest.mark.parametrize(
    "failure",
    [
        lambda: torch.OutOfMemoryError("CUDA out of memory"),
        lambda: RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: not enough memory"),
    ],
)
def test_running_out_of_memory_halves_the_windows_and_loses_no_frame(
    film: Picture, failure: Callable[[], RuntimeError]
) -> None:
    upscaler = Upscaler(Narrow(limit=5000, failure=failure), CPU)
    enlarged = upscaler(film, 2)
    assert np.array_equal(enlarged, film.repeat(2, 0).repeat(2, 1))
    assert upscaler.window_pixels <= 5000
    assert np.array_equal(upscaler(film, 2), enlarged)


def test_a_memory_that_holds_no_window_at_all_fails_with_a_reason(film: Picture) -> None:
    upscaler = Upscaler(Narrow(limit=0, failure=lambda: torch.OutOfMemoryError("CUDA out of memory")), CPU)
    with pytest.raises(JobFailed, match="does not fit into the memory of cpu float32"):
        upscaler(film, 2)


def test_any_other_failure_comes_through(film: Picture) -> None:
    upscaler = Upscaler(Narrow(limit=0, failure=lambda: RuntimeError("a real fault")), CPU)
    with pytest.raises(RuntimeError, match="a real fault"):
        upscaler(film, 2)


def test_a_stop_between_windows_comes_through(film: Picture) -> None:
    class Stopped(BaseException):
        pass

    asked = iter([None, None, Stopped()])

    shares = []

    def between_windows(done: float) -> None:
        shares.append(done)
        if stop := next(asked):
            raise stop

    upscaler = Upscaler(Narrow(limit=10**9, failure=RuntimeError), CPU, window_pixels=5000)
    with pytest.raises(Stopped):
        upscaler(film, 2, between_windows)
    assert shares[0] == 0
    assert 0 < shares[1] < shares[2] < 1


def test_the_result_shrunk_back_agrees_with_the_input(animevideo: tuple[Upscaler, Picture], film: Picture) -> None:
    _, enlarged = animevideo
    assert psnr(cv2.resize(enlarged, (320, 180), interpolation=cv2.INTER_AREA), film) > 35


def test_what_the_service_makes_stays_within_45_db_of_ncnn(animevideo: tuple[Upscaler, Picture], film: Picture) -> None:
    _, enlarged = animevideo
    assert psnr(enlarged, ncnn_picture("realesr-animevideov3", film)) > 45


def test_the_result_is_sharper_than_bicubic(animevideo: tuple[Upscaler, Picture], film: Picture) -> None:
    _, enlarged = animevideo
    bicubic = cv2.resize(film, (1280, 720), interpolation=cv2.INTER_CUBIC)
    assert sharpness(enlarged) > 1.3 * sharpness(bicubic)


@pytest.mark.needs_gpu
@pytest.mark.parametrize("model", ["animevideov3", "x4plus-anime"])
def test_cuda_in_half_precision_agrees_with_the_cpu(film: Picture, model: Any) -> None:
    small = film[:96, :128]
    on_cpu, on_gpu = (
        load(Settings(device=device, upscale=UpscaleSettings(model=model)))(small, 4) for device in ("cpu", "cuda")
    )
    assert psnr(on_gpu, on_cpu) > 45


FRAMES_PEAKS = """
import json
from pathlib import Path
import numpy as np
from services.upscale.model import load
from shared.settings import Settings, UpscaleSettings
model = load(Settings(device="cpu", upscale=UpscaleSettings(model="animevideov3")))
frame = np.random.default_rng(1).integers(0, 255, (360, 640, 3), np.uint8)
peaks = []
for _ in range(12):
    model(frame, 4)
    # Not getrusage: a child's figure begins with what its parent weighed.
    peaks.append(int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) // 1024)
print(json.dumps(peaks))
"""


def peak_megabytes(malloc: Mapping[str, str]) -> list[int]:
    """Enlarge frames of 640x360 by 4 in a process of its own; return its largest size after each."""
    environment = {**os.environ, **malloc}
    command = [sys.executable, "-c", FRAMES_PEAKS]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    peaks: list[int] = json.loads(ran.stdout)
    return peaks


@pytest.mark.slow
def test_memory_stays_below_the_promise() -> None:
    assert peak_megabytes(KEEP_FREED_MEMORY)[-1] < 1500


@pytest.mark.slow
def test_memory_does_not_grow_with_the_frames() -> None:
    """Measured where every large allocation is a mapping of its own: a heap's holes would blur what is still held."""
    peaks = peak_megabytes({"MALLOC_MMAP_THRESHOLD_": "65536"})
    assert peaks[-1] - peaks[5] < 10  # one enlarged frame weighs 11; ncnn's pool of buffers grows in the first five
