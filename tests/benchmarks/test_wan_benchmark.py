"""The benchmark of the wan engine runs with a tiny model as it will at full size, so that it works on a GPU too."""

import json
from typing import Any

import pytest
import torch
from diffusers import WanTransformer3DModel

from benchmarks import wan, wan_models
from benchmarks.gpu import wan as gpu_wan
from benchmarks.gpu.parts import Options
from benchmarks.wan_runs import RUNS
from services.creation.engines.wan.models import MODELS
from services.creation.engines.wan.plans import FALLBACK_ORDER, PLANS

OPTIONS = Options(torch.device("cpu"), None, small=True, peak=0.0)
SMALL = {"shape": "tiny", "size": (64, 48), "frames": 5}


@pytest.fixture(autouse=True)
def _on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KINORA_DEVICE", "cpu")


def run(name: str, **fields: Any) -> dict[str, Any]:
    result: dict[str, Any] = RUNS[name](**SMALL, **fields)  # type: ignore[operator]
    assert json.loads(json.dumps(result)) == result
    return result


@pytest.mark.parametrize("way", wan.DRAFTS.values(), ids=str)
def test_a_draft_is_timed_step_by_step(way: dict[str, Any]) -> None:
    result = run("draft", **way)
    assert len(result["steps"]) == len(result["cpu_seconds"]["steps"]) == 4
    assert result["seconds"] == pytest.approx(sum(result["steps"]) + result["decode"], abs=0.1)
    assert result["seconds_with_fast_wan"] == pytest.approx(result["seconds"] - result["steps"][-1], abs=0.1)
    assert result["frames"] == 5
    assert result["size"] == "64x48"
    assert result["peak_gib"] > 0.1


@pytest.mark.slow
def test_two_ways_to_draft_take_turns_and_the_first_row_names_the_ratio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wan, "DRAFT", {"run": "draft", **SMALL})
    rows: list[list[str]] = []
    figures: dict[str, Any] = {}
    wan.draft_rows(rows, figures, [])
    assert [len(row) for row in rows] == [len(wan.COLUMNS)] * 2
    assert [(made["decoder"], made["gates"]) for made in figures["draft"].values()] == [("tiny", True), ("vae", False)]
    now, before = figures["draft"].values()
    assert f"{now['seconds'] / before['seconds']:.2f} of the row below" in rows[0][-1]
    assert figures["draft_ratios"][1] < figures["draft_ratios"][0]


@pytest.mark.parametrize(("compute", "storage"), wan.PRECISIONS)
def test_a_block_is_timed_in_every_precision(compute: str, storage: str) -> None:
    assert run("layer", compute=compute, storage=storage)["seconds"] >= 0


@pytest.mark.parametrize("plan", FALLBACK_ORDER)
def test_a_plan_is_timed_and_becomes_a_row_of_the_table(plan: str) -> None:
    result = run("vace", plan=plan, steps=3)
    assert len(result["steps"]) == 3
    row = wan.gpu_row("tiny", PLANS[plan], result | {"peak_gpu_gib": 1.0})  # type: ignore[index]
    assert len(row) == len(wan.COLUMNS)
    assert row[-2].startswith("1.0 GiB")


# The first compilation of a process imports a module of torch that warns of itself.
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")
@pytest.mark.parametrize("model", ["wan2.2-ti2v-5b", "wan2.2-t2v-a14b"])
def test_the_models_of_the_second_generation_are_timed_too(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # On a CPU that takes half a minute.
    monkeypatch.setattr(WanTransformer3DModel, "compile_repeated_blocks", lambda _self, **_options: None)
    result: dict[str, Any] = RUNS["vace"](shape="tiny", model=model, plan="low", size=(64, 64), frames=5, steps=4)  # type: ignore[operator]
    assert len(result["steps"]) == 4
    rows = list(gpu_wan.measure_5b(OPTIONS) if model.endswith("5b") else gpu_wan.measure_a14b(OPTIONS))
    assert [row.what.split(",")[0].split(":")[0] for row in rows] == [MODELS[model].title] * len(rows)
    assert all(row.figures for row in rows)


def test_a_run_that_fails_says_why_in_its_row() -> None:
    result = wan.run(
        {"run": "vace", "shape": "tiny", "plan": "none", "size": [64, 48], "frames": 5, "steps": 1}, device="cpu"
    )
    assert "none" in result["failed"]
    assert result["failed"] in wan.gpu_row("tiny", PLANS["low"], result)


@pytest.mark.parametrize(("shape", "billions"), [("1.3b", 1.42), ("14b", 14.29), ("5b", 5.0)])
def test_full_size_is_full_size(shape: wan_models.Shape, billions: float) -> None:
    with torch.device("meta"):
        transformer = WanTransformer3DModel(**wan_models.SHAPES[shape])
    count = sum(parameter.numel() for parameter in transformer.parameters())
    assert count / 1e9 == pytest.approx(billions, abs=0.02)
