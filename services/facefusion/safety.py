"""What protects the people whose faces these are: the nudity check and an entry in the audit log."""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from services.facefusion.model import FaceModel
from services.facefusion.nsfw import NsfwGate
from services.facefusion.request import FaceFusionRequest
from shared.files.handles import InputFile
from shared.files.hashing import sha256_of
from shared.pipeline.job import Job

audit = logging.getLogger("kinora.audit")


def nsfw_gate(job: Job, model: FaceModel, *, samples: int | None = 1) -> NsfwGate:
    """Return a gate for `samples` pictures of one job, None: an unknown number, as the settings ask."""
    return NsfwGate(
        model.nsfw, job.settings.facefusion.nsfw_threshold, job.settings.facefusion.nsfw_share, expected=samples
    )


def audit_request(job: Job, request: FaceFusionRequest, sources: Mapping[str, InputFile], target: InputFile) -> None:
    """Write which sources are put on which target and when, by hash, into the audit log and the task's details.

    `sources` are the opened ones by path. With `faces` the details also have `source_sha256s`, one an entry. Without
    a source, where faces are only restored, its hash is "".
    """
    hashes = {path: sha256_of(Path(source.url)) for path, source in sources.items()}
    found = [hashes.get(entry.source_file, "") for entry in request.entries]
    entry: dict[str, Any] = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "source_sha256": found[0],
        **({"source_sha256s": found} if request.faces else {}),
        "target_sha256": sha256_of(Path(target.url)),
    }
    job.details["audit"] = entry
    audit.info(
        "facefusion %s: task %d at %s, source sha256 %s, target sha256 %s",
        job.kind,
        job.task_id,
        entry["at"],
        ", ".join(found),
        entry["target_sha256"],
    )
