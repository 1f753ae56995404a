"""Drafts: few steps of a distilled model, then enlarged. Tiny random models prove that it works, not how it looks."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import WanPipeline, WanTransformer3DModel
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict

from services.creation.effects.viewport import cover
from services.creation.engines.wan.checkpoints import Checkpoint
from services.creation.engines.wan.dmd_scheduler import FAST_WAN, SCHEDULERS, DMDScheduler
from services.creation.engines.wan.draft import DraftGenerator
from services.creation.engines.wan.draft_loading import load_denoiser, store_blocks_in_bf16
from services.creation.engines.wan.draft_size import AREA, draft_size, enlarge
from services.creation.engines.wan.generation_request import GenerationRequest
from services.creation.engines.wan.models import SIGMAS
from services.creation.engines.wan.plans import PLANS
from services.creation.engines.wan.text_encoder import TextEncoder
from shared.arrays import Image
from shared.errors import JobFailed
from shared.networks.compute import Compute
from shared.settings import CreationSettings, Settings
from tests.support.tiny_wan import build_plain

FP32 = Compute(torch.device("cpu"), torch.float32)
REQUEST = GenerationRequest(
    prompt="一只猫在海边", negative_prompt="", guidance=5.0, seed=7, size=(64, 48), frame_count=5
)


class Stopped(Exception):
    """What a cancelled task raises from `on_progress`."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_plain(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def adapted(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model with an adapter beside it."""
    copy = tmp_path_factory.mktemp("adapted") / "model"
    shutil.copytree(folder, copy)
    transformer = WanTransformer3DModel.from_pretrained(copy, subfolder="transformer")
    torch.manual_seed(3)
    transformer.add_adapter(LoraConfig(r=2, target_modules=["to_q", "to_k", "to_v"], init_lora_weights=False))
    layers = get_peft_model_state_dict(transformer)
    WanPipeline.save_lora_weights(copy, transformer_lora_layers=layers, weight_name="lora.safetensors")
    return copy


def generator(folder: Path) -> DraftGenerator:
    settings = Settings(device="cpu", creation=CreationSettings(decoder="full"))  # whatever has been pulled here
    return DraftGenerator(Checkpoint(str(folder), "folder"), PLANS["draft"], settings)


@pytest.fixture(scope="module")
def loaded(folder: Path) -> DraftGenerator:
    return generator(folder)


def run(made_by: DraftGenerator, **changes: Any) -> Image:
    """The frames of a request as one array (N, height, width, 3)."""
    request = GenerationRequest(**{**vars(REQUEST), **changes})
    return np.stack(made_by(request, lambda _progress: None))


# The scheduler


@pytest.mark.parametrize("sigmas", [FAST_WAN, SIGMAS])
@pytest.mark.parametrize("kind", SCHEDULERS.values())
def test_a_model_that_knows_the_picture_reaches_it(sigmas: tuple[float, ...], kind: type[DMDScheduler]) -> None:
    picture = torch.linspace(-1, 1, 60).reshape(1, 3, 1, 4, 5)
    scheduler = kind(sigmas)
    scheduler.begin(torch.Generator().manual_seed(1))
    scheduler.set_timesteps(len(sigmas))
    scheduler.set_begin_index(0)
    noisy = torch.randn(picture.shape)
    for sigma, time in zip(sigmas, scheduler.timesteps, strict=True):
        assert time == pytest.approx(1000 * sigma)
        # What the model has learnt: noise less picture, of x = (1 - s) picture + s noise.
        velocity = (noisy - picture) / sigma
        (noisy,) = scheduler.step(velocity, time, noisy)
    assert torch.allclose(noisy, picture, atol=1e-5)


