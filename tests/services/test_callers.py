"""What real callers send, row by row: read as what they mean, or refused with a sentence."""

from fractions import Fraction
from typing import Any

import pytest

from services.creation.request import CreationRequest
from services.facefusion.request import FaceFusionRequest
from services.interpo.request import InterpoRequest
from shared.contract.json_values import parse_object
from shared.errors import Rejected

FACES = {"task_id": 1, "dist_dir": "/m", "source_file": "/m/a.png", "target_file": "/m/b.mp4"}
CLIP = {"task_id": 1, "dist_dir": "/m", "category": 1, "prompt_cn": "海"}

FACE_VALUES: list[tuple[str, object, object]] = [
    ("face_analyse_age", "none", ""),
    ("face_analyse_age", "All", ""),
    ("face_analyse_age", "ADULT", "adult"),
    ("face_analyse_age", "儿童", "child"),
    ("face_analyse_gender", "none", ""),
    ("face_analyse_gender", "all", ""),
    ("face_analyse_gender", " Male ", "male"),
    ("face_analyse_gender", "男", "male"),
    ("face_analyse_gender", "女", "female"),
    ("face_analyse_gender", "女性", "female"),
    ("face_analyse_order", "Left-Right", "left-right"),
    ("face_analyse_order", "large_small", "large-small"),
    ("face_analyse_order", "best worst", "best-worst"),
    ("face_analyse_order", "none", "left-right"),
    ("face_selector_mode", "One", "one"),
    ("face_selector_mode", "ＭＡＮＹ", "many"),
    ("face_selector_mode", "all", "many"),
    ("face_selector_mode", "none", "reference"),
    ("reference_face_position", "99", 99),
]
RATIOS: list[tuple[object, str | None]] = [
    (1.7777, "1.7777"),
    ("1.777", "1.777"),
    (1, "1"),
    ("1024:576", "16/9"),
    ("4:5", "4/5"),
    ("16/9", "16/9"),
    ("16x9", "16/9"),
    ("16X9", "16/9"),
    ("16×9", "16/9"),
    ("16：9", "16/9"),
    (0, None),  # Go's zero value
    ("", None),
]
CAMERAS: list[tuple[object, str]] = [
    ({}, ""),
    ({"zoom": "in"}, "zoom in"),
    ({"pan": None, "zoom": "out"}, "zoom out"),
    ({"pan": "left", "zoom": ""}, "pan left"),
    ('{"zoom": "in"}', "zoom in"),
    ("none", ""),
    ("Zoom In", "zoom in"),
    ("dolly in", "zoom in"),
    ("zoom in pan left", "zoom in, pan left"),
]


@pytest.mark.parametrize(("field", "sent", "meant"), FACE_VALUES)
def test_words_of_face_fusion_are_read_as_callers_write_them(field: str, sent: object, meant: object) -> None:
    read = FaceFusionRequest.model_validate(FACES | {field: sent})
    assert getattr(read, field) == meant
    assert FaceFusionRequest.model_validate_json(read.model_dump_json()) == read


@pytest.mark.parametrize(
    "field", ["face_analyse_age", "face_analyse_gender", "face_analyse_order", "face_selector_mode"]
)
@pytest.mark.parametrize("sent", ["nobody", 5, True, {}])
def test_other_words_are_refused_with_the_list(field: str, sent: object) -> None:
    with pytest.raises(Rejected, match="one of"):
        FaceFusionRequest.model_validate(FACES | {field: sent})


@pytest.mark.parametrize(("sent", "meant"), RATIOS)
def test_an_aspect_ratio_is_a_pair_or_a_number(sent: object, meant: str | None) -> None:
    read = CreationRequest.model_validate(CLIP | {"category": 2, "image_url": "/m/a.png", "aspect_ratio": sent})
    assert read.ratio == (None if meant is None else Fraction(meant))
    assert CreationRequest.model_validate_json(read.model_dump_json()) == read


@pytest.mark.parametrize("sent", [3, "0.3", "16:", "16:9:1", "a:b", -1, True, [], "1e0"])
def test_what_is_no_ratio_is_refused(sent: object) -> None:
    with pytest.raises(Rejected, match="aspect_ratio"):
        CreationRequest.model_validate(CLIP | {"aspect_ratio": sent})


@pytest.mark.parametrize(("sent", "meant"), CAMERAS)
def test_a_camera_is_words_or_an_object_of_them(sent: object, meant: str) -> None:
    read = CreationRequest.model_validate(CLIP | {"camera": sent})
    assert read.camera == meant
    assert CreationRequest.model_validate_json(read.model_dump_json()) == read


@pytest.mark.parametrize("sent", ["dolly", "环绕", {"orbit": "left"}, {"zoom": {"a": 1}}, [], 5])
def test_what_no_camera_does_is_refused_with_a_sentence(sent: object) -> None:
    with pytest.raises(Rejected):
        CreationRequest.model_validate(CLIP | {"camera": sent})


@pytest.mark.parametrize(("sent", "fixed"), [(-1, None), ("-1", None), (0, None), (7, 7), (-2, -2)])
def test_a_seed_of_minus_one_is_drawn(sent: object, fixed: int | None) -> None:
    assert CreationRequest.model_validate(CLIP | {"seed": sent}).fixed_seed == fixed


@pytest.mark.parametrize("rate", [3, 1, "x2", 2.5])
def test_a_rate_that_the_document_excludes_is_refused(rate: object) -> None:
    with pytest.raises(Rejected, match="rate"):
        InterpoRequest.model_validate({"task_id": 1, "dist_dir": "/m", "video_url": "/m/a.mp4", "rate": rate})


def test_numbers_of_a_body_keep_their_digits() -> None:
    body: dict[str, Any] = parse_object(
        b'{"task_id":1,"dist_dir":"/m","category":1,"prompt_cn":"a","aspect_ratio":1.7777,"camera":{"zoom":"in"}}'
    )
    read = CreationRequest.model_validate(body)
    assert (read.aspect_ratio, read.camera) == ("1.7777", "zoom in")
