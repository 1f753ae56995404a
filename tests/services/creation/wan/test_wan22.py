"""Wan 2.2 in miniature through the engine's own code: what each model makes of what, and the two transformers."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import WanImageToVideoPipeline
from torch import nn

from services.creation.camera import Camera
from services.creation.engine import ClipSpec
from services.creation.engines.wan.checkpoints import Checkpoint, find_any
from services.creation.engines.wan.engine import WanEngine
from services.creation.engines.wan.factory import generator_of
from services.creation.engines.wan.generation_request import Control, GenerationRequest
from services.creation.engines.wan.generator import WanGenerator
from services.creation.engines.wan.loading import load_pipeline, loras_of
from services.creation.engines.wan.memory_fallback import MemoryFallback
from services.creation.engines.wan.models import MODELS
from services.creation.engines.wan.picture_generator import PictureGenerator
from services.creation.engines.wan.plans import PLANS, Plan
from services.creation.engines.wan.two_transformers import Alternating, alternate
from shared.arrays import Image
from shared.networks.compute import Compute
from shared.settings import CreationSettings, Settings
from tests.support.tiny_models import build_model

CPU = torch.device("cpu")
NAMES = ("wan2.2-ti2v-5b", "wan2.2-t2v-a14b", "wan2.2-i2v-a14b")
PLAN = replace(PLANS["low"], steps=4)
REQUEST = GenerationRequest(
    prompt="海边的猫", negative_prompt="模糊", guidance=4.0, seed=1, size=(64, 64), frame_count=5
)  # fmt: skip
SPEC = ClipSpec(
    size=(64, 64), frame_rate=24, frame_count=12, seed=5, movement=1, camera=Camera(), style=0, prompt="猫",
    negative_prompt="", guidance=12,
)  # fmt: skip
Open = Callable[..., WanGenerator]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("wan22")
    return {name: build_model(name, folder / name) for name in NAMES}


@pytest.fixture(scope="module")
def opened(folders: dict[str, Path]) -> Open:
    """Return generators, each loaded once for the module unless a plan is given."""
    made: dict[str, WanGenerator] = {}

    def open_generator(name: str, plan: Plan | None = None) -> WanGenerator:
        if plan is None and name in made:
            return made[name]
        checkpoint = find_any(str(folders[name]), Settings())
        assert checkpoint
        assert checkpoint.model == MODELS[name]
        settings = Settings(creation=CreationSettings(decoder="full"))
        generator = generator_of(checkpoint.model)(checkpoint, plan or PLAN, Compute(CPU, torch.float32), settings)
        return generator if plan else made.setdefault(name, generator)

    return open_generator


@pytest.fixture(scope="module")
def picture() -> Image:
    return np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)


def make(generator: WanGenerator, **changes: Any) -> "np.ndarray[Any, Any]":
    return np.stack(generator(replace(REQUEST, **changes), ignore)).astype(int)


def ignore(_progress: float) -> None:
    pass


def begin(picture: Image, **changes: Any) -> Control:
    return Control((picture, *[None] * 4), kept=1, **changes)


def weight_of(transformer: Any) -> torch.Tensor:
    weight: torch.Tensor = transformer.proj_out.weight
    return weight


def passes(transformer: nn.Module) -> list[float]:
    """Return the times of the passes that a transformer makes from now on, in thousandths of noise."""
    times: list[float] = []
    transformer.register_forward_pre_hook(
        lambda _module, _arguments, given: times.append(float(given["timestep"].max())), with_kwargs=True
    )
    return times


# What each makes.


@pytest.mark.parametrize("name", ["wan2.2-ti2v-5b", "wan2.2-t2v-a14b"])
def test_texts_become_clips_by_their_words_guidance_and_seed(opened: Open, name: str) -> None:
    generator = opened(name)
    clip = make(generator)
    assert clip.shape == (5, 64, 64, 3)
    assert np.array_equal(clip, make(generator))
    for change in ({"prompt": "海边的狗"}, {"negative_prompt": "雨"}, {"guidance": 8.0}, {"seed": 2}):
        assert np.abs(make(generator, **change) - clip).mean() > 0.1, change


@pytest.mark.parametrize("name", ["wan2.2-ti2v-5b", "wan2.2-i2v-a14b"])
def test_pictures_become_clips(opened: Open, name: str, picture: Image) -> None:
    generator = opened(name)
    control = begin(picture)
    clip = make(generator, control=control)
    assert clip.shape == (5, 64, 64, 3)
    assert np.array_equal(clip, make(generator, control=control))
    assert np.abs(clip - make(generator, control=begin(255 - picture))).mean() > 0.1
    assert np.abs(clip - make(generator, control=control, prompt="狗")).mean() > 0.1


def test_texts_and_pictures_share_the_parts_of_one_model(opened: Open, picture: Image) -> None:
    generator = opened("wan2.2-ti2v-5b")
    before = make(generator)
    make(generator, control=begin(picture))
    assert isinstance(generator, PictureGenerator)
    assert isinstance(generator._from_picture, WanImageToVideoPipeline)
    assert generator._from_picture.transformer is generator._loaded[0].transformer
    assert np.array_equal(before, make(generator)), "a picture leaves no trace in the next text"


def test_a_clip_ends_with_the_last_picture(opened: Open, picture: Image) -> None:
    generator = opened("wan2.2-i2v-a14b")
    both = Control((picture, None, None, 255 - picture, 255 - picture), kept=1, kept_at_end=2)
    clip = make(generator, control=both)
    assert np.abs(clip - make(generator, control=begin(picture))).mean() > 0.1
    assert np.array_equal(clip[-2], clip[-1]), "what is to show the last picture shows the frame that ends with it"


def test_motion_strength_acts_where_the_conditioning_has_motion(opened: Open, picture: Image) -> None:
    generator = opened("wan2.2-i2v-a14b")
    still = make(generator, control=begin(picture))
    assert not np.array_equal(still, make(generator, control=begin(picture, motion_strength=1.3)))
    assert np.array_equal(still, make(generator, control=begin(picture)))


# The two transformers.


@pytest.mark.parametrize(("name", "boundary"), [("wan2.2-t2v-a14b", 875), ("wan2.2-i2v-a14b", 900)])
def test_the_boundary_decides_which_transformer_makes_a_step(
    opened: Open, name: str, boundary: int, picture: Image
) -> None:
    generator = opened(name, replace(PLAN, steps=8))
    pipe, _ = generator._loaded
    high, low = passes(pipe.transformer), passes(pipe.transformer_2)
    make(generator, control=begin(picture) if name == "wan2.2-i2v-a14b" else None)
    assert len(high) + len(low) == 16, "each step has a pass with the prompt and one with the negative prompt"
    assert high
    assert low
    assert min(high) >= boundary > max(low)
    assert pipe.scheduler.config.flow_shift == MODELS[name].flow_shift


def test_each_transformer_has_its_own_guidance(opened: Open) -> None:
    generator = opened("wan2.2-t2v-a14b")
    given: dict[str, Any] = {}
    pipe, _ = generator._loaded
    check = pipe.check_inputs
    pipe.check_inputs = lambda *arguments, **named: (given.update(second=arguments[-1]), check(*arguments, **named))
    try:
        make(generator, guidance=6.0)
    finally:
        pipe.check_inputs = check
    assert given["second"] == pytest.approx(6.0 * 3 / 4), "as far from 3 as 6 is from 4"


def test_a_skipped_block_is_another_ones_in_each_transformer(opened: Open) -> None:
    generator = opened("wan2.2-t2v-a14b", replace(PLAN, steps=8, cache_threshold=5.0))
    first = make(generator)
    assert np.array_equal(first, make(generator)), "what is kept from step to step is forgotten"
    assert not np.array_equal(first, make(opened("wan2.2-t2v-a14b", replace(PLAN, steps=8))))


def test_one_transformer_is_on_the_device_at_a_time(folders: dict[str, Path]) -> None:
    """A copy stands for what is on the device."""
    checkpoint = Checkpoint(str(folders["wan2.2-t2v-a14b"]), "folder")
    pipe, _ = load_pipeline(checkpoint, PLAN, CPU, torch.float32)
    networks = [pipe.transformer, pipe.transformer_2]
    homes = [weight_of(network).data_ptr() for network in networks]
    values = [weight_of(network).clone() for network in networks]
    alternating = Alternating(networks, torch.clone)
    away = []
    for index in (0, 1, 0, 0, 1):
        alternating.bring(index)
        away.append([weight_of(network).data_ptr() != home for network, home in zip(networks, homes, strict=True)])
    assert away == [[True, False], [False, True], [True, False], [True, False], [False, True]]
    for network, value in zip(networks, values, strict=True):
        assert torch.equal(weight_of(network), value)


def test_the_transformer_that_is_called_comes_by_itself(folders: dict[str, Path]) -> None:
    checkpoint = Checkpoint(str(folders["wan2.2-t2v-a14b"]), "folder")
    generator = generator_of(checkpoint.model)(checkpoint, PLAN, Compute(CPU, torch.float32), Settings())
    before = make(generator)
    pipe, _ = generator._loaded
    alternating = alternate([pipe.transformer, pipe.transformer_2], CPU)
    present: list[int | None] = []
    for network in (pipe.transformer, pipe.transformer_2):
        network.register_forward_pre_hook(lambda _module, _inputs: present.append(alternating.present))
    assert np.array_equal(before, make(generator))
    assert present == sorted(present, key=lambda index: index or 0)
    assert set(present) == {0, 1}
    assert alternating.present == 1


@pytest.mark.parametrize("plan", ["speed", "balanced", "low"])
def test_every_plan_treats_both_transformers_alike(
    folders: dict[str, Path], plan: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What only a GPU has is recorded here: which transformer was offloaded, compiled, given a kernel."""
    from services.creation.engines.wan import loading  # noqa: PLC0415

    pipe, _ = load_pipeline(Checkpoint(str(folders["wan2.2-i2v-a14b"]), "folder"), PLAN, CPU, torch.float32)
    done: list[tuple[str, int]] = []
    networks = [pipe.transformer, pipe.transformer_2]
    for index, network in enumerate(networks):
        for name in ("enable_group_offload", "set_attention_backend", "compile_repeated_blocks", "to"):
            monkeypatch.setattr(
                network, name, lambda *_args, _name=name, _index=index, **_named: done.append((_name, _index))
            )
    monkeypatch.setattr(pipe.vae, "to", lambda _device: None)
    monkeypatch.setattr(loading, "alternate", lambda modules, _device: done.append(("alternate", len(modules))))
    loading._place_on_gpu(pipe, networks, PLANS[plan], torch.device("cuda"))  # type: ignore[index]
    both = {"speed": ["set_attention_backend", "compile_repeated_blocks"]}.get(plan, ["enable_group_offload"])
    assert sorted(done) == sorted(
        [(name, index) for name in both for index in (0, 1)] + ([("alternate", 2)] if plan == "speed" else [])
    )


