"""Which engine makes what on this machine: decided by settings and by what has been pulled, without loading anything.

The HTTP face asks before it accepts, the runner before it loads; both get the same answer.
"""

from dataclasses import dataclass
from pathlib import Path

from services.creation.engines.wan.checkpoints import PLAIN, VACE, Checkpoint, find
from services.creation.request import TEXT
from shared import weights
from shared.errors import Rejected
from shared.settings import Settings

NVIDIA = Path("/dev/nvidiactl")


@dataclass(frozen=True)
class Maker:
    """An engine and what it loads: `classic` nothing, `wan` a checkpoint, `draft` one for texts on a CPU."""

    engine: str
    checkpoint: Checkpoint | None = None


CLASSIC = Maker("classic")


def maker_of(category: int, settings: Settings) -> Maker:
    """Return who makes clips of a category; Rejected, with what to do, where nobody does."""
    if settings.creation.engine == "classic":
        if category == TEXT:
            raise Rejected("creation_classic_text")
        return CLASSIC
    vace = None if settings.creation.plan == "draft" else find(settings.creation.model, VACE, settings)
    draft = find(settings.creation.draft_model, PLAIN, settings) if _drafts(category, settings) else None
    if draft and not (vace and has_gpu(settings)):
        return Maker("draft", draft)
    if vace:
        return Maker("wan", vace)
    if category == TEXT:
        raise _missing("creation_no_text_model", settings)
    if settings.creation.engine == "wan" and settings.creation.plan != "draft":
        raise _missing("creation_no_model", settings)
    return CLASSIC


def has_gpu(settings: Settings) -> bool:
    """Whether networks run on a GPU here; a look at a device file, since the HTTP face has no torch."""
    return settings.device == "cuda" or (settings.device == "auto" and NVIDIA.exists())


def _drafts(category: int, settings: Settings) -> bool:
    return category == TEXT and settings.creation.plan in {"auto", "draft"}


def _missing(key: str, settings: Settings) -> Rejected:
    """Say what is missing with the one command that brings it, or with the setting that names what is not there."""
    drafts = key == "creation_no_text_model" and _drafts(TEXT, settings) and not has_gpu(settings)
    wanted = settings.creation.draft_model if drafts else settings.creation.model
    if wanted not in weights.entries():
        setting = "KINORA_CREATION_DRAFT_MODEL" if drafts else "KINORA_CREATION_MODEL"
        return Rejected("creation_model_absent", setting=setting, model=wanted)
    return Rejected(key, name=wanted)
