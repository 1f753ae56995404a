"""Which of the pulled models `auto` takes: the best that can make the clip and that the memory is large enough for."""

import math
from collections.abc import Iterable
from functools import cache

from services.creation.engines.wan.models import MODELS, PATHS, Model, can
from shared import weights
from shared.gpu import uses_gpu
from shared.metrics.gpus import gpu_memory
from shared.settings import Settings

AUTO = "auto"
GIB = 1 << 30
ALL_ROUND = "wan-vace-1.3b"  # what is recommended where nothing is here: it serves every category on a small GPU


def best_model(category: int, fields: frozenset[str], settings: Settings) -> Model | None:
    """Return the pulled model for a category and the optional fields that are given, None without one.

    Where none can serve all of them it is the best for the category, whose refusal names the field; but drawn paths
    are then the classic engine's.
    """
    here = [model for model in MODELS.values() if not model.is_draft and weights.exists(model.name)]
    if settings.creation.plan == "fast":
        here = _distilled(here)
    for given in (fields, fields & {PATHS}):
        able = [model for model in here if can(model, category, given)]
        if able:
            return fitting(able, settings.creation.plan, memory_gib(settings))
    return None


def _distilled(models: list[Model]) -> list[Model]:
    """Return those with a step distillation that is here; else those that have one, whose refusal tells how to pull it;
    else all, whose refusal names those that have one.
    """
    entries = [(model, model.few_steps.entry) for model in models if model.few_steps]
    return [model for model, entry in entries if weights.exists(entry)] or [model for model, _ in entries] or models


def fitting(models: Iterable[Model], plan: str, memory: float | None) -> Model:
    """Return the first by rank that has room under a plan, of GiB of GPU memory; without a GPU (None) the smallest.

    For the plans `auto` and `fast` that is `balanced`, and `low` where no model has room: better a smaller model whose
    weights are not fetched layer by layer.
    """
    ranked = sorted(models, key=lambda model: model.rank)
    for name in ("balanced", "low") if plan in {AUTO, "fast"} else (plan,):
        for model in ranked:
            if memory is not None and model.needs.get(name, math.inf) <= memory:
                return model
    return min(ranked, key=lambda model: model.needs["low"])


def memory_gib(settings: Settings) -> float | None:
    """Return the memory of the smallest GPU, all of it; None without a GPU, infinity where the driver does not say.

    All, not what is free now: the HTTP face and the runner must agree on the model, before and after it is loaded.
    The plan then follows from what is free.
    """
    return _total() if uses_gpu(settings) else None


@cache
def _total() -> float:
    return min((gpu.total_bytes / GIB for gpu in gpu_memory()), default=math.inf)
