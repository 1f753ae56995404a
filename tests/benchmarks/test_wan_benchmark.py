"""The benchmark of the wan engine runs with a tiny model as it will at full size, so that a GPU finds it working."""

import json
from typing import Any

import pytest
import torch
from diffusers import WanTransformer3DModel

from benchmarks import wan, wan_models
from benchmarks.wan_runs import RUNS
from services.creation.engines.wan.plans import LADDER, PLANS

SMALL = {"shape": "tiny", "size": (64, 48), "frames": 5}


@pytest.fixture(autouse=True)
def _on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KINORA_DEVICE", "cpu")


def run(name: str, **fields: Any) -> dict[str, Any]:
    told: dict[str, Any] = RUNS[name](**SMALL, **fields)  # type: ignore[operator]
    assert json.loads(json.dumps(told)) == told
    return told


def test_a_draft_is_timed_step_by_step() -> None:
    told = run("draft")
    assert len(told["steps"]) == len(told["cpu_seconds"]["steps"]) == 4
    assert told["frames"] == 5
    assert told["size"] == "64x48"
    assert told["peak_gib"] > 0.1


@pytest.mark.parametrize(("compute", "storage"), wan.PRECISIONS)
def test_a_block_is_timed_in_every_precision(compute: str, storage: str) -> None:
    assert run("layer", compute=compute, storage=storage)["seconds"] >= 0


@pytest.mark.parametrize("plan", LADDER)
def test_a_plan_is_timed_and_becomes_a_row_of_the_table(plan: str) -> None:
    told = run("vace", plan=plan, steps=3)
    assert len(told["steps"]) == 3
    row = wan.gpu_row("tiny", PLANS[plan], told | {"peak_gpu_gib": 1.0})  # type: ignore[index]
    assert len(row) == len(wan.COLUMNS)
    assert row[-2].startswith("1.0 GiB")


def test_a_run_that_fails_says_why_in_its_row() -> None:
    told = wan.run(
        {"run": "vace", "shape": "tiny", "plan": "none", "size": [64, 48], "frames": 5, "steps": 1}, device="cpu"
    )
    assert "none" in told["failed"]
    assert told["failed"] in wan.gpu_row("tiny", PLANS["low"], told)


@pytest.mark.parametrize(("shape", "billions"), [("1.3b", 1.42), ("14b", 14.29)])
def test_full_size_is_full_size(shape: wan_models.Shape, billions: float) -> None:
    with torch.device("meta"):
        transformer = WanTransformer3DModel(**wan_models.SHAPES[shape])
    count = sum(parameter.numel() for parameter in transformer.parameters())
    assert count / 1e9 == pytest.approx(billions, abs=0.02)
