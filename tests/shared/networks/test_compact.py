"""A compact network on a CPU makes the same picture by every engine, in fp32 and rounded, at any size and ratio."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from shared import weights
from shared.networks import compact as module
from shared.networks.compact import CompactOnCpu
from shared.networks.srvgg import SRVGG


def network(scale: int = 4) -> SRVGG:
    return SRVGG.from_weights(weights.load_safetensors("realesr-animevideov3")).float().anchored().at_scale(scale)


def pictures(count: int, height: int, width: int) -> torch.Tensor:
    torch.manual_seed(1)
    coarse = torch.rand(count, 3, height // 4 + 1, width // 4 + 1)
    return interpolate(coarse, size=(height, width), mode="bilinear")


def decibels(made: torch.Tensor, wanted: torch.Tensor) -> float:
    return float(-10 * torch.log10((made - wanted).square().mean().clamp(min=1e-20)))


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@torch.inference_mode()
def test_ncnn_answers_as_torch_does(scale: int) -> None:
    plain = network(scale)
    given = torch.rand(2, 3, 21, 34)
    torch.testing.assert_close(CompactOnCpu(plain, is_ncnn=True)(given), plain(given), atol=1e-4, rtol=0)


@pytest.mark.parametrize("is_ncnn", [False, True], ids=["torch", "ncnn"])
@pytest.mark.parametrize("size", [(1, 1), (1, 30), (30, 1), (5, 5), (16, 17), (33, 90), (57, 58)])
@torch.inference_mode()
def test_bfloat16_agrees_at_every_size(size: tuple[int, int], *, is_ncnn: bool) -> None:
    """Windows have any size, and ncnn decides by it how it computes: one of its ways overflows in bf16."""
    plain = network()
    given = pictures(1, *size)
    # 8 bits of significand are 54 dB of a value; the correction is a fraction of the picture, its errors add over 18.
    assert decibels(CompactOnCpu(plain, torch.bfloat16, is_ncnn=is_ncnn)(given), plain(given)) > 50


@torch.inference_mode()
def test_without_onednn_s_bfloat16_torch_s_own_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "has_onednn_bfloat16", lambda: False)
    plain = network()
    given = pictures(1, 16, 20)
    assert decibels(CompactOnCpu(plain, torch.bfloat16)(given), plain(given)) > 50
    assert next(plain.parameters()).dtype == torch.float32


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("size", [(13, 22), (1, 9), (9, 1), (1, 1)])
@torch.inference_mode()
def test_integers_are_the_rounded_picture(size: tuple[int, int], dtype: type[np.integer[Any]], scale: int) -> None:
    plain, white = network(scale), np.iinfo(dtype).max
    pixels = np.random.default_rng(1).integers(0, white + 1, (*size, 3)).astype(dtype)
    picture = torch.from_numpy(pixels.astype(np.float32) / white).permute(2, 0, 1)[None]
    wanted = (plain(picture)[0] * white).round().clamp(0, white).permute(1, 2, 0).numpy().astype(int)
    made = CompactOnCpu(plain).rounded(pixels)
    assert (made.shape, made.dtype) == (wanted.shape, pixels.dtype)
    assert np.abs(made.astype(int) - wanted).max() <= 1  # on the very edge of rounding
    assert (made != wanted).mean() < (1e-3 if dtype == np.uint8 else 0.1)


def test_a_picture_that_is_a_part_of_another_is_taken_as_it_lies() -> None:
    whole = np.random.default_rng(1).integers(0, 256, (20, 30, 3), np.uint8)
    part = whole[3:12, 5:25]
    with torch.inference_mode():
        enlarge = CompactOnCpu(network()).rounded
        assert np.array_equal(enlarge(part), enlarge(part.copy()))
