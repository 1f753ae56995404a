"""What is decided when a clip is accepted: that an engine can make it, that its material will do, and its seed."""

import secrets
from collections.abc import Mapping

from services.creation.engine_selection import maker_of
from services.creation.request import PICTURE, TEXT, CreationRequest
from shared.errors import Rejected
from shared.media.media_info import MediaHeader, MediaKind
from shared.settings import Settings

SMALLEST_SIDE = 16  # pixels of a source


def inputs(request: CreationRequest, settings: Settings) -> Mapping[str, MediaKind]:
    """Name the fields whose media the request is made from, and what they must be; Rejected where nobody makes it."""
    maker_of(request.category, settings)
    if request.category == TEXT:
        return {}
    return {"image_url": "image"} if request.category == PICTURE else {"video_url": "video"}


def check_material(headers: Mapping[str, MediaHeader], settings: Settings) -> None:
    """Raise Rejected for a source that is too small to show, or a video longer than is allowed."""
    for field, header in headers.items():
        if min(header.width, header.height) < SMALLEST_SIDE:
            size = {"width": header.width, "height": header.height, "limit": SMALLEST_SIDE}
            raise Rejected("creation_source_too_small", field=field, **size)
        if header.kind == "video" and header.duration_seconds > settings.creation.max_seconds:
            limit = settings.creation.max_seconds
            raise Rejected("creation_video_too_long", seconds=header.duration_seconds, limit=limit)


def new_seed() -> int:
    """Draw a seed: never 0, which means that none was given."""
    return secrets.randbelow(2**31 - 1) + 1
