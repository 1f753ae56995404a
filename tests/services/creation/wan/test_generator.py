"""The VACE pipeline itself, in miniature: loaded from a folder, denoised, decoded; and what its library gets wrong."""

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from services.creation.engines.wan import loading, text_encoder
from services.creation.engines.wan.checkpoints import VACE, Checkpoint, find
from services.creation.engines.wan.first_block import cache_first_block
from services.creation.engines.wan.generation_request import Control, GenerationRequest
from services.creation.engines.wan.generator import VaceGenerator, scale_motion
from services.creation.engines.wan.loading import load_encoder, load_pipeline
from services.creation.engines.wan.plans import PLANS, Plan
from shared.arrays import Image
from shared.networks.compute import Compute
from shared.settings import CreationSettings, Settings
from tests.support.tiny_wan import build_vace

CPU = torch.device("cpu")
STEPS = 3
PLAN = replace(PLANS["low"], steps=STEPS)
REQUEST = GenerationRequest(
    prompt="海边的猫", negative_prompt="模糊", guidance=5.0, seed=1, size=(64, 48), frame_count=5
)


Make = Callable[..., "np.ndarray[Any, Any]"]


class Cancelled(BaseException):
    pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_vace(tmp_path_factory.mktemp("wan") / "tiny")


def open_generator(folder: Path, plan: Plan = PLAN) -> VaceGenerator:
    checkpoint = find(str(folder), VACE, Settings())
    assert checkpoint is not None
    return VaceGenerator(
        checkpoint, plan, Compute(CPU, torch.float32), Settings(creation=CreationSettings(decoder="full"))
    )


@pytest.fixture(scope="module")
def generate(folder: Path) -> Make:
    generator = open_generator(folder)

    def make(**changes: Any) -> np.ndarray[Any, Any]:
        return np.stack(generator(replace(REQUEST, **changes), ignore)).astype(int)

    return make


def ignore(_progress: float) -> None:
    pass


@pytest.fixture(scope="module")
def picture() -> Image:
    return np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


def test_one_seed_gives_the_same_frames_and_another_others(generate: Make) -> None:
    assert np.array_equal(generate(), generate())
    assert not np.array_equal(generate(), generate(seed=2))
    assert generate(seed=-5).shape == (5, 48, 64, 3)  # any int64 is a seed


@pytest.mark.parametrize(
    "change", [{"prompt": "a dog"}, {"prompt": "海边的狗"}, {"negative_prompt": "雨"}, {"guidance": 8.0}], ids=str
)
def test_every_word_and_the_guidance_act(generate: Make, change: dict[str, Any]) -> None:
    assert np.abs(generate(**change) - generate()).mean() > 0.3


def test_a_guidance_of_one_would_disable_the_negative_prompt(generate: Make) -> None:
    assert np.array_equal(generate(guidance=1.0), generate(guidance=1.0, negative_prompt="雨"))


def test_no_words_at_all_are_a_prompt_too(generate: Make) -> None:
    assert generate(prompt="", negative_prompt="").shape == (5, 48, 64, 3)


def test_a_prompt_beyond_what_the_model_reads_is_cut(generate: Make) -> None:
    assert generate(prompt="猫" * 2000).shape == (5, 48, 64, 3)


def test_a_picture_controls_the_clip_and_motion_strength_changes_it(generate: Make, picture: Image) -> None:
    control = Control((picture, *[None] * 4), kept=1)
    led = generate(control=control)
    assert np.abs(led - generate()).mean() > 0.3
    assert not np.array_equal(led, generate(control=replace(control, motion_strength=1.3)))
    assert np.array_equal(led, generate(control=control))


def test_a_kept_frame_is_another_condition_than_an_imitated_one(generate: Make, picture: Image) -> None:
    frames = (picture,) * 5
    assert not np.array_equal(generate(control=Control(frames, kept=1)), generate(control=Control(frames)))


def test_motion_strength_scales_the_departure_from_the_picture_about_its_mean() -> None:
    latents = torch.randn(1, 4, 3, 6, 8, generator=torch.Generator().manual_seed(0))
    scaled = scale_motion(latents, 1.5)
    assert torch.equal(scaled[:, :, 0], latents[:, :, 0])
    before, after = (values[:, :, 1:] - values[:, :, :1] for values in (latents, scaled))
    assert torch.allclose(before.mean(dim=(3, 4)), after.mean(dim=(3, 4)), atol=1e-5)
    assert after.std(dim=(3, 4)) == pytest.approx(1.5 * before.std(dim=(3, 4)), rel=1e-4)


def test_every_step_is_reported_and_a_cancel_at_one_leaves_no_trace(folder: Path) -> None:
    """What a library keeps from step to step is forgotten, even by plans that skip blocks by it."""
    generator = open_generator(folder, replace(PLAN, cache_threshold=5.0))
    reported: list[float] = []
    skips = count_skips(generator._loaded[0].transformer)
    before = np.stack(generator(REQUEST, reported.append))
    assert reported == pytest.approx([1 / 3, 2 / 3, 1])
    assert skips() == 4, "all but the first step, with and without the prompt"

    def cancel(progress: float) -> None:
        if progress > 0.5:
            raise Cancelled

    with pytest.raises(Cancelled):
        generator(replace(REQUEST, seed=9), cancel)
    assert np.array_equal(before, np.stack(generator(REQUEST, ignore)))


def test_a_model_that_is_warm_is_not_loaded_again(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="bentoml.kinora.wan"):
        generator = open_generator(folder)
        generator(REQUEST, ignore)
        generator(replace(REQUEST, seed=2), ignore)
    assert caplog.text.count(" on cpu with plan low") == 1


