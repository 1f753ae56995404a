"""From a checkpoint and the settings to an engine; whatever imports diffusers is reached through here."""

from collections.abc import Callable
from dataclasses import replace

from services.creation.engines.wan.checkpoints import AREAS, Checkpoint
from services.creation.engines.wan.engine import WanEngine
from services.creation.engines.wan.few_steps import plan_for
from services.creation.engines.wan.generation_request import Generator
from services.creation.engines.wan.generator import VaceGenerator
from services.creation.engines.wan.loading import choose_device, free_gpu_bytes
from services.creation.engines.wan.memory_fallback import MemoryFallback
from services.creation.engines.wan.plans import PLANS, Plan
from services.creation.source_frames import Interpolate
from shared.networks.compute import Compute
from shared.settings import Settings

GUIDANCE = 5.0  # Wan 2.1's optimum


def open_engine(checkpoint: Checkpoint, settings: Settings, interpolate: Interpolate, *, draft: bool) -> WanEngine:
    """Return the engine with the settings' plan; its model is loaded by `warm` or by the first request."""
    area = settings.creation.pixels or AREAS[checkpoint.size]
    if draft:
        model = MemoryFallback(_draft_loader(checkpoint, settings), PLANS["draft"])
        return WanEngine(model, interpolate, area=area, guidance=1.0)
    compute = Compute(*choose_device(settings))
    plan = plan_for(checkpoint, settings, free_gpu_bytes(compute.device))

    def load(plan: Plan) -> Generator:
        steps = plan.steps if plan.sigmas else settings.creation.steps or plan.steps
        return VaceGenerator(checkpoint, replace(plan, steps=steps), compute, settings)

    return WanEngine(MemoryFallback(load, plan), interpolate, area=area, guidance=GUIDANCE)


def _draft_loader(checkpoint: Checkpoint, settings: Settings) -> Callable[[Plan], Generator]:
    from services.creation.engines.wan.draft import DraftGenerator  # noqa: PLC0415

    return lambda plan: DraftGenerator(checkpoint, plan, settings)