def test_loras_go_to_the_transformer_that_their_name_tells() -> None:
    of_high = ("high_noise_model", "Wan2.2_T2V_HIGH_fp16", "HighNoise-Q8")
    of_low = ("low_noise_model", "4steps-lora_LOW_fp16", "wan22-lowN")
    of_both = ("ink", "slow", "Flower", "highlands")
    files = [(Path(f"/loras/{name}.safetensors"), 1.0) for name in (*of_high, *of_both, *of_low)]
    taken = {part: tuple(path.stem for path, _ in loras_of(part, files)) for part in ("transformer", "transformer_2")}
    assert taken == {"transformer": (*of_high, *of_both), "transformer_2": (*of_both, *of_low)}


# Through the engine.


def test_a_native_rate_of_24_needs_no_interpolated_frame(opened: Open, picture: Image) -> None:
    model, generator = MODELS["wan2.2-ti2v-5b"], opened("wan2.2-ti2v-5b")

    def interpolate(*_: object) -> Image:
        raise AssertionError("a frame was interpolated")

    engine = WanEngine(
        MemoryFallback(lambda _plan: generator, PLAN),
        interpolate,
        area=64 * 64,
        guidance=model.guidance,
        frame_rate=model.frame_rate,
        multiple=model.multiple,
    )
    for frames in (engine.from_text(SPEC, ignore), engine.from_picture(SPEC, picture, ignore)):
        assert np.stack(list(frames)).shape == (12, 64, 64, 3)
    slower = engine.from_text(replace(SPEC, frame_rate=8, frame_count=4), ignore)
    assert len(list(slower)) == 4
