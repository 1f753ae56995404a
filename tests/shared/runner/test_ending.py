"""What an outcome means for its task."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from shared.errors import JobFailed
from shared.pipeline.job import JobStopped, Result
from shared.runner.cancellation import StopReason
from shared.runner.ending import ending_of
from shared.settings import LimitSettings, Settings
from shared.tasks.rows import TaskRow

SETTINGS = Settings(limits=LimitSettings(task_timeout_seconds=90), language="en")
ROW = TaskRow(
    id=uuid4(), service="upscale", kind="generate", task_id=7, fingerprint="", request={}, context={}, state="running",
    cancel=False, progress=0.0, pace=0.0, attempt=1, crashes=0, job_id=1, version="1.0", runs_on="1.0",
    created_at=datetime.now(UTC), started_at=None, resumed_at=None, finished_at=None, result=None, details={},
)  # fmt: skip


def test_a_result_succeeds_with_its_files_and_its_artifact() -> None:
    result = Result(video="a.mp4", preview="a.jpg", references=("0.jpg",), artifact={"a": 1}, artifact_key="key")
    ending = ending_of(ROW, result, None, SETTINGS)
    assert (ending.state, ending.artifact, ending.artifact_key) == ("succeeded", {"a": 1}, "key")
    assert ending.callback.model_dump() == {
        "task_id": 7, "preview_image": "a.jpg", "reference_images": ["0.jpg"], "video_url": "a.mp4", "err_code": 0,
        "err_msg": "",
    }  # fmt: skip


def test_a_result_without_an_artifact_has_no_key_for_one() -> None:
    ending = ending_of(ROW, Result(video="a.mp4"), None, SETTINGS)
    assert (ending.artifact, ending.artifact_key) == (None, None)


@pytest.mark.parametrize(
    ("outcome", "reason", "state", "sentence"),
    [
        (JobStopped(), "cancelled", "cancelled", "cancelled"),
        (JobStopped(), None, "cancelled", "cancelled"),
        (JobStopped(), "out_of_time", "failed", "90 second"),
        (JobFailed("no_room", name="here"), None, "failed", "here"),
        (MemoryError(), None, "failed", "memory"),
        (ZeroDivisionError("secret"), None, "failed", "ZeroDivisionError"),
    ],
)
def test_an_exception_becomes_a_state_and_a_sentence(
    outcome: BaseException, reason: StopReason | None, state: str, sentence: str
) -> None:
    ending = ending_of(ROW, outcome, reason, SETTINGS)
    assert (ending.state, ending.callback.err_code, ending.artifact) == (state, -1, None)
    assert sentence in ending.callback.err_msg
    assert "secret" not in ending.callback.err_msg