def test_between_two_steps_there_is_new_noise_of_the_next_sigma() -> None:
    scheduler = DMDScheduler((1.0, 0.5))
    scheduler.begin(torch.Generator().manual_seed(1))
    scheduler.set_timesteps(2)
    scheduler.set_begin_index(0)
    picture = torch.full((1, 1, 1, 200, 200), 3.0)
    (noisy,) = scheduler.step(torch.zeros_like(picture), scheduler.timesteps[0], picture)
    assert float(noisy.mean()) == pytest.approx(1.5, abs=0.02)
    assert float(noisy.std()) == pytest.approx(0.5, abs=0.02)


def test_eulers_method_keeps_to_the_line_between_noise_and_picture() -> None:
    scheduler = SCHEDULERS["euler"]((1.0, 0.5))
    scheduler.set_timesteps(2)
    noise, picture = torch.full((1, 2), 4.0), torch.full((1, 2), 2.0)
    (halfway,) = scheduler.step(noise - picture, scheduler.timesteps[0], noise)
    assert torch.equal(halfway, torch.full((1, 2), 3.0))


def test_another_number_of_steps_than_it_was_distilled_to_is_refused() -> None:
    with pytest.raises(ValueError, match="30 steps are asked for, the model was distilled to 3"):
        DMDScheduler(FAST_WAN).set_timesteps(30)


# Sizes


