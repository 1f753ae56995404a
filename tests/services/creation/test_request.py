"""What a caller may write to the creation service, and what it means."""

from fractions import Fraction
from typing import Any

import pytest

from services.creation.aspect import STEP, fit_ratio, parse_ratio, size_for
from services.creation.camera import Camera
from services.creation.request import CreationRequest
from shared.errors import Rejected

PICTURE = {"task_id": 1, "dist_dir": "/media/out", "category": 2, "image_url": "/media/a.png"}
VIDEO = {"task_id": 1, "dist_dir": "/media/out", "category": 3, "video_url": "/media/a.mp4"}
TEXT = {"task_id": 1, "dist_dir": "/media/out", "category": 1, "prompt_cn": "海边的猫"}


def read(body: dict[str, Any], **changes: object) -> CreationRequest:
    return CreationRequest.model_validate(body | changes)


def refusal(body: dict[str, Any], **changes: object) -> str:
    with pytest.raises(Rejected) as refused:
        read(body, **changes)
    return refused.value.sentence("en")


@pytest.mark.parametrize(
    ("text", "camera"),
    [
        ("zoom in", Camera(zoom=1)),
        ("Zoom  OUT", Camera(zoom=-1)),
        ("pan right", Camera(pan_x=1)),
        ("pan up", Camera(pan_y=1)),
        ("pan up-left", Camera(pan_x=-1, pan_y=1)),
        ("pan left down", Camera(pan_x=-1, pan_y=-1)),
        ("tilt-up", Camera(tilt=1)),
        ("rotate cw", Camera(rotate=1)),
        ("rotate clockwise", Camera(rotate=1)),
        ("rotate counter-clockwise", Camera(rotate=-1)),
        ("rotate anticlockwise", Camera(rotate=-1)),
        ("zoom in + pan left, tilt down", Camera(zoom=1, pan_x=-1, tilt=-1)),
        ("zoom in，pan left、rotate ccw", Camera(zoom=1, pan_x=-1, rotate=-1)),
        ('{"pan": "left", "zoom": "in", "tilt": null}', Camera(zoom=1, pan_x=-1)),
        ('{"Pan": "UP-right", "zoom": "none"}', Camera(pan_x=1, pan_y=1)),
        ("镜头推近，向左平移", Camera(zoom=1, pan_x=-1)),
        ("右上移", Camera(pan_x=1, pan_y=1)),
        ("上摇", Camera(tilt=1)),
        ("逆时针旋转", Camera(rotate=-1)),
        ("拉远", Camera(zoom=-1)),
        ("none", Camera()),
        ("Static", Camera()),
        ("固定", Camera()),
        (" , ", Camera()),
        ("{}", Camera()),
        ('{"pan": null, "zoom": "", "tilt": "Static"}', Camera()),
        ("left", Camera(pan_x=-1)),
        ("Up-Left", Camera(pan_x=-1, pan_y=1)),
        ("clockwise", Camera(rotate=1)),
        ("ccw", Camera(rotate=-1)),
        ("左", Camera(pan_x=-1)),
        ("镜头上升", Camera(pan_y=1)),
        ("zoom in pan left", Camera(zoom=1, pan_x=-1)),
        ("pan up left zoom-out", Camera(zoom=-1, pan_x=-1, pan_y=1)),
        ("zoom in and then tilt up; rotate cw", Camera(zoom=1, tilt=1, rotate=1)),
        ("镜头推近并左移", Camera(zoom=1, pan_x=-1)),
        ("推近 右上移 逆时针", Camera(zoom=1, pan_x=1, pan_y=1, rotate=-1)),
        ("dolly in", Camera(zoom=1)),
        ("dolly out", Camera(zoom=-1)),
        ("truck right, push in", Camera(pan_x=1, zoom=1)),
    ],
)
def test_camera_words_mean_what_a_film_maker_means(text: str, camera: Camera) -> None:
    assert Camera.parse(text) == camera
    assert Camera.parse(str(camera)) == camera


