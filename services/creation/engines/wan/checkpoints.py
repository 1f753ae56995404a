"""Where a model is stored, and whether it is here. Loads no model: the HTTP face asks this for every request."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from services.creation.engines.wan.plans import Size
from shared import weights
from shared.errors import JobFailed
from shared.settings import Settings
from shared.weights.diffusers_layout import Parts, missing_of

VACE, PLAIN = "WanVACEPipeline", "WanPipeline"  # the pipeline that the index of a folder in diffusers layout names
INDEX = "model_index.json"
LARGE_WIDTH = 4096  # of the transformer's features: the 1.3B model has 1536, the 14B one 5120
AREAS: dict[Size, int] = {"1.3b": 832 * 480, "14b": 1280 * 720}  # pixels that each model was trained for

Where = Literal["store", "folder", "hub"]


@dataclass(frozen=True)
class Checkpoint:
    """A model in diffusers layout: an entry of the weights' catalogue, a folder, or a repository of the hub."""

    name: str
    where: Where
    may_download: bool = False

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
    def size(self) -> Size:
        """The size of the model: by its name, or by the transformer's config in the folder."""
        if self.where == "folder":
            config = json.loads((Path(self.name) / "transformer/config.json").read_text(encoding="utf-8"))
            width = config["num_attention_heads"] * config["attention_head_dim"]
            return "14b" if width >= LARGE_WIDTH else "1.3b"
        return "14b" if "14b" in self.name.lower() else "1.3b"

    @property
    def title(self) -> str:
        """The name in the task's details: not the path of a folder on this machine."""
        return Path(self.name).name if self.where == "folder" else self.name


def find(wanted: str, pipeline: str, settings: Settings) -> Checkpoint | None:
    """Return the checkpoint that a setting names, None where it is not here or holds another pipeline.

    `wanted` is a name of the catalogue, a folder (it begins with / or .) or a repository of the hub, which counts as
    here when it lies in the hub's cache or may be downloaded.
    """
    if wanted in weights.entries():
        return Checkpoint(wanted, "store") if weights.exists(wanted) else None
    if wanted.startswith(("/", ".")):
        return Checkpoint(wanted, "folder") if _holds(Path(wanted), pipeline) else None
    here = settings.creation.download or _is_cached(wanted)
    return Checkpoint(wanted, "hub", may_download=settings.creation.download) if here else None


def _parts_of(folder: Path) -> Parts:
    """Return the components that the index of a folder names, with the classes of those that have weights."""
    index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    named = {name: kind[1] for name, kind in index.items() if isinstance(kind, list) and kind[0]}
    return {name: kind if (folder / name / "config.json").exists() else "" for name, kind in named.items()}


def _holds(folder: Path, pipeline: str) -> bool:
    """Whether the folder holds the wanted pipeline and every part that its index names."""
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    parts = [name for name, kind in index.items() if isinstance(kind, list) and kind[0]]
    return index.get("_class_name") == pipeline and all((folder / part).is_dir() for part in parts)


def _is_cached(repository: str) -> bool:
    from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415  # slow to import, and only a repository needs it
    from huggingface_hub.errors import HFValidationError  # noqa: PLC0415

    try:
        return isinstance(try_to_load_from_cache(repository, INDEX), str)
    except HFValidationError:
        return False
