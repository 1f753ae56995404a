"""What is owed to the people whose faces these are: the nudity gate and a line in the audit log."""

import hashlib
import logging
import os
from datetime import UTC, datetime

from services.facefusion.model import FaceModel
from services.facefusion.nsfw import NsfwGate
from shared.files.handles import InputFile
from shared.pipeline.job import Job

audit = logging.getLogger("kinora.audit")


def gate(job: Job, model: FaceModel, *, samples: int = 1) -> NsfwGate:
    """Open a gate for `samples` pictures of one job, as the settings ask."""
    limits = job.settings.facefusion
    return NsfwGate(model.nsfw, limits.nsfw_threshold, limits.nsfw_share, expected=samples)


def note(job: Job, source: InputFile, target: InputFile) -> None:
    """Write who was put on whom and when, by hash, into the audit log and the task's details."""
    entry = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "source_sha256": sha256_of(source),
        "target_sha256": sha256_of(target),
    }
    job.details["audit"] = entry
    audit.info(
        "facefusion %s: task %d at %s, source sha256 %s, target sha256 %s",
        job.kind,
        job.task_id,
        entry["at"],
        entry["source_sha256"],
        entry["target_sha256"],
    )


def sha256_of(file: InputFile) -> str:
    """Hash an opened input without moving anybody's position in it."""
    digest, position = hashlib.sha256(), 0
    while block := os.pread(file.fd, 1 << 20, position):
        digest.update(block)
        position += len(block)
    return digest.hexdigest()
