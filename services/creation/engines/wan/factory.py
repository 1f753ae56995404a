"""From a checkpoint and the settings to an engine; whatever imports diffusers is reached through here."""

from collections.abc import Callable
from dataclasses import replace

from services.creation.engines.wan.checkpoints import AREAS, Checkpoint
from services.creation.engines.wan.engine import WanEngine
from services.creation.engines.wan.generation_request import Generator
from services.creation.engines.wan.generator import VaceGenerator
from services.creation.engines.wan.loading import choose_device, free_gpu_bytes
from services.creation.engines.wan.memory_fallback import MemoryFallback
from services.creation.engines.wan.plans import PLANS, Plan, choose_plan
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
    plan = choose_plan(settings.creation.plan, checkpoint.size, free_gpu_bytes(compute.device))

    def load(plan: Plan) -> Generator:
        return VaceGenerator(checkpoint, replace(plan, steps=settings.creation.steps or plan.steps), compute, settings)

    return WanEngine(MemoryFallback(load, plan), interpolate, area=area, guidance=GUIDANCE)


def _draft_loader(checkpoint: Checkpoint, settings: Settings) -> Callable[[Plan], Generator]:
    from services.creation.engines.wan.draft import DraftGenerator  # noqa: PLC0415

    return lambda plan: DraftGenerator(checkpoint, plan, settings)
