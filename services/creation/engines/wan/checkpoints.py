"""Where a model is stored, and whether it is here. Loads no model: the HTTP face asks this for every request."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from services.creation.engines.wan.models import FROM_PICTURE, MODELS, PLAIN, VACE, Model, named, recognise
from shared import weights
from shared.errors import JobFailed
from shared.settings import Settings
from shared.weights.diffusers_layout import Parts, missing_of

__all__ = ["FROM_PICTURE", "INDEX", "PLAIN", "VACE", "Checkpoint", "find", "find_any"]

INDEX = "model_index.json"

Where = Literal["store", "folder", "hub"]


@dataclass(frozen=True)
class Checkpoint:
    """A model in diffusers layout: an entry of the weights' catalogue, a folder, or a repository of the hub."""

    name: str
    where: Where
    may_download: bool = False
    otherwise: str = "wan-vace-1.3b"  # the row of a repository whose name tells nothing

    def location(self) -> str:
        """Return what `from_pretrained` loads.

        Raises JobFailed, with the name of the file, where one of the store is not what was stored, or one of a folder
        is missing, cut off or another one.
        """
        if self.where == "store":
            return str(weights.folder(self.name))
        if self.where == "folder":
            wrong = missing_of(Path(self.name), _parts_of(Path(self.name)))
            if wrong:
                raise JobFailed("creation_model_broken", model=self.title, reasons="; ".join(wrong))
        return self.name

    @property
    def model(self) -> Model:
        """Its row of the table: by the files of a folder, otherwise by its name.

        A repository of an unknown name counts as the one that its setting has by default.
        """
        if self.where == "store":
            return MODELS[self.name]
        found = _row_of(Path(self.name)) if self.where == "folder" else named(self.name)
        return found or MODELS[self.otherwise]

    @property
    def title(self) -> str:
        """The name in the task's details: not the path of a folder on this machine."""
        return Path(self.name).name if self.where == "folder" else self.name


def find(wanted: str, pipeline: str, settings: Settings) -> Checkpoint | None:
    """Return the checkpoint that a setting names, None where it is not here or holds another pipeline."""
    found = find_any(wanted, settings, otherwise="wan-draft-1.3b" if pipeline == PLAIN else "wan-vace-1.3b")
    return found if found and found.model.pipeline == pipeline else None


def find_any(wanted: str, settings: Settings, *, otherwise: str = "wan-vace-1.3b") -> Checkpoint | None:
    """Return the checkpoint that a setting names, None where it is not here or is none of the table's models.

    `wanted` is a name of the catalogue, a folder (it begins with / or .) or a repository of the hub, which counts as
    here when it lies in the hub's cache or may be downloaded.
    """
    if wanted in weights.entries():
        return Checkpoint(wanted, "store") if wanted in MODELS and weights.exists(wanted) else None
    if wanted.startswith(("/", ".")):
        return Checkpoint(wanted, "folder") if _row_of(Path(wanted)) and _is_whole(Path(wanted)) else None
    here = settings.creation.download or _is_cached(wanted)
    return Checkpoint(wanted, "hub", settings.creation.download, otherwise) if here else None


def _parts_of(folder: Path) -> Parts:
    """Return the components that the index of a folder names, with the classes of those that have weights."""
    index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    named = {name: kind[1] for name, kind in index.items() if isinstance(kind, list) and kind[0]}
    return {name: kind if (folder / name / "config.json").exists() else "" for name, kind in named.items()}


def _row_of(folder: Path) -> Model | None:
    """Return the row of the table that a folder holds."""
    return recognise(_read(folder / INDEX), _read(folder / "transformer/config.json"))


def _is_whole(folder: Path) -> bool:
    """Whether the folder has every part that its index names."""
    index = _read(folder / INDEX)
    return all((folder / name).is_dir() for name, kind in index.items() if isinstance(kind, list) and kind[0])


def _read(path: Path) -> dict[str, Any]:
    """Return what a file of JSON holds; nothing where it cannot be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _is_cached(repository: str) -> bool:
    from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415  # slow to import, and only a repository needs it
    from huggingface_hub.errors import HFValidationError  # noqa: PLC0415

    try:
        return isinstance(try_to_load_from_cache(repository, INDEX), str)
    except HFValidationError:
        return False