@pytest.mark.parametrize("text", ["fly", "zoom", "pan", "in", "zoom in please", '{"pan": 1}', '{"pan":', "{}{", "[]"])
def test_an_unknown_camera_word_is_refused_with_the_allowed_ones(text: str) -> None:
    sentence = refusal(PICTURE, camera=text)
    for word in ("camera", "zoom in/out", "pan left/right/up/down", "up-left", "tilt up/down", "rotate cw/ccw", "none"):
        assert word in sentence


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("orbit", "pan left, pan right"),
        ("环绕", "pan left, pan right"),
        ("镜头环绕主体", "pan left, pan right"),
        ("dolly", "zoom in, zoom out"),
        ("zoom", "zoom in, zoom out"),
        ("pan", "pan left, pan right, pan up, pan down"),
        ("tilt", "tilt up, tilt down"),
        ("旋转", "rotate cw, rotate ccw"),
        ("手持", "none"),
        ("zom in", "zoom in"),
        ("pan rigth", "pan right"),
    ],
)
def test_an_unknown_camera_word_is_answered_with_the_nearest_ones(text: str, nearest: str) -> None:
    assert f"is unknown; nearest to it: {nearest}; allowed are" in refusal(PICTURE, camera=text)


@pytest.mark.parametrize("text", ["rotate left", "and", "zoom in quickly", "pan in", "left" * 100])
def test_what_only_begins_like_a_motion_is_refused(text: str) -> None:
    assert "is unknown" in refusal(PICTURE, camera=text)


def test_the_longest_refusal_of_a_camera_fits_an_answer() -> None:
    families = "pan left, pan right, pan up, pan down"
    for language in ("en", "zh"):
        problem = Rejected("creation_camera_nearest", word="x" * 40, nearest=families)
        assert len(problem.sentence(language)) <= 255


@pytest.mark.parametrize(
    "text", ["zoom in, zoom out", "pan left + pan up-right", "上摇，下摇", "rotate cw、rotate ccw"]
)
def test_opposite_motions_together_are_refused(text: str) -> None:
    assert "opposite" in refusal(PICTURE, camera=text)


def test_an_absurdly_nested_camera_object_is_refused_and_not_a_crash() -> None:
    assert "camera" in refusal(PICTURE, camera='{"pan":' * 20_000)


@pytest.mark.parametrize(
    ("text", "ratio"),
    [
        ("16:9", Fraction(16, 9)),
        ("9：16", Fraction(9, 16)),
        (" 4 : 5 ", Fraction(4, 5)),
        ("2.35:1", Fraction("2.35")),
        ("5:2", Fraction(5, 2)),
        ("2:5", Fraction(2, 5)),
        ("０.４:1", Fraction(2, 5)),
    ],
)
def test_an_aspect_ratio_is_two_numbers_between_2_to_5_and_5_to_2(text: str, ratio: Fraction) -> None:
    assert parse_ratio(text) == ratio
    assert read(TEXT, aspect_ratio=text).ratio == ratio


@pytest.mark.parametrize(
    ("sent", "ratio"),
    [(1.7777, "1.7777"), ("1.777", "1.777"), (1, "1"), ("16/9", "16/9"), ("16x9", "16/9"), ("1024:576", "16/9")],
)
def test_an_aspect_ratio_is_read_as_the_companions_of_this_api_write_it(sent: object, ratio: str) -> None:
    assert read(PICTURE, aspect_ratio=sent).ratio == Fraction(ratio)


@pytest.mark.parametrize("camera", [{}, {"zoom": "in"}, {"pan": None, "zoom": "out"}, '{"pan":"left"}'])
def test_a_camera_may_be_an_object_itself(camera: object) -> None:
    assert read(PICTURE, camera=camera).camera in {"", "zoom in", "zoom out", "pan left"}


@pytest.mark.parametrize("text", ["0:9", "16:0", "3:1", "1:3", "-16:-9", "16:9:1", "a:b", "1e1:9", "16", "NaN:1"])
def test_any_other_aspect_ratio_is_refused(text: str) -> None:
    assert "aspect_ratio must be W:H" in refusal(TEXT, aspect_ratio=text)


