"""Which plan a machine gets, and which plan follows when memory runs out."""

import logging

import pytest

from services.creation.engines.wan.models import MODELS
from services.creation.engines.wan.plans import FALLBACK_ORDER, GIB, PLANS, choose_plan, smaller_plan


@pytest.mark.parametrize(
    ("model", "free", "plan"),
    [
        ("wan-vace-1.3b", 78, "speed"),
        ("wan-vace-1.3b", 23, "speed"),
        ("wan-vace-1.3b", 15, "balanced"),
        ("wan-vace-1.3b", 11, "low"),
        ("wan-vace-14b", 78, "speed"),
        ("wan-vace-14b", 23, "balanced"),
        ("wan-vace-14b", 11, "low"),
        ("wan2.2-ti2v-5b", 40, "speed"),
        ("wan2.2-ti2v-5b", 16, "balanced"),
        ("wan2.2-t2v-a14b", 78, "speed"),
        ("wan2.2-i2v-a14b", 22, "balanced"),
    ],
)
def test_auto_takes_the_fastest_plan_whose_memory_is_free_and_says_why(
    model: str, free: float, plan: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        assert choose_plan("auto", MODELS[model], round(free * GIB)).name == plan
    assert f"plan {plan}: {free:.1f} GiB are free" in caplog.text


def test_a_gpu_too_small_for_any_plan_gets_the_smallest_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    assert choose_plan("auto", MODELS["wan-vace-14b"], 4 * GIB).name == "low"
    assert caplog.records[-1].levelno == logging.WARNING


def test_a_machine_without_a_gpu_gets_the_plan_of_least_memory() -> None:
    assert choose_plan("auto", MODELS["wan-vace-1.3b"], None).name == "low"


def test_a_named_plan_is_taken_whatever_is_free() -> None:
    assert choose_plan("speed", MODELS["wan-vace-14b"], GIB).name == "speed"


def test_memory_running_out_leads_to_smaller_plans_down_to_the_last() -> None:
    below = smaller_plan(PLANS["speed"])
    assert below
    assert below.name == "balanced"
    last = smaller_plan(below)
    assert last
    assert last.name == "low"
    assert smaller_plan(last) is None
    assert smaller_plan(PLANS["draft"]) is None


def test_every_fallback_needs_less() -> None:
    for model in MODELS.values():
        needs = [model.needs[name] for name in FALLBACK_ORDER if not model.is_draft]
        assert needs == sorted(needs, reverse=True)


def test_every_window_is_a_length_that_a_run_can_have() -> None:
    rates = {model.frame_rate for model in MODELS.values()}
    assert all(plan.window_at(rate) % 4 == 1 for plan in PLANS.values() for rate in rates)
    assert [PLANS[name].window_at(24) for name in ("speed", "low")] == [121, 73]


def test_plans_that_skip_blocks_do_not_offload_them() -> None:
    """Offloading fetches the next block ahead, in the order of the first pass: a skipped block would break it."""
    assert not [plan for plan in PLANS.values() if plan.offload and plan.cache_threshold]


def test_what_is_compiled_is_stored_in_the_precision_in_which_it_computes() -> None:
    """Casting weights layer by layer makes new parameters, which a compiled block may not."""
    assert not [plan for plan in PLANS.values() if plan.compiled and plan.storage]


def test_no_plan_names_an_attention_that_its_library_would_download() -> None:
    assert not [plan for plan in PLANS.values() if plan.attention and plan.attention.endswith("_hub")]
