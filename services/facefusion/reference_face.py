"""The faces that a user was shown, and the one that was picked.

A preview leaves the faces behind its crops as an artifact under the key of its target. When a later request is
accepted, the HTTP face takes the picked one out of the newest artifact and stores it with the job (`job.context`). This
module imports no vision library: both sides use it.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from services.facefusion.request import FaceFusionRequest
from shared.errors import Rejected

Artifact = dict[str, Any]
NewestArtifact = Callable[..., Awaitable[Artifact | None]]


@dataclass(frozen=True)
class Reference:
    """One face of a gallery: who, and where it was seen."""

    frame: int
    position: int
    bbox: tuple[float, ...]  # x1, y1, x2, y2 in pixels of the upright frame
    points: tuple[tuple[float, float], ...]  # five
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
            points=tuple((x, y) for x, y in value["points"]),
            size=(value["size"][0], value["size"][1]),
            embedding=tuple(value["embedding"]),
            embedder=value["embedder"],
        )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def target_key(name: str, size: int, mtime_ns: int) -> str:
    """Under which a target's artifacts are found: its name, size and time of change, on whatever host it is mounted."""
    return hashlib.sha256(f"{name}\n{size}\n{mtime_ns}".encode()).hexdigest()


async def resolve_reference(
    request: FaceFusionRequest, target: Path, newest_artifact: NewestArtifact
) -> dict[str, Any]:
    """Return the job's context: the face that the user means by a position, as far as it is known by now.

    The newest succeeded preview of this task and target counts, else the newest of this target; raises Rejected when
    its gallery has no such position. Without one the run looks at its own frame.
    """
    if request.face_selector_mode != "reference":
        return {}
    found = await asyncio.to_thread(target.stat)
    key = target_key(target.name, found.st_size, found.st_mtime_ns)
    artifact = await newest_artifact(key, task_id=request.task_id) or await newest_artifact(key)
    if artifact is None:
        return {}
    faces: list[dict[str, Any]] = artifact["faces"]
    if request.reference_face_position >= len(faces):
        raise Rejected(
            "facefusion_position",
            field="reference_face_position",
            value=request.reference_face_position,
            count=len(faces),
        )
    return {"reference": faces[request.reference_face_position]}
