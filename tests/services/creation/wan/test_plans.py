"""Which plan a machine gets, and which plan follows when memory runs out."""

import logging

import pytest

from services.creation.engines.wan.plans import FALLBACK_ORDER, GIB, PLANS, Size, choose_plan, smaller_plan


@pytest.mark.parametrize(
    ("size", "free", "plan"),
    [
        ("1.3b", 78, "speed"),
        ("1.3b", 23, "speed"),
        ("1.3b", 15, "balanced"),
        ("1.3b", 11, "low"),
        ("14b", 78, "speed"),
        ("14b", 23, "balanced"),
        ("14b", 11, "low"),
    ],
)
def test_auto_takes_the_fastest_plan_whose_memory_is_free_and_says_why(
    size: Size, free: float, plan: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        assert choose_plan("auto", size, round(free * GIB)).name == plan
    assert f"plan {plan}: {free:.1f} GiB are free" in caplog.text


def test_a_gpu_too_small_for_any_plan_gets_the_smallest_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    assert choose_plan("auto", "14b", 4 * GIB).name == "low"
    assert caplog.records[-1].levelno == logging.WARNING


def test_a_machine_without_a_gpu_gets_the_plan_of_least_memory() -> None:
    assert choose_plan("auto", "1.3b", None).name == "low"


def test_a_named_plan_is_taken_whatever_is_free() -> None:
    assert choose_plan("speed", "14b", GIB).name == "speed"


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
    for size in ("1.3b", "14b"):
        needs = [PLANS[name].needs[size] for name in FALLBACK_ORDER]
        assert needs == sorted(needs, reverse=True)


def test_every_window_is_a_length_that_a_run_can_have() -> None:
    assert all(plan.window % 4 == 1 for plan in PLANS.values())


def test_plans_that_skip_blocks_do_not_offload_them() -> None:
    """Offloading fetches the next block ahead, in the order of the first pass: a skipped block would break it."""
    assert not [plan for plan in PLANS.values() if plan.offload and plan.cache_threshold]


def test_what_is_compiled_is_stored_in_the_precision_in_which_it_computes() -> None:
    """Casting weights layer by layer makes new parameters, which a compiled block may not."""
    assert not [plan for plan in PLANS.values() if plan.compiled and plan.storage]


def test_no_plan_names_an_attention_that_its_library_would_download() -> None:
    assert not [plan for plan in PLANS.values() if plan.attention and plan.attention.endswith("_hub")]