@pytest.mark.parametrize(
    "ratio", [Fraction(2, 5), Fraction(9, 16), Fraction(1), Fraction("1.85"), Fraction(21, 9), Fraction(5, 2)]
)
@pytest.mark.parametrize("area", [1024 * 576, 832 * 480, 320 * 192])
def test_every_ratio_has_a_size_within_one_step_of_the_grid(ratio: Fraction, area: int) -> None:
    width, height = size_for(ratio, area)
    assert width % STEP == height % STEP == 0
    assert abs(width - height * ratio) < STEP
    assert 0.85 < width * height / area < 1.15


def test_without_a_ratio_a_text_gets_16_to_9_and_a_source_keeps_its_own_within_the_limits() -> None:
    assert read(TEXT).ratio == Fraction(16, 9)
    assert read(PICTURE).ratio is None
    assert fit_ratio(6000, 1000) == Fraction(5, 2)
    assert fit_ratio(300, 200) == Fraction(3, 2)


def test_zero_values_of_go_are_defaults_where_zero_means_nothing() -> None:
    request = read(PICTURE, fps=0, guidance=0, seed=0, camera="", aspect_ratio="", prompt_cn="", video_style=0)
    assert (request.fps, request.guidance, request.seed, request.camera) == (24, 12, 0, "")


def test_a_missing_movement_is_1_and_a_sent_0_is_0() -> None:
    assert read(PICTURE).movement == 1
    assert read(PICTURE, movement=0).movement == 0
    assert read(PICTURE, movement=None).movement == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"category": 0}, "category"),
        ({"category": 4}, "category must be one of 1, 2, 3"),
        ({"fps": 7}, "fps must be a whole number from 8 to 24"),
        ({"fps": 25}, "fps"),
        ({"guidance": 7}, "guidance must be a whole number from 8 to 24"),
        ({"guidance": 25}, "guidance"),
        ({"movement": -1}, "movement must be a whole number from 0 to 4"),
        ({"movement": 5}, "movement"),
        ({"prompt_cn": "长" * 2001}, "at most 2000 characters"),
        ({"seed": 2**63}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"image_url": ""}, "image_url is required"),
    ],
)
def test_a_bad_field_is_named(changes: dict[str, Any], said: str) -> None:
    assert said in refusal(PICTURE, **changes)


def test_each_category_needs_its_own_source() -> None:
    assert "prompt_cn is required" in refusal(TEXT, prompt_cn="  ")
    assert "image_url is required" in refusal({**PICTURE, "image_url": None})
    assert "video_url is required" in refusal({**VIDEO, "video_url": ""})


def test_fields_that_a_category_does_not_use_are_ignored_whatever_they_hold() -> None:
    assert read(TEXT, image_url=5, video_url=[], video_style=9).video_style == 0
    assert read(PICTURE, video_url=7, video_style="x").video_url == ""
    assert "video_style" in refusal(VIDEO, video_style=9)


def test_the_english_prompt_counts_only_where_the_other_is_empty() -> None:
    assert read(TEXT, prompt_en="a cat").prompt == "海边的猫"
    assert read({**TEXT, "prompt_cn": ""}, prompt_en="a cat").prompt == "a cat"
    assert read(TEXT, prompt_en="x" * 9000).prompt == "海边的猫"
    assert read(TEXT, ng_prompt_en="blurry").negative_prompt == "blurry"


def test_a_request_survives_the_queue() -> None:
    request = read(VIDEO, category="3", camera="推近，左上移", aspect_ratio=" 4：3 ", seed="-5", video_style=2)
    assert CreationRequest.model_validate(request.model_dump(mode="json")) == request
    assert request.camera_move == Camera(zoom=1, pan_x=-1, pan_y=1)


def test_a_duration_is_from_1_to_10_seconds_and_3_without_one() -> None:
    assert read(TEXT).duration == read(PICTURE, duration=0).duration == 3
    assert read(PICTURE, duration="7.5").duration == 7.5
    assert read(VIDEO, duration=99).duration == 3
    assert "duration must be a number from 1 to 10" in refusal(PICTURE, duration=11)
    assert "duration" not in read(PICTURE).model_dump(mode="json")
    request = read(PICTURE, duration=5)
    assert CreationRequest.model_validate(request.model_dump(mode="json")) == request
