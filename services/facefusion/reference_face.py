"""The faces that a user was shown, and those that were picked.

A preview stores the faces of its crops as an artifact under the key of its target. When a later request is accepted,
the HTTP face takes the picked ones from the newest artifact and stores them with the job (`job.context`). This module
imports no vision library, because both sides use it.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from services.facefusion.request import FaceFusionRequest
from shared.files.handles import InputFile

T = TypeVar("T")

Artifact = dict[str, Any]
NewestArtifact = Callable[..., Awaitable[Artifact | None]]


@dataclass(frozen=True)
class Reference:
    """One face of a gallery: its embedding, and where it was seen."""

    frame: int
    position: int
    bbox: tuple[float, ...]  # x1, y1, x2, y2 in pixels of the upright frame
    landmarks5: tuple[tuple[float, float], ...]  # pixels of the upright frame; stored as "points"
    size: tuple[int, int]  # (width, height) of the upright frame
    embedding: tuple[float, ...]  # of length 1
    embedder: str

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Read what `to_json` made."""
        return cls(
            frame=int(value["frame"]),
            position=int(value["position"]),
            bbox=tuple(value["bbox"]),
            landmarks5=tuple((x, y) for x, y in value["points"]),
            size=(value["size"][0], value["size"][1]),
            embedding=tuple(value["embedding"]),
            embedder=value["embedder"],
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; the landmarks keep the key of the rows that exist, "points"."""
        value = asdict(self)
        value["points"] = value.pop("landmarks5")
        return value


def target_key(name: str, size: int, mtime_ns: int) -> str:
    """Return the key of a target's artifacts: a hash of name, size and time of change, the same on every host."""
    return hashlib.sha256(f"{name}\n{size}\n{mtime_ns}".encode()).hexdigest()


def key_of(target: InputFile) -> str:
    """Return the key of an opened target's artifacts; of one that was fetched, its URL alone makes it."""
    return url_key(target.origin) if target.origin else target_key(target.name, target.size, target.mtime_ns)


def url_key(url: str) -> str:
    """Return the key of the artifacts of a target that is fetched: only exactly the same URL names the same target."""
    return target_key(url, 0, 0)


async def resolve_reference(
    request: FaceFusionRequest, target: Path | str, newest_artifact: NewestArtifact
) -> dict[str, Any]:
    """Return the job's context: the faces that the user means by positions, as far as they are known now.

    `target` is a local file, or the URL of one that is to be fetched.

    They come from the newest succeeded preview of this task and target, else from the newest of this target. Without a
    preview the run finds them in the target itself.
    """
    if request.face_selector_mode != "reference":
        return {}
    if isinstance(target, Path):
        stat = await asyncio.to_thread(target.stat)
        key = target_key(target.name, stat.st_size, stat.st_mtime_ns)
    else:
        key = url_key(target)
    artifact = await newest_artifact(key, task_id=request.task_id) or await newest_artifact(key)
    if artifact is None:
        return {}
    faces = faces_at(request, artifact["faces"])
    return {"references": faces} if request.faces else {"reference": faces[0]}


def faces_at(request: FaceFusionRequest, gallery: Sequence[T]) -> list[T | None]:
    """Return the face of a gallery that each of the request's entries means; there is at least one in the gallery.

    Past its end the request's own position is the last face, as backends know it. That of an entry of `faces` is
    nobody: two entries would mean the last face.
    """
    if not request.faces:
        return [gallery[min(request.reference_face_position, len(gallery) - 1)]]
    return [gallery[entry.position] if entry.position < len(gallery) else None for entry in request.entries]
