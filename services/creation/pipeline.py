"""Video creation: one request through one engine, frame by frame."""

from collections.abc import Iterable, Iterator
from fractions import Fraction

from services.creation.acceptance import new_seed
from services.creation.aspect import fit_ratio, size_for
from services.creation.engine import Engine, Image, Shot, frame_count
from services.creation.model import Studio
from services.creation.request import PICTURE, TEXT, CreationRequest
from services.creation.source_frames import SourceFootage
from shared.errors import JobFailed
from shared.media.decode import VideoSource, open_video
from shared.media.encode import EncodeReport, encode
from shared.media.frame import Frame
from shared.media.image import read_picture
from shared.media.provenance import Label
from shared.pipeline.job import Job, Result

CLIP_SECONDS = 3


def create_video(job: Job, request: CreationRequest, studio: Studio) -> Result:
    """Make the clip and publish it. A text's or a picture's lasts three seconds, a video's as long as the video."""
    engine = studio.engine(request.category)
    seed = request.seed or job.context.get("seed") or new_seed()
    job.details |= {"engine": engine.name, "seed": seed, "ignored_fields": engine.ignored(request)}

    def step(progress: float) -> None:
        job.report(progress)
        job.check()

    if request.category == TEXT:
        shot = _shot(request, engine, seed, ratio=request.ratio or Fraction(16, 9))
        return _publish(job, shot, engine, engine.from_text(shot, step))
    if request.category == PICTURE:
        with job.input(request.image_url) as file:
            picture = read_picture(file)
        shot = _shot(request, engine, seed, ratio=request.ratio or fit_ratio(picture.shape[1], picture.shape[0]))
        return _publish(job, shot, engine, engine.from_picture(shot, picture, step))
    with job.input(request.video_url) as file, open_video(file) as source:
        limit = job.settings.creation.max_seconds
        ratio = request.ratio or fit_ratio(*_shown_size(source))
        shot = _shot(request, engine, seed, ratio=ratio, duration_seconds=source.duration_seconds or limit)
        footage = SourceFootage(source, shot, studio.between)
        images = _at_most(engine.from_video(shot, footage, step), seconds=limit, frame_rate=shot.frame_rate)
        return _publish(job, shot, engine, images, source)


def _shot(
    request: CreationRequest, engine: Engine, seed: int, *, ratio: Fraction, duration_seconds: float = CLIP_SECONDS
) -> Shot:
    return Shot(
        size=size_for(ratio, engine.area),
        frame_rate=request.fps,
        frame_count=frame_count(duration_seconds, request.fps),
        seed=seed,
        movement=request.movement,
        camera=request.camera_move,
        style=request.video_style,
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        guidance=request.guidance,
    )


def _shown_size(source: VideoSource) -> tuple[int, int]:
    """Return width and height as a player shows the source."""
    width = round(source.width * Fraction(source.sample_aspect_ratio or 1))
    return (source.height, width) if source.rotation % 180 else (width, source.height)


def _publish(
    job: Job, shot: Shot, engine: Engine, images: Iterable[Image], source: VideoSource | None = None
) -> Result:
    counted = None if engine.tells_progress else shot.frame_count
    with job.output(".mp4") as target:
        report = encode(
            _timed(job.watch(images, counted)),
            target,
            like=source,
            size=shot.size,
            settings=job.settings,
            label=Label.of(job.settings, target),
            frame_rate=Fraction(shot.frame_rate),
            time_base=Fraction(1, shot.frame_rate),
            display_oriented=True,
        )
    job.details |= {**engine.details, **_told(report)}
    return Result(video=target.name)


def _at_most(images: Iterable[Image], *, seconds: float, frame_rate: int) -> Iterator[Image]:
    """Stop a video whose header lied about its length; a frame beyond the limit is rounding."""
    for index, image in enumerate(images):
        if index > seconds * frame_rate + 1:
            raise JobFailed("creation_video_too_long", seconds=index / frame_rate, limit=seconds)
        yield image


def _timed(images: Iterable[Image]) -> Iterator[Frame]:
    return (Frame(image, pts, 1) for pts, image in enumerate(images))


def _told(report: EncodeReport) -> dict[str, object]:
    return {"frames": report.frames, "size": f"{report.width}x{report.height}", "lost": report.lost}
