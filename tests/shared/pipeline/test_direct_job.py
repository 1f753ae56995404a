"""A job without a queue behaves as one with a queue does, for its pipeline."""

from pathlib import Path

import pytest

from shared.errors import JobFailed
from shared.pipeline.direct_job import DirectJob
from shared.pipeline.job import Job, Result
from shared.settings import Settings


@pytest.fixture
def job(tmp_path: Path) -> DirectJob:
    return DirectJob(tmp_path / "out", Settings(state_dir=tmp_path / "state"), service="upscale", task_id=7)


def write(job: Job, text: str, model: object) -> Result:
    with job.output(".txt") as target:
        Path(target.url).write_text(f"{text}{model}")
    with job.output(".txt", part="two") as second:
        pass
    if text == "fail":
        raise JobFailed("no_room", name="x")
    return Result(video=target.name, references=(second.name,))


def names(job: DirectJob) -> list[str]:
    return sorted(path.name for path in job.dist_dir.iterdir())


def test_a_pipeline_runs_as_it_stands(job: DirectJob) -> None:
    result = job.run(write, "text", 2)
    assert (job.dist_dir / result.video).read_text() == "text2"
    assert result.video.startswith("7_upscale_")
    assert names(job) == sorted([result.video, *result.references])


def test_nothing_stays_of_a_run_that_failed_after_its_first_output(job: DirectJob) -> None:
    with pytest.raises(JobFailed):
        job.run(write, "fail", 2)
    assert names(job) == []


def test_an_output_that_breaks_is_never_seen(job: DirectJob) -> None:
    seen = []

    def break_off() -> None:
        with job.output(".txt"):
            seen.extend(names(job))
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011  # our own
        break_off()
    assert [name[0] for name in seen] == ["."]
    assert names(job) == []


def test_progress_rises_over_stages_and_never_falls(job: DirectJob, tmp_path: Path) -> None:
    seen: list[float] = []
    job = DirectJob(tmp_path, job.settings, on_progress=seen.append)
    assert list(job.watch("abcd", 4, end=0.5)) == list("abcd")
    job.report(0.2)
    assert list(job.watch(range(2), None, begin=0.5, end=0.9)) == [0, 1]
    assert job.progress == 0.9
    job.report(7)
    assert job.progress == 1
    assert seen == sorted(seen)
    assert seen[:4] == [0.125, 0.25, 0.375, 0.5]


def test_inputs_lie_anywhere_and_scratch_vanishes(job: DirectJob, tmp_path: Path) -> None:
    source = tmp_path / "源.txt"
    source.write_text("in")
    with job.input(str(source)) as file:
        assert (file.name, file.size) == ("源.txt", 2)
    scratch = []

    def work(job: DirectJob, _request: None, _model: None) -> Result:
        (job.workdir / "x").write_text("x")
        scratch.append(job.workdir)
        return Result()

    job.run(work, None, None)
    assert not scratch[0].exists()
