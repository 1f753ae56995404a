"""What is decided when a clip is accepted: whether an engine can make it, whether its source will do, its seed."""

import secrets
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

from services.creation.engine_selection import EngineChoice, check_length, choose_engine
from services.creation.engines.wan.models import LAST, MODELS, REFERENCES
from services.creation.request import PICTURE, TEXT, CreationRequest
from services.creation.tracking import check_paths
from shared.contract.request import TaskRequest
from shared.errors import Rejected
from shared.media.media_info import MediaHeader, MediaKind
from shared.pipeline.work import Work, WorkOf
from shared.settings import Settings

SMALLEST_SIDE = 16  # pixels of a source
_CLASSIC_STATE = 7_500_000  # bytes: one picture of 1024x576 with three numbers of four bytes a pixel
_WINDOW_STATE = 33  # bytes a pixel: eleven pictures, with which the next window begins


def inputs(request: CreationRequest, settings: Settings) -> Mapping[str, MediaKind]:
    """Return the fields that name the request's media, with the kind each must be.

    Raises Rejected where no engine can make the clip.
    """
    choice = choose_engine(request.category, settings, request.special_fields)
    check_length(request, choice, settings)
    named: dict[str, MediaKind] = {}
    if request.category != TEXT:
        named |= {"image_url": "image"} if request.category == PICTURE else {"video_url": "video"}
    if request.last_image_url:
        if choice.engine == "classic" or request.tracking_points:
            raise Rejected("creation_last_image_refused")
        _check_field(LAST, choice)
        named["last_image_url"] = "image"
    if request.reference_images:
        if choice.engine != "wan":
            raise Rejected("creation_references_refused")
        _check_field(REFERENCES, choice)
        named["reference_images"] = "image"
    return named


def _check_field(field: str, choice: EngineChoice) -> None:
    """Raise Rejected for a field that the chosen model cannot act on, with the models that can."""
    if choice.checkpoint and field not in choice.checkpoint.model.fields:
        allowed = ", ".join(model.name for model in MODELS.values() if field in model.fields)
        raise Rejected("creation_field_refused", field=field, model=choice.checkpoint.title, allowed=allowed)


def work_of(request: CreationRequest, settings: Settings) -> WorkOf:
    """Return what becomes of a video's frames, with what the engine keeps from segment to segment.

    Raises Rejected where no engine can make the clip.
    """
    if choose_engine(request.category, settings, request.special_fields).engine == "classic":
        remembered = _CLASSIC_STATE
    else:
        remembered = _WINDOW_STATE * (settings.creation.pixels or max(model.area for model in MODELS.values()))

    def work(width: int, height: int, frame_rate: Fraction | None) -> Work:
        return replace(request.work(width, height, frame_rate), remembered=remembered)

    return work


def check_source(headers: Mapping[str, MediaHeader], settings: Settings) -> None:
    """Raise Rejected for a source with a side under 16 pixels, or a video longer than the settings allow."""
    for field, header in headers.items():
        if min(header.width, header.height) < SMALLEST_SIDE:
            size = {"width": header.width, "height": header.height, "limit": SMALLEST_SIDE}
            raise Rejected("creation_source_too_small", field=field, **size)
        if header.kind == "video" and header.duration_seconds > settings.creation.max_seconds:
            limit = settings.creation.max_seconds
            raise Rejected("creation_video_too_long", seconds=header.duration_seconds, limit=limit)


def check_paths_inside(request: TaskRequest, headers: Mapping[str, MediaHeader]) -> None:
    """Raise Rejected for a drawn path that begins outside of its picture."""
    header = headers.get("image_url")  # None: it is to be fetched, and checked then
    if header and isinstance(request, CreationRequest) and request.tracking_points:
        check_paths("tracking_points", request.tracking_points, header.width, header.height)


def new_seed() -> int:
    """Draw a seed: never 0, which means that none was given."""
    return secrets.randbelow(2**31 - 1) + 1
