"""What a whole model in diffusers layout must hold before it is stored: its parts, complete, and no pickles."""

import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

from shared.weights.hub import KINDS

Parts = Mapping[str, str]  # folder -> the class that its config.json names, "" where only its files matter
OWN_LEVEL = ""  # model_index.json lies here, and the adapter that an operator adds
SINGLE_FILES = frozenset(
    {"model.safetensors", "diffusion_pytorch_model.safetensors"}
)  # of a component without an index
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
        tensors = {path.name: tensors_of(path) for path in sorted(folder.glob("*.safetensors"))}
        if not tensors:
            yield f"{part} holds no .safetensors"
        yield from (f"{part}/{name} is cut off" for name, found in tensors.items() if found is None)
        yield from _differences(part, _indexed(folder), tensors)
    elif not any(path.suffix in KINDS for path in folder.iterdir()):
        yield f"{part} is empty"


def _differences(part: str, indexed: Mapping[str, set[str]], tensors: Mapping[str, set[str] | None]) -> Iterator[str]:
    """Yield how the files of a component, name -> tensors, are not those that its index names."""
    strangers = sorted(set(tensors) - set(indexed) - (set() if indexed else SINGLE_FILES))
    for name, wanted in sorted(indexed.items()):
        found = tensors.get(name, set())
        if name not in tensors:
            yield f"{part}/{name} is missing"
        elif found is not None and (lacking := sorted(wanted - found)):
            yield f"{part}/{name} is another file: {lacking[0]} is not in it"
    if not indexed and strangers and not SINGLE_FILES & set(tensors):
        yield f"{part} has no index that names {strangers[0]}"


def _class_of(folder: Path) -> str:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    return str(config.get("_class_name") or (config.get("architectures") or [""])[0])


def _indexed(folder: Path) -> dict[str, set[str]]:
    """Return the files that a sharded component's index names, each with its tensors."""
    named: dict[str, set[str]] = {}
    for index in folder.glob("*.safetensors.index.json"):
        for tensor, name in json.loads(index.read_text(encoding="utf-8"))["weight_map"].items():
            named.setdefault(name, set()).add(tensor)
    return named


def tensors_of(path: Path) -> set[str] | None:
    """Return the names of the tensors in a safetensors file; None unless it is as long as its header says."""
    size = path.stat().st_size
    with path.open("rb") as file:
        begin = file.read(8)
        if len(begin) < 8:  # noqa: PLR2004  # the length of the header, as the format has it
            return None
        (length,) = struct.unpack("<Q", begin)
        if length > min(size - 8, HEADER_LIMIT):
            return None
        try:
            header = json.loads(file.read(length))
        except ValueError:
            return None
    ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
    is_whole = size == 8 + length + max(ends, default=0)
    return {name for name in header if name != "__metadata__"} if is_whole else None


def _parent(path: Path) -> str:
    parent = path.parent.as_posix()
    return "" if parent == "." else parent