def test_a_text_is_encoded_once_and_its_encoder_freed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[torch.device] = []

    def counted(checkpoint: Checkpoint, device: torch.device) -> Any:
        loads.append(device)
        return load_encoder(checkpoint, device)

    monkeypatch.setattr(text_encoder, "load_encoder", counted)
    checkpoint = find(str(folder), VACE, Settings())
    assert checkpoint is not None
    encode = text_encoder.TextEncoder(checkpoint, "on_demand", CPU)
    first = encode("海边的猫", "")
    again = encode("海边的猫", "")
    assert len(loads) == 1
    assert encode._encoder is None
    assert first[0] is again[0]
    assert first[0].shape == (1, 512, 32)
    assert "海边的猫" in encode
    encode("另一只猫")
    assert len(loads) == 2
    resident = text_encoder.TextEncoder(checkpoint, "resident", CPU)
    resident("a")
    resident("b")
    assert len(loads) == 3


def test_an_embedding_of_few_tokens_is_that_of_a_padded_text(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In fp32, as on a CPU without bf16: in bf16 the two differ by rounding, whatever is padded."""
    monkeypatch.setattr(loading, "cpu_multiplies_bfloat16", lambda: False)
    checkpoint = find(str(folder), VACE, Settings())
    assert checkpoint is not None
    encoder = load_encoder(checkpoint, CPU)
    padded, _ = encoder.encode_prompt("海边的猫", do_classifier_free_guidance=False, max_sequence_length=512)
    (short,) = text_encoder.TextEncoder(checkpoint, "on_demand", CPU)("海边的猫")
    # Both are bfloat16, summed in another order: each of the four sums that follow one another (two layers, each with
    # attention and a feed-forward part) may be rounded to the neighbouring number. One of other words is 2 away.
    step = torch.finfo(torch.bfloat16).eps * padded.abs().max().item()
    assert torch.allclose(short.float(), padded.float(), atol=4 * step, rtol=0)


# The first-block cache.


@pytest.fixture
def transformer(folder: Path) -> Any:
    checkpoint = find(str(folder), VACE, Settings())
    assert checkpoint is not None
    pipe, _ = load_pipeline(checkpoint, PLAN, CPU, torch.float32)
    return pipe.transformer


def inputs(seed: int = 0) -> dict[str, Any]:
    randn = partial(torch.randn, generator=torch.Generator().manual_seed(seed))
    return {
        "hidden_states": randn(1, 16, 3, 8, 12),
        "timestep": torch.tensor([500]),
        "encoder_hidden_states": randn(1, 16, 32),
        "control_hidden_states": randn(1, 96, 3, 8, 12),
        "return_dict": False,
    }


def count_skips(transformer: Any) -> Callable[[], int]:
    """Return how to ask how many passes of a cached transformer have run the first block only."""
    runs = [0, 0]

    def count(index: int) -> None:
        runs[index] += 1

    transformer.blocks[0].block.register_forward_hook(lambda *_: count(0))
    transformer.blocks[1].block.register_forward_hook(lambda *_: count(1))
    return lambda: runs[0] - runs[1]


@torch.no_grad()
def test_skipped_blocks_give_what_they_would_have_given(transformer: Any) -> None:
    """The same call twice is the same answer: control hints are not counted once more in a skipped step."""
    plain = transformer(**inputs())[0]
    cache_first_block(transformer, 0.1)
    skips = count_skips(transformer)
    with transformer.cache_context("cond"):
        full = transformer(**inputs())[0]
    with transformer.cache_context("cond"):
        skipped = transformer(**inputs())[0]
    assert skips() == 1
    assert torch.equal(full, plain)
    assert torch.allclose(skipped, plain, atol=1e-4)


@torch.no_grad()
def test_the_branches_of_guidance_are_remembered_apart_and_a_change_runs_every_block(transformer: Any) -> None:
    plain = transformer(**inputs(1))[0]
    cache_first_block(transformer, 0.1)
    skips = count_skips(transformer)
    with transformer.cache_context("uncond"):
        transformer(**inputs(0))
    with transformer.cache_context("cond"):
        transformer(**inputs(0))
    assert skips() == 0, "the same call, but another branch's"
    with transformer.cache_context("cond"):
        assert torch.equal(transformer(**inputs(1))[0], plain)
    assert skips() == 0


@torch.no_grad()
def test_a_skipped_step_takes_the_control_of_its_own_time(transformer: Any) -> None:
    cache_first_block(transformer, 0.1)
    skips = count_skips(transformer)
    changed = inputs() | {"control_hidden_states": inputs(5)["control_hidden_states"]}
    with transformer.cache_context("cond"):
        transformer(**inputs())
    with transformer.cache_context("cond"):
        same = transformer(**inputs())[0]
    with transformer.cache_context("cond"):
        other = transformer(**changed)[0]
    assert skips() == 2
    assert not torch.allclose(same, other, atol=1e-2)


def test_a_last_picture_is_kept_as_the_first_is(folder: Path, generate: Make, picture: Image) -> None:
    """Looked at where the pipeline gets it: weights this small and random hardly pass it on."""
    other = 255 - picture
    held = Control((picture, None, None, None, other), kept=1, kept_at_end=1)
    given = open_generator(folder)._conditions(held)
    assert given["mask"][0, :, 0].amax((1, 2)).tolist() == [0, 1, 1, 1, 0]
    assert np.array_equal((given["video"][0, -1] * 255).round().permute(1, 2, 0).numpy(), other)
    assert open_generator(folder)._conditions(replace(held, kept_at_end=0))["mask"][0, -1].min() == 1
    assert generate(control=held).shape == (5, 48, 64, 3)
