"""What protects the people whose faces these are: the nudity check and an entry in the audit log."""

import logging
from datetime import UTC, datetime
from pathlib import Path

from services.facefusion.model import FaceModel
from services.facefusion.nsfw import NsfwGate
from shared.files.handles import InputFile
from shared.files.hashing import sha256_of
from shared.pipeline.job import Job

audit = logging.getLogger("kinora.audit")


def nsfw_gate(job: Job, model: FaceModel, *, samples: int | None = 1) -> NsfwGate:
    """Return a gate for `samples` pictures of one job, None: an unknown number, as the settings ask."""
    return NsfwGate(
        model.nsfw, job.settings.facefusion.nsfw_threshold, job.settings.facefusion.nsfw_share, expected=samples
    )


def write_audit_entry(job: Job, source: InputFile | None, target: InputFile) -> None:
    """Write which source is put on which target and when, by hash, into the audit log and the task's details.

    Without a source, where faces are only restored, its hash is "".
    """
    entry = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "source_sha256": "" if source is None else sha256_of(Path(source.url)),
        "target_sha256": sha256_of(Path(target.url)),
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
