"""From a checkpoint and the settings to an engine; whatever imports diffusers is reached through here."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypedDict

from services.creation.engines.wan.checkpoints import Checkpoint
from services.creation.engines.wan.engine import WanEngine
from services.creation.engines.wan.few_steps import plan_for
from services.creation.engines.wan.generation_request import Generator
from services.creation.engines.wan.generator import VaceGenerator, WanGenerator
from services.creation.engines.wan.loading import choose_device, free_gpu_bytes
from services.creation.engines.wan.memory_fallback import MemoryFallback
from services.creation.engines.wan.models import VACE, Model
from services.creation.engines.wan.picture_generator import PictureGenerator
from services.creation.engines.wan.plans import PLANS, Plan
from services.creation.request import PICTURE
from services.creation.source_frames import Interpolate
from shared.networks.compute import Compute
from shared.settings import Settings


class Facts(TypedDict):
    """What an engine is told of its model."""

    area: int
    guidance: float
    frame_rate: int
    multiple: int


def open_engine(checkpoint: Checkpoint, settings: Settings, interpolate: Interpolate, *, draft: bool) -> WanEngine:
    """Return the engine with the settings' plan; its model is loaded by `warm` or by the first request."""
    model = checkpoint.model
    facts: Facts = {
        "area": settings.creation.pixels or model.area,
        "guidance": model.guidance,
        "frame_rate": model.frame_rate,
        "multiple": model.multiple,
    }
    if draft:
        return WanEngine(MemoryFallback(_draft_loader(checkpoint, settings), PLANS["draft"]), interpolate, **facts)
    compute = Compute(*choose_device(settings))
    plan = plan_for(checkpoint, settings, free_gpu_bytes(compute.device))

    kind = generator_of(model)

    def load(plan: Plan) -> Generator:
        steps = plan.steps if plan.sigmas else settings.creation.steps or model.steps
        return kind(checkpoint, replace(plan, steps=steps), compute, settings)

    return WanEngine(MemoryFallback(load, plan), interpolate, **facts)


def generator_of(model: Model) -> type[WanGenerator]:
    """Return the class that makes clips with a model."""
    if model.pipeline == VACE:
        return VaceGenerator
    return PictureGenerator if PICTURE in model.categories else WanGenerator


def _draft_loader(checkpoint: Checkpoint, settings: Settings) -> Callable[[Plan], Generator]:
    from services.creation.engines.wan.draft import DraftGenerator  # noqa: PLC0415

    return lambda plan: DraftGenerator(checkpoint, plan, settings)
