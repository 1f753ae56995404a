"""Making a video from a video: in one piece where it is short, else in segments that outlive the attempt."""

from collections import Counter

from shared.contract.request import TaskRequest
from shared.files.handles import OutputFile
from shared.media.decode import VideoSource
from shared.media.encode import EncodeReport, encode
from shared.media.frame_range import whole
from shared.media.provenance import Label
from shared.media.result_format import ResultFormat
from shared.pipeline.job import Job
from shared.pipeline.segment_plan import SegmentPlan
from shared.pipeline.segmented_video import SegmentedVideo
from shared.pipeline.video_work import VideoWork

_OF_THE_TASK = {"task_id", "dist_dir"}  # what of a request decides no pixel


def make_video(
    job: Job, request: TaskRequest, source: VideoSource, target: OutputFile, work: VideoWork
) -> tuple[EncodeReport, "Counter[str]"]:
    """Write what `work` makes of `source` to `target`; return what was written and what was counted.

    Everything but the picture is kept as by `encode`. Raises JobFailed when the source changes meanwhile.
    """
    label = Label.of(job.settings, target)
    pixels = round(work.size[0] * work.size[1] * work.multiple)
    plan = work.plan or SegmentPlan.of(source, pixels, job.settings.limits.segment_seconds)
    if plan.count == 1:
        return _in_one_piece(job, source, target, work, label)
    result = ResultFormat.of(
        job.settings,
        like=source,
        size=work.size,
        frame_rate=work.frame_rate,
        time_base=work.time_base,
        sample_aspect_ratio=work.sample_aspect_ratio,
        display_oriented=work.display_oriented,
    )
    identity = request.model_dump(mode="json", exclude=_OF_THE_TASK)
    return SegmentedVideo(job, source, work, plan=plan, result=result, identity=identity).write(target, label)


def _in_one_piece(
    job: Job, source: VideoSource, target: OutputFile, work: VideoWork, label: Label
) -> tuple[EncodeReport, "Counter[str]"]:
    tally: Counter[str] = Counter()
    if work.memory:
        work.memory.begin(None)
    frames = work.transform(whole(work.limited(source.frames(), 0)), tally)
    report = encode(
        job.watch(frames, lambda made: source.share(made / work.multiple)),
        target,
        like=source,
        size=work.size,
        settings=job.settings,
        label=label,
        frame_rate=work.frame_rate,
        time_base=work.time_base,
        sample_aspect_ratio=work.sample_aspect_ratio,
        display_oriented=work.display_oriented,
    )
    source.file.check_unchanged()
    return report, tally
