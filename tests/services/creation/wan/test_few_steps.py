"""The plan `fast`: exactly four steps of one pass each, with its LoRA fused, placed as `auto` would place the model."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from services.creation.acceptance import inputs
from services.creation.engine_selection import choose_engine
from services.creation.engines.wan import generator as generator_module
from services.creation.engines.wan import loading
from services.creation.engines.wan.checkpoints import Checkpoint
from services.creation.engines.wan.dmd_scheduler import DMDScheduler
from services.creation.engines.wan.factory import generator_of, open_engine
from services.creation.engines.wan.few_steps import distilled, plan_for
from services.creation.engines.wan.generation_request import Control, GenerationRequest
from services.creation.engines.wan.generator import VaceGenerator
from services.creation.engines.wan.models import SIGMAS
from services.creation.engines.wan.plans import GIB, PLANS, smaller_plan
from services.creation.engines.wan.trial import try_model
from services.creation.request import PICTURE, TEXT, CreationRequest
from shared import weights
from shared.errors import JobFailed, Rejected
from shared.networks.compute import Compute
from shared.settings import CreationSettings, Settings
from tests.services.creation.wan.test_loras import plain_lora
from tests.support.tiny_creation import mixed
from tests.support.tiny_loras import PAIR_BLOCKS, lightning_lora, pulled_loras
from tests.support.tiny_models import build_model
from tests.support.tiny_wan import build_vace

FP32 = Compute(torch.device("cpu"), torch.float32)
FAST = distilled(PLANS["low"], SIGMAS)
REQUEST = GenerationRequest(prompt="海边的猫", negative_prompt="", guidance=5.0, seed=3, size=(32, 16), frame_count=5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_vace(tmp_path_factory.mktemp("fast") / "tiny")


@pytest.fixture
def checkpoint(folder: Path) -> Checkpoint:
    return Checkpoint(str(folder), "folder")


@pytest.fixture
def loras(store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    pulled_loras(monkeypatch)
    return store


def settings(**creation: Any) -> Settings:
    return Settings(device="cpu", creation=CreationSettings(plan="fast", decoder="full", **creation))


def ignore(_progress: float) -> None:
    pass


def test_the_sigmas_are_those_of_the_distillation() -> None:
    assert pytest.approx((1.0, 0.9375, 5 / 6, 0.625), abs=1e-12) == SIGMAS
    scheduler = DMDScheduler(SIGMAS)
    scheduler.set_timesteps(4)
    assert scheduler.timesteps.tolist() == pytest.approx([1000, 937.5, 2500 / 3, 625], abs=1e-3)
    assert scheduler.sigmas.tolist()[-1] == 0


@pytest.mark.parametrize(("free", "placement"), [(78, "speed"), (15, "balanced"), (8, "low"), (None, "low")])
def test_the_model_is_placed_by_the_free_memory(checkpoint: Checkpoint, free: int | None, placement: str) -> None:
    plan = plan_for(checkpoint, settings(), free and free * GIB)
    assert (plan.title, plan.name) == ("fast", placement)
    assert plan.sigmas == SIGMAS
    assert plan.steps == 4
    assert plan.cache_threshold is None
    assert replace(plan, sigmas=(), steps=30, cache_threshold=PLANS[plan.name].cache_threshold) == PLANS[plan.name]


def test_a_smaller_plan_makes_the_same_steps() -> None:
    plan, names = distilled(PLANS["speed"], SIGMAS), []
    while below := smaller_plan(plan):
        plan = below
        names.append(plan.name)
        assert (plan.title, plan.sigmas, plan.steps, plan.cache_threshold) == ("fast", SIGMAS, 4, None)
    assert names == ["balanced", "low"]


def test_a_step_is_one_pass_and_neither_guidance_nor_the_unwanted_text_acts(
    checkpoint: Checkpoint, loras: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert loras.exists()
    times: list[float] = []
    load = loading.load_pipeline

    def watched(*args: Any, **kwargs: Any) -> Any:
        pipe, cache = load(*args, **kwargs)
        assert cache is None

        def on_pass(_module: nn.Module, _args: object, kwargs: dict[str, Any]) -> None:
            assert len(kwargs["hidden_states"]) == 1
            times.append(float(kwargs["timestep"]))

        pipe.transformer.register_forward_pre_hook(on_pass, with_kwargs=True)
        return pipe, cache

    monkeypatch.setattr(generator_module, "load_pipeline", watched)
    generate = VaceGenerator(checkpoint, FAST, FP32, settings())
    first = generate(REQUEST, ignore)
    assert times == pytest.approx([1000 * sigma for sigma in SIGMAS], abs=1e-2)
    again = generate(replace(REQUEST, negative_prompt="模糊", guidance=9.0), ignore)
    assert len(times) == 8
    assert np.array_equal(first, again)
    assert generate.ignores == ("ng_prompt_cn", "ng_prompt_en", "guidance")
    details = generate.details
    assert (details["plan"], details["placement"], details["steps"]) == ("fast", "low", 4)
    assert details["distilled_by"] == "wan-fast-1.3b"
    assert "loras" not in details


@pytest.mark.parametrize("name", ["wan2.2-t2v-a14b", "wan2.2-i2v-a14b"])
def test_of_two_transformers_each_has_its_own_lora_and_two_of_the_steps(
    name: str, tmp_path: Path, loras: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert loras.exists()
    pair = Checkpoint(str(build_model(name, tmp_path / name)), "folder")
    times: dict[str, list[float]] = {"transformer": [], "transformer_2": []}
    plain, _ = loading.load_pipeline(pair, PLANS["low"], FP32.device, FP32.dtype)
    load = loading.load_pipeline

    def watched(*args: Any, **kwargs: Any) -> Any:
        pipe, cache = load(*args, **kwargs)
        for part, called in times.items():
            getattr(pipe, part).register_forward_pre_hook(
                lambda _module, _args, given, called=called: called.append(float(given["timestep"].max())),
                with_kwargs=True,
            )
            added = _queries(getattr(pipe, part)) - _queries(getattr(plain, part))
            assert [_alike(added, _product(seed)) > 0.9 for seed in range(2)] == [part == name for name in times]
        return pipe, cache

    monkeypatch.setattr(generator_module, "load_pipeline", watched)
    generate = generator_of(pair.model)(pair, FAST, FP32, settings())
    given = Control((np.zeros((64, 64, 3), np.uint8), *[None] * 4), kept=1) if "i2v" in name else None
    generate(replace(REQUEST, size=(64, 64), control=given), ignore)
    assert times["transformer"] == pytest.approx([1000, 937.5], abs=1e-2)
    assert times["transformer_2"] == pytest.approx([2500 / 3, 625], abs=1e-2)
    assert generate.details["distilled_by"] == f"wan-fast-{name.removeprefix('wan2.2-')}"


def _queries(transformer: Any) -> torch.Tensor:
    weight: torch.Tensor = transformer.blocks[1].attn1.to_q.weight
    return weight.detach().float()


def _product(seed: int) -> torch.Tensor:
    """Return what one LoRA of the pair adds to the weights that `_queries` returns."""
    state, layer = lightning_lora(PAIR_BLOCKS, seed), "diffusion_model.blocks.1.self_attn.q"
    return state[f"{layer}.lora_up.weight"] @ state[f"{layer}.lora_down.weight"]


def _alike(one: torch.Tensor, other: torch.Tensor) -> float:
    """Return the cosine between two changes: the weights are kept in bfloat16, so that they are never equal."""
    return float(nn.functional.cosine_similarity(one.flatten(), other.flatten(), dim=0))


def test_the_operators_loras_come_on_top(checkpoint: Checkpoint, loras: Path, tmp_path: Path) -> None:
    assert loras.exists()
    own = plain_lora(tmp_path / "ink.safetensors")
    plain = VaceGenerator(checkpoint, FAST, FP32, settings())
    inked = VaceGenerator(checkpoint, FAST, FP32, settings(loras=f"{own}=0.7"))
    assert inked.details["loras"] == ["ink.safetensors 0.7"]
    assert inked.details["distilled_by"] == "wan-fast-1.3b"
    assert not np.array_equal(plain(REQUEST, ignore), inked(REQUEST, ignore))


def test_the_number_of_steps_is_not_the_settings_to_choose(checkpoint: Checkpoint, loras: Path) -> None:
    assert loras.exists()
    engine = open_engine(checkpoint, settings(steps=9), mixed, draft=False)
    assert engine.details["steps"] == 4
    body = {"task_id": 1, "dist_dir": "/m", "category": 1, "prompt_cn": "猫", "guidance": 20, "ng_prompt_cn": "模糊"}
    assert engine.ignored(CreationRequest.model_validate(body)) == ["ng_prompt_cn", "guidance"]
    assert open_engine(checkpoint, Settings(device="cpu"), mixed, draft=False).details["plan"] == "low"


def test_without_the_lora_tasks_are_refused_with_the_command_that_pulls_it(checkpoint: Checkpoint, store: Path) -> None:
    assert store.exists()
    chosen = settings(model=checkpoint.name)
    body = {"task_id": 1, "dist_dir": "/m", "category": TEXT, "prompt_cn": "猫"}
    command = r"run `kinora weights pull wan-fast-1\.3b --accept-licence 'CC-BY-NC-SA-4\.0'`"
    with pytest.raises(Rejected, match=command) as refused:
        inputs(CreationRequest.model_validate(body), chosen)
    assert "wan-fast-1.3b" in refused.value.sentence("zh")
    assert choose_engine(PICTURE, settings(engine="classic")).engine == "classic"
    generate = VaceGenerator(checkpoint, FAST, FP32, settings())
    with pytest.raises(JobFailed, match=r"kinora weights pull wan-fast-1\.3b"):
        generate.warm()


def test_a_model_is_tried_with_its_lora(checkpoint: Checkpoint, loras: Path) -> None:
    assert loras.exists()
    trial = try_model(checkpoint, settings(), draft=False)
    assert trial.problems == []
    assert trial.figures.startswith("works on cpu with plan fast")


@pytest.fixture
def damaged(loras: Path) -> Iterator[Path]:
    path = weights.path("wan-fast-1.3b")
    content = path.read_bytes()
    path.write_bytes(content[:-2] + b"??")
    yield path
    assert loras.exists()


def test_a_damaged_lora_is_named_before_the_model_is_loaded(
    checkpoint: Checkpoint, damaged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generator_module, "load_pipeline", lambda *_args, **_kwargs: pytest.fail("loaded"))
    generate = VaceGenerator(checkpoint, FAST, FP32, settings())
    with pytest.raises(JobFailed, match=damaged.name):
        generate.warm()
