"""Which engine makes what on this machine: decided by settings and by what has been pulled, without loading anything.

The HTTP face asks before it accepts, the runner before it loads; both get the same answer.
"""

from dataclasses import dataclass
from typing import Literal

from services.creation.engine import frame_count
from services.creation.engines.wan.checkpoints import PLAIN, VACE, Checkpoint, find
from services.creation.engines.wan.few_steps import check_lora
from services.creation.engines.wan.generation_request import longest_run
from services.creation.engines.wan.plans import PLANS
from services.creation.request import TEXT, VIDEO, CreationRequest
from shared import weights
from shared.errors import Rejected
from shared.gpu import uses_gpu
from shared.settings import Settings


@dataclass(frozen=True)
class EngineChoice:
    """An engine and what it loads: `classic` nothing, `wan` a checkpoint, `draft` one for texts on a CPU."""

    engine: Literal["classic", "wan", "draft"]
    checkpoint: Checkpoint | None = None


CLASSIC = EngineChoice("classic")


def choose_engine(category: int, settings: Settings) -> EngineChoice:
    """Return the engine for a category. Raises Rejected, with what to do about it, where none can make such clips."""
    if settings.creation.engine == "classic":
        if category == TEXT:
            raise Rejected("creation_classic_text")
        return CLASSIC
    vace = None if settings.creation.plan == "draft" else find(settings.creation.model, VACE, settings)
    draft = find(settings.creation.draft_model, PLAIN, settings) if _may_draft(category, settings) else None
    if draft and not (vace and uses_gpu(settings)):
        return EngineChoice("draft", draft)
    if vace:
        if settings.creation.plan == "fast":
            check_lora(vace)
        return EngineChoice("wan", vace)
    if category == TEXT:
        raise _missing_model("creation_no_text_model", settings)
    if settings.creation.engine == "wan" and settings.creation.plan != "draft":
        raise _missing_model("creation_no_model", settings)
    return CLASSIC


def check_length(request: CreationRequest, choice: EngineChoice, settings: Settings) -> None:
    """Raise Rejected for a clip that is longer than one run of the chosen model; drawn paths are made in several.

    Which plan `auto` becomes depends on the memory that is free when the model is loaded; here it is the longest.
    """
    if choice.engine == "classic" or request.category == VIDEO or request.tracking_points:
        return
    name = "draft" if choice.engine == "draft" else settings.creation.plan
    plan = next(
        (plan for plan in PLANS.values() if plan.name == name), PLANS["speed"]
    )  # auto and fast are none of them
    longest = longest_run(plan.window, frame_count(request.duration, request.fps), request.fps)
    if longest is not None:
        raise Rejected("creation_too_long_a_run", plan=plan.name, limit=longest, seconds=request.duration)


def _may_draft(category: int, settings: Settings) -> bool:
    return category == TEXT and settings.creation.plan in {"auto", "draft"}


def _missing_model(key: str, settings: Settings) -> Rejected:
    """Return the refusal that names the command which pulls the model, or the setting whose value is not here."""
    wants_draft = key == "creation_no_text_model" and _may_draft(TEXT, settings) and not uses_gpu(settings)
    wanted = settings.creation.draft_model if wants_draft else settings.creation.model
    if wanted not in weights.entries():
        setting = "KINORA_CREATION_DRAFT_MODEL" if wants_draft else "KINORA_CREATION_MODEL"
        return Rejected("creation_model_absent", setting=setting, model=wanted)
    return Rejected(key, name=wanted)
