"""Video creation: one request through one engine, frame by frame."""

from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from functools import partial

from services.creation.acceptance import new_seed
from services.creation.aspect import fit_ratio, size_for
from services.creation.dragged_frames import DraggedFrames
from services.creation.engine import ClipSpec, Engine, frame_count
from services.creation.model import EnginePool
from services.creation.previews import Previews
from services.creation.redrawing import Redrawing
from services.creation.request import PICTURE, TEXT, CreationRequest
from shared.arrays import Image
from shared.media.decode import VideoSource, open_video
from shared.media.encode import EncodeReport, encode
from shared.media.frame import Frame
from shared.media.image import read_picture
from shared.media.provenance import Label
from shared.pipeline.job import Job, Result
from shared.pipeline.video import make_video


def create_video(job: Job, request: CreationRequest, pool: EnginePool) -> Result:
    """Make the clip and publish it. A text's or a picture's lasts as long as asked, a video's as long as the video."""
    previews = Previews(job)
    try:
        return _create(job, request, pool, previews)
    except BaseException:
        previews.forget()
        raise


def _create(job: Job, request: CreationRequest, pool: EnginePool, previews: Previews) -> Result:
    engine = pool.engine(request.category, request.special_fields)
    seed = request.fixed_seed or job.context.get("seed") or new_seed()
    job.details |= {"engine": engine.name, "seed": seed, "ignored_fields": engine.ignored(request)}

    def on_progress(progress: float) -> None:
        job.report(progress)
        job.check()

    references = tuple(_picture(job, path) for path in request.reference_images)
    if request.category == TEXT:
        spec = _clip_spec(request, engine, seed, ratio=request.ratio or Fraction(16, 9))
        spec = replace(spec, references=references, on_picture=previews)
        return _publish(job, spec, engine, engine.from_text(spec, on_progress))
    if request.category == PICTURE:
        picture = _picture(job, request.image_url)
        ratio = request.ratio or fit_ratio(picture.shape[1], picture.shape[0])
        spec = _clip_spec(request, engine, seed, ratio=ratio)
        spec = replace(spec, references=references, on_picture=None if request.tracking_points else previews)
        if request.tracking_points:
            moved = DraggedFrames(picture, request.tracking_points, spec)
            return _publish(job, spec, engine, engine.from_paths(spec, moved, on_progress))
        last = _picture(job, request.last_image_url) if request.last_image_url else None
        return _publish(job, spec, engine, engine.from_picture(spec, picture, on_progress, last))
    with job.input(request.video_url) as file, open_video(file) as video, job.output(".mp4") as target:
        limit = job.settings.creation.max_seconds
        ratio = request.ratio or fit_ratio(*_display_size(video))
        spec = _clip_spec(request, engine, seed, ratio=ratio, duration_seconds=video.duration_seconds or limit)
        spec = replace(spec, references=references)
        redrawing = Redrawing(video, spec, engine, pool.interpolate, on_progress, max_seconds=limit)
        amount = request.work(video.width, video.height, video.frame_rate)
        limited = partial(amount.limited, name=file.name, limits=job.settings.limits)
        report, _ = make_video(job, request, video, target, redrawing.work(limited))
    job.details |= {**engine.details, **_encoding_details(report)}
    return Result(video=target.name)


def _picture(job: Job, path: str) -> Image:
    with job.input(path) as file:
        return read_picture(file)


def _clip_spec(
    request: CreationRequest, engine: Engine, seed: int, *, ratio: Fraction, duration_seconds: float | None = None
) -> ClipSpec:
    return ClipSpec(
        size=size_for(ratio, engine.area, engine.multiple),
        frame_rate=request.fps,
        frame_count=frame_count(request.duration if duration_seconds is None else duration_seconds, request.fps),
        seed=seed,
        movement=request.movement,
        camera=request.camera_move,
        style=request.video_style,
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        guidance=request.guidance,
    )


def _display_size(video: VideoSource) -> tuple[int, int]:
    """Return width and height as a player shows the video."""
    width = round(video.width * Fraction(video.sample_aspect_ratio or 1))
    return (video.height, width) if video.orientation.swaps_sides else (width, video.height)


def _publish(job: Job, spec: ClipSpec, engine: Engine, images: Iterable[Image]) -> Result:
    total = None if engine.reports_progress else spec.frame_count
    with job.output(".mp4") as target:
        report = encode(
            (Frame(image, pts, 1) for pts, image in enumerate(job.watch(images, total))),
            target,
            like=None,
            size=spec.size,
            settings=job.settings,
            label=Label.of(job.settings, target),
            frame_rate=Fraction(spec.frame_rate),
            time_base=Fraction(1, spec.frame_rate),
        )
    job.details |= {**engine.details, **_encoding_details(report)}
    return Result(video=target.name)


def _encoding_details(report: EncodeReport) -> dict[str, object]:
    return {"frames": report.frames, "size": f"{report.width}x{report.height}", "lost": report.lost}
