"""What a runner checks of fetched inputs is what the HTTP face checks of local ones."""

from fractions import Fraction
from typing import Any

import pytest

from services.creation import runner as creation
from services.facefusion import runner as facefusion
from services.interpo import runner as interpo
from services.upscale import runner as upscale
from shared.errors import Rejected
from shared.media.media_info import MediaHeader
from shared.runner.task_handler import TaskHandler
from shared.settings import LimitSettings, Settings

URL = "https://cdn.example.com/a.mp4"
BODY = {"task_id": 1, "dist_dir": "/out"}
VIDEO = MediaHeader("video", 1920, 1080, 8, frame_rate=Fraction(24), frame_count=240, duration_seconds=10.0)
PICTURE = MediaHeader("image", 640, 480, 8)


def checked(handler: TaskHandler, body: dict[str, Any], headers: dict[str, MediaHeader], **limits: Any) -> Any:
    settings = Settings(limits=LimitSettings(**limits))
    names = dict.fromkeys(headers, "a.mp4")
    return handler.check_fetched(handler.request.model_validate(BODY | body), headers, names, settings)


@pytest.mark.parametrize(
    ("handler", "body", "field", "frames"),
    [
        (upscale.generate, {"video_url": URL, "ratio": 2}, "video_url", 240),
        (interpo.generate, {"video_url": URL, "rate": 4}, "video_url", 960),
        (facefusion.generate, {"source_file": URL, "target_file": URL, "programe": 1}, "target_file", 240),
        (creation.generate, {"category": 3, "video_url": URL}, "video_url", 240),
    ],
)
def test_the_work_of_a_fetched_video_is_told_and_limited(
    *, handler: Any, body: dict[str, Any], field: str, frames: int
) -> None:
    assert checked(handler(), body, {field: VIDEO})["work"]["frames"] == frames
    with pytest.raises(Rejected) as refused:
        checked(handler(), body, {field: VIDEO}, max_task_megapixels=100)
    assert refused.value.key == "too_much_work"
    assert "a.mp4" in str(refused.value)


def test_a_preview_reads_one_frame_of_whatever_length() -> None:
    body = {"source_file": URL, "target_file": URL}
    assert checked(facefusion.preview(), body, {"target_file": VIDEO}, max_task_megapixels=0.1) == {}


def test_a_fetched_source_of_a_clip_is_checked_as_a_local_one() -> None:
    handler = creation.generate()
    long = MediaHeader("video", 64, 64, 8, frame_rate=Fraction(24), frame_count=2400, duration_seconds=100.0)
    for body, headers, key in (
        ({"category": 3, "video_url": URL}, {"video_url": long}, "creation_video_too_long"),
        (
            {"category": 2, "image_url": URL},
            {"image_url": MediaHeader("image", 15, 15, 8)},
            "creation_source_too_small",
        ),
        (
            {"category": 2, "image_url": URL, "tracking_points": [[[700, 10], [10, 10]]]},
            {"image_url": PICTURE},
            "creation_points_outside",
        ),
    ):
        with pytest.raises(Rejected) as refused:
            checked(handler, body, headers)
        assert refused.value.key == key
    assert checked(handler, {"category": 2, "image_url": URL}, {"image_url": PICTURE}) == {}
