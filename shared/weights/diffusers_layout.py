"""What a whole model in diffusers layout must hold before it is stored: its parts, complete, and no pickles."""

import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

from shared.weights.hub import KINDS

Parts = Mapping[str, str]  # folder -> the class that its config.json names, "" where only its files matter
OWN_LEVEL = ""  # model_index.json lies here, and the adapter that an operator adds
HEADER_LIMIT = 100_000_000  # bytes; safetensors' own


def files_of(folder: Path, parts: Parts) -> list[str]:
    """Return the paths inside `folder` that belong to the model, in order."""
    wanted = {*parts, OWN_LEVEL}
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file() and path.suffix in KINDS)
    return sorted(path.as_posix() for path in paths if _parent(path) in wanted)


def missing_of(folder: Path, parts: Parts) -> list[str]:
    """Return the reasons why a folder is not the model, each in a few words; none when it is."""
    return wrong_components(folder, parts) or [
        reason for part, kind in parts.items() for reason in _gaps(folder / part, part, weighty=bool(kind))
    ]


def wrong_components(folder: Path, parts: Parts) -> list[str]:
    """Return which parts are missing or, judged by their small files, are something else."""
    return [reason for part, kind in parts.items() for reason in _wrong_component(folder / part, part, kind)]


def _wrong_component(folder: Path, part: str, kind: str) -> Iterator[str]:
    if not folder.is_dir():
        yield f"no folder {part}"
    elif kind and (found := _class_of(folder)) != kind:
        yield f"{part} is {found or 'nothing'}, not {kind}"


def _gaps(folder: Path, part: str, *, weighty: bool) -> Iterator[str]:
    if weighty:
        weights = sorted(folder.glob("*.safetensors"))
        if not weights:
            yield f"{part} holds no .safetensors"
        named = _named_by_index(folder)
        yield from (f"{part}/{name} is missing" for name in sorted(named - {path.name for path in weights}))
        yield from (f"{part}/{path.name} is cut off" for path in weights if not _is_whole(path))
    elif not any(path.suffix in KINDS for path in folder.iterdir()):
        yield f"{part} is empty"


def _class_of(folder: Path) -> str:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    return str(config.get("_class_name") or (config.get("architectures") or [""])[0])


def _named_by_index(folder: Path) -> set[str]:
    """Return the files that a sharded component's index names."""
    named: set[str] = set()
    for index in folder.glob("*.safetensors.index.json"):
        named |= set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    return named


def _is_whole(path: Path) -> bool:
    """Whether a safetensors file is as long as its header says."""
    size = path.stat().st_size
    with path.open("rb") as file:
        begin = file.read(8)
        if len(begin) < 8:  # noqa: PLR2004  # the length of the header, as the format has it
            return False
        (length,) = struct.unpack("<Q", begin)
        if length > min(size - 8, HEADER_LIMIT):
            return False
        try:
            header = json.loads(file.read(length))
        except ValueError:
            return False
    ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
    return bool(size == 8 + length + max(ends, default=0))


def _parent(path: Path) -> str:
    parent = path.parent.as_posix()
    return "" if parent == "." else parent
