"""The plan `fast`: a step distillation in four steps, placed in memory as the other plans are.

Loads nothing: the HTTP face asks whether its LoRA is here.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from services.creation.engines.wan.checkpoints import Checkpoint
from services.creation.engines.wan.models import MODELS
from services.creation.engines.wan.plans import Plan, choose_plan
from shared import weights
from shared.errors import Rejected
from shared.settings import Settings

IGNORES = ("ng_prompt_cn", "ng_prompt_en", "guidance")  # without a second pass there is nothing for them to act on
WEIGHT = 1.0


def few_steps_of(checkpoint: Checkpoint) -> tuple[str, tuple[float, ...]]:
    """Return the entry of the weights' catalogue with which a model needs few steps, and their sigmas.

    Raises Rejected, with the models that have one, where this one has none.
    """
    few_steps = checkpoint.model.few_steps
    if few_steps is None:
        allowed = ", ".join(model.name for model in MODELS.values() if model.few_steps)
        raise Rejected("creation_never_few_steps", model=checkpoint.title, allowed=allowed)
    return few_steps.entry, few_steps.sigmas


def lora_of(checkpoint: Checkpoint) -> str:
    """Return the entry of the weights' catalogue with which a model needs few steps. Raises Rejected without one."""
    return few_steps_of(checkpoint)[0]


def check_lora(checkpoint: Checkpoint) -> None:
    """Raise Rejected, with the command that pulls it, unless the model has a LoRA and it is here."""
    name = lora_of(checkpoint)
    if not weights.exists(name):
        command = weights.entry(name).pull_command
        raise Rejected("creation_no_few_steps", name=name, model=checkpoint.title, command=command)


def plan_for(checkpoint: Checkpoint, settings: Settings, free_gpu_bytes: int | None) -> Plan:
    """Return the settings' plan for a model; `fast` is placed as `auto` would be.

    Raises Rejected for `fast` with a model that has no LoRA for it.
    """
    wanted, model = settings.creation.plan, checkpoint.model
    if wanted != "fast":
        return choose_plan(wanted, model, free_gpu_bytes)
    _, sigmas = few_steps_of(checkpoint)
    return distilled(choose_plan("auto", model, free_gpu_bytes), sigmas)


def distilled(plan: Plan, sigmas: tuple[float, ...]) -> Plan:
    """Return a plan with exactly these steps.

    Every one of so few changes the picture, so none of them may be skipped: there is no first-block cache.
    """
    return replace(plan, sigmas=sigmas, steps=len(sigmas), cache_threshold=None)


def loras_for(checkpoint: Checkpoint, plan: Plan, settings: Settings) -> Sequence[tuple[Path, float]]:
    """Return what is fused, with its weights: the step distillation of the plan, then the operator's own.

    Raises JobFailed, with the command that pulls it, where the first is missing or damaged.
    """
    own = settings.creation.loras
    if not plan.sigmas:
        return own
    name = lora_of(checkpoint)
    return [*((weights.path(name, file), WEIGHT) for file in weights.entry(name).loras), *own]


def named_plan(checkpoint: Checkpoint, plan: Plan) -> dict[str, Any]:
    """Return the plan's part of a task's details; of `fast` also where in memory the model is, and by which LoRA."""
    if not plan.sigmas:
        return {"plan": plan.title}
    return {"plan": plan.title, "placement": plan.name, "distilled_by": lora_of(checkpoint)}
