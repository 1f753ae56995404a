"""Which engine makes what on this machine: decided by settings and by what has been pulled, without loading anything.

The HTTP face asks before it accepts, the runner before it loads; both get the same answer.
"""

from dataclasses import dataclass
from typing import Literal

from services.creation.engine import frame_count
from services.creation.engines.wan.checkpoints import PLAIN, Checkpoint, find, find_any
from services.creation.engines.wan.few_steps import check_lora
from services.creation.engines.wan.generation_request import longest_run
from services.creation.engines.wan.models import MODELS, PATHS, can
from services.creation.engines.wan.plans import PLANS
from services.creation.model_choice import ALL_ROUND, AUTO, best_model
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


def choose_engine(category: int, settings: Settings, fields: frozenset[str] = frozenset()) -> EngineChoice:
    """Return the engine for a category and those of its fields that not every model serves.

    Raises Rejected, with what to do about it, where none can make such clips.
    """
    if settings.creation.engine == "classic":
        if category == TEXT:
            raise Rejected("creation_classic_text")
        return CLASSIC
    named, able = _named(category, settings, fields) if settings.creation.plan != "draft" else (None, False)
    draft = find(settings.creation.draft_model, PLAIN, settings) if _may_draft(category, settings) else None
    if draft and draft.model.is_draft and not (able and uses_gpu(settings)):
        return EngineChoice("draft", draft)
    if named and able:
        if settings.creation.plan == "fast":
            check_lora(named)
        return EngineChoice("wan", named)
    if named and (category == TEXT or settings.creation.engine == "wan"):
        raise _cannot(named, category, fields)
    if category == TEXT:
        raise _missing_model("creation_no_text_model", settings)
    if settings.creation.engine == "wan" and settings.creation.plan != "draft":
        raise _missing_model("creation_no_model", settings)
    return CLASSIC


def _named(category: int, settings: Settings, fields: frozenset[str]) -> tuple[Checkpoint | None, bool]:
    """Return the model that the settings name or leave open, and whether it can make such clips at all."""
    if settings.creation.model == AUTO:
        best = best_model(category, fields, settings)
        return (Checkpoint(best.name, "store"), True) if best else (None, False)
    found = find_any(settings.creation.model, settings)
    if found is None or found.model.is_draft:
        return None, False
    return found, can(found.model, category, fields & {PATHS})


def _cannot(checkpoint: Checkpoint, category: int, fields: frozenset[str]) -> Rejected:
    """Return the refusal of what the named model cannot do, with those that can."""
    given = fields & {PATHS}
    others = [model.name for model in MODELS.values() if not model.is_draft and can(model, category, given)]
    model, allowed = checkpoint.title, ", ".join(others)
    if category in checkpoint.model.categories:
        return Rejected("creation_field_refused", field=PATHS, model=model, allowed=allowed)
    return Rejected("creation_category_refused", category=category, model=model, allowed=allowed)


def check_length(request: CreationRequest, choice: EngineChoice, settings: Settings) -> None:
    """Raise Rejected for a clip that is longer than one run of the chosen model; drawn paths are made in several.

    Which plan `auto` becomes depends on the memory that is free when the model is loaded; here it is the longest.
    """
    if choice.checkpoint is None or request.category == VIDEO or request.tracking_points:
        return
    name = "draft" if choice.engine == "draft" else settings.creation.plan
    # `auto` and `fast` are none of the plans.
    plan = next((plan for plan in PLANS.values() if plan.name == name), PLANS["speed"])
    rate = choice.checkpoint.model.frame_rate
    longest = longest_run(plan.window_at(rate), frame_count(request.duration, request.fps), request.fps, rate)
    if longest is not None:
        raise Rejected("creation_too_long_a_run", plan=plan.name, limit=longest, seconds=request.duration)


def _may_draft(category: int, settings: Settings) -> bool:
    return category == TEXT and settings.creation.plan in {"auto", "draft"}


def _missing_model(key: str, settings: Settings) -> Rejected:
    """Return the refusal that names the command which pulls the model, or the setting whose value is not here."""
    wants_draft = key == "creation_no_text_model" and _may_draft(TEXT, settings) and not uses_gpu(settings)
    wanted = settings.creation.draft_model if wants_draft else settings.creation.model
    wanted = ALL_ROUND if wanted == AUTO else wanted
    if wanted not in weights.entries():
        setting = "KINORA_CREATION_DRAFT_MODEL" if wants_draft else "KINORA_CREATION_MODEL"
        return Rejected("creation_model_absent", setting=setting, model=wanted)
    return Rejected(key, name=wanted)