def test_a_draft_has_the_shape_of_its_picture_and_never_more_pixels_than_allowed() -> None:
    assert draft_size((832, 480)) == (320, 192)
    assert draft_size((480, 832)) == (192, 320)
    for height in range(240, 1100, 16):
        for width in range(max(240, 16 * (height // 40 + 1)), int(2.5 * height), 48):
            small = draft_size((width, height))
            assert small[0] % 16 == small[1] % 16 == 0
            assert 0.88 * AREA <= small[0] * small[1] <= AREA
            assert abs(np.log(small[0] / small[1] * height / width)) < 0.1


def test_a_picture_that_is_smaller_than_a_draft_is_drafted_in_its_own_size() -> None:
    assert draft_size(REQUEST.size) == REQUEST.size


def test_enlarging_squeezes_nothing() -> None:
    down, across = np.mgrid[:192, :320]
    disc = np.where((across - 160) ** 2 + (down - 96) ** 2 < 60**2, 255, 0).astype(np.uint8)
    frame = np.repeat(disc[:, :, None], 3, axis=2)

    def upscale(image: Image, ratio: int) -> Image:
        return image.repeat(ratio, axis=0).repeat(ratio, axis=1)

    (large,) = enlarge([frame], (832, 480), upscale, lambda _count: None)
    assert large.shape == (480, 832, 3)
    white = large[..., 0] > 127
    width, height = white.any(axis=0).sum(), white.any(axis=1).sum()
    assert abs(width / height - 1) < 0.01
    assert abs(int(np.argmax(white.any(axis=0))) + width / 2 - 416) < 2


def test_a_crop_is_the_middle() -> None:
    image = np.arange(10 * 30 * 3, dtype=np.uint8).reshape(10, 30, 3)
    assert np.array_equal(cover(image, (10, 10)), image[:, 10:20])
    assert np.array_equal(cover(image, (30, 5)), image[2:7])


# A request


def test_a_chinese_prompt_becomes_frames_of_the_asked_size(loaded: DraftGenerator) -> None:
    frames = run(loaded)
    assert frames.shape == (5, 48, 64, 3)
    assert frames.dtype == np.uint8
    assert loaded.details["steps"] == 3
    assert loaded.details["plan"] == "draft"
    assert "guidance" in loaded.details["gives_up"]


def test_a_result_is_decided_by_its_seed_and_its_prompt(loaded: DraftGenerator) -> None:
    frames = run(loaded)
    assert np.array_equal(frames, run(loaded))
    assert not np.array_equal(frames, run(loaded, seed=8))
    assert not np.array_equal(frames, run(loaded, prompt="一条狗"))
    assert np.array_equal(frames, run(loaded))


def test_fields_that_are_named_as_ignored_do_not_act(loaded: DraftGenerator) -> None:
    assert np.array_equal(run(loaded), run(loaded, guidance=12.0, negative_prompt="模糊"))
    assert set(loaded.ignores) == {"guidance", "ng_prompt_cn", "ng_prompt_en"}


def test_progress_rises_from_the_first_step_to_the_end(loaded: DraftGenerator) -> None:
    reported: list[float] = []
    loaded(REQUEST, reported.append)
    assert reported == sorted(reported)
    assert 0 < reported[0] < 0.5
    assert reported[-1] == pytest.approx(1)
    assert len(reported) == 3 + 1 + 5


@pytest.mark.parametrize("after", [1, 2, 5])
def test_a_run_that_is_stopped_ends_there_and_leaves_no_trace(loaded: DraftGenerator, after: int) -> None:
    frames, reported = run(loaded), 0

    def stop(_progress: float) -> None:
        nonlocal reported
        reported += 1
        if reported == after:
            raise Stopped

    with pytest.raises(Stopped):
        loaded(REQUEST, stop)
    assert reported == after
    assert np.array_equal(frames, run(loaded))


def test_the_text_encoder_and_the_denoiser_are_never_held_at_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_by, seen = generator(folder), []
    encode = TextEncoder.__call__

    def watched(encoder: TextEncoder, *prompts: str) -> list[torch.Tensor]:
        seen.append((prompts[0] in encoder, made_by._pipe is None))
        return encode(encoder, *prompts)

    monkeypatch.setattr(TextEncoder, "__call__", watched)
    for prompt in ("猫", "狗", "狗"):
        run(made_by, prompt=prompt)
    # A prompt is cached or not, and only a cached one is looked up while the denoiser is in memory.
    assert seen == [(False, True), (False, True), (True, False)]


def test_warming_up_fails_early_where_the_model_has_gone(folder: Path) -> None:
    generator(folder).warm()
    missing = DraftGenerator(Checkpoint("wan-draft-1.3b", "store"), PLANS["draft"], Settings(device="cpu"))
    with pytest.raises(JobFailed, match=r"kinora weights pull wan-draft-1\.3b"):
        missing.warm()


# Weights


def test_an_adapter_beside_the_model_acts_in_its_own_four_steps(folder: Path, adapted: Path) -> None:
    made_by = generator(adapted)
    frames = run(made_by)
    assert made_by.details["steps"] == 4
    assert not np.array_equal(frames, run(generator(folder)))
    pipe = load_denoiser(adapted, FP32)
    assert not [name for name, _ in pipe.transformer.named_parameters() if "lora" in name]
    plain = load_denoiser(folder, FP32)
    changed = {
        name: not torch.equal(parameter, dict(plain.transformer.named_parameters())[name])
        for name, parameter in pipe.transformer.named_parameters()
    }
    assert all(changed[name] == (".to_q.weight" in name or ".to_k.weight" in name or ".to_v.weight" in name)
               for name in changed)  # fmt: skip


def test_weights_stored_in_bf16_compute_nearly_what_fp32_ones_do(folder: Path) -> None:
    whole = WanTransformer3DModel.from_pretrained(folder, subfolder="transformer")
    half = WanTransformer3DModel.from_pretrained(folder, subfolder="transformer", dtype=torch.bfloat16)
    store_blocks_in_bf16(half)
    assert half.blocks[0].ffn.net[2].weight.dtype == torch.bfloat16
    assert half.blocks[0].scale_shift_table.dtype == torch.float32
    torch.manual_seed(0)
    conditions = {
        "hidden_states": torch.randn(1, 16, 3, 12, 20),
        "timestep": torch.tensor([757.0]),
        "encoder_hidden_states": torch.randn(1, 512, 32),
        "return_dict": False,
    }
    with torch.inference_mode():
        wanted, made = whole(**conditions)[0], half(**conditions)[0]
    assert made.dtype == torch.float32
    assert float((made - wanted).norm() / wanted.norm()) < 0.02
