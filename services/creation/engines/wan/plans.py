"""Memory plans as data: how a model is loaded and run with how much memory, and which plan a machine gets.

How much memory a model needs under each stands in the table of models. Nothing here loads anything: `loading.py`
applies a plan.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from services.creation.engines.wan.models import Model

PlanName = Literal["speed", "balanced", "low", "draft"]

GIB = 1 << 30

logger = logging.getLogger("bentoml.kinora.wan")


@dataclass(frozen=True)
class Plan:
    """Where a loaded model keeps its parts, and how it computes. Only steps and decoder change the picture visibly.

    What only a GPU has (offloading, compiling, its attention kernels) is ignored on a CPU.
    """

    name: PlanName
    steps: int = 30  # of denoising, where the model has no number of its own
    encoder: Literal["resident", "on_demand", "on_cpu"] = "on_demand"  # 11 GB that only a new prompt needs
    offload: Literal["block_level", "leaf_level"] | None = None  # weights are in host memory and fetched ahead of use
    storage: Literal["float8_e4m3fn"] | None = None  # of the transformer's weights; computed in bf16
    tiling: bool = True  # the VAE decodes in tiles
    tiny_decoder: bool = False  # decodes instead of the VAE, where its weights are here
    window: int = 81  # frames of one run at most, 4k+1, at 16 a second; a longer video takes several
    attention: str | None = None  # a backend of diffusers that needs no download
    sigmas: tuple[float, ...] = ()  # shares of noise, 0-1, of a step distillation: its exact steps, without guidance
    compiled: bool = False  # the repeated blocks of the transformer
    cache_threshold: float | None = None  # relative change of the first block below which the others are skipped

    def window_at(self, frame_rate: int) -> int:
        """Return the frames of one run at most, 4k+1, of a model that makes so many a second: 81 are 121 at 24."""
        return (self.window - 1) * frame_rate // 16 // 4 * 4 + 1

    @property
    def title(self) -> str:
        """What a task's details call it: `fast` wherever its parts are."""
        return "fast" if self.sigmas else self.name


PLANS: Mapping[PlanName, Plan] = {
    plan.name: plan
    for plan in (
        Plan(
            name="speed",
            encoder="resident",
            tiling=False,
            attention="_native_cudnn",
            compiled=True,
            cache_threshold=0.05,
        ),
        Plan(name="balanced", offload="block_level"),
        Plan(
            name="low",
            encoder="on_cpu",
            offload="leaf_level",
            storage="float8_e4m3fn",
            tiny_decoder=True,
            window=49,
        ),
        # The distilled text-to-video transformer on a CPU: `draft.py`.
        Plan(name="draft", steps=4, tiling=False, tiny_decoder=True, window=49),
    )
}
FALLBACK_ORDER: tuple[PlanName, ...] = ("speed", "balanced", "low")  # what follows when a plan runs out of memory


def choose_plan(wanted: Literal["auto"] | PlanName, model: Model, free_gpu_bytes: int | None) -> Plan:
    """Return the wanted plan; for `auto` the fastest whose memory is free, and `low` where there is no GPU (None)."""
    if wanted != "auto":
        return PLANS[wanted]
    if free_gpu_bytes is None:
        logger.info("plan low: no GPU, everything runs in host memory")
        return PLANS["low"]
    free = free_gpu_bytes / GIB
    for name in FALLBACK_ORDER:
        needed = model.needs[name]
        if needed <= free:
            logger.info("plan %s: %.1f GiB are free, %g GiB are needed by %s", name, free, needed, model.title)
            return PLANS[name]
    logger.warning("plan low: only %.1f GiB are free, %g GiB are needed by %s", free, needed, model.title)
    return PLANS["low"]


def smaller_plan(plan: Plan) -> Plan | None:
    """Return the plan to fall back to, which needs less memory and makes the same steps; None where there is none."""
    if plan.name not in FALLBACK_ORDER[:-1]:
        return None
    smaller = PLANS[FALLBACK_ORDER[FALLBACK_ORDER.index(plan.name) + 1]]
    return replace(smaller, sigmas=plan.sigmas, steps=plan.steps, cache_threshold=None) if plan.sigmas else smaller
