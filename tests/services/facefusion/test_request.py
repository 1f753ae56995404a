"""What the wire accepts."""

import subprocess
import sys
from typing import Any

import pytest

from services.facefusion.request import FaceFusionRequest
from shared.errors import Rejected

BODY = {"task_id": 1, "dist_dir": "/media/out", "source_file": "/media/a.jpg", "target_file": "/media/b.mp4"}


def read(**fields: object) -> FaceFusionRequest:
    return FaceFusionRequest.model_validate(BODY | fields)


def test_gos_zero_values_mean_the_documented_defaults() -> None:
    zero: dict[str, Any] = {
        "programe": 0,
        "frame_number": 0,
        "reference_face_position": 0,
        "face_selector_mode": "",
        "face_analyse_order": "",
        "face_analyse_age": "",
        "face_analyse_gender": "",
    }
    request = read(**zero)

    assert request == read()
    assert (request.face_selector_mode, request.face_analyse_order) == ("reference", "left-right")
    assert request.reference_face_distance == 0.5


def test_a_sent_distance_of_zero_is_zero() -> None:
    assert read(reference_face_distance=0).reference_face_distance == 0
    assert read(reference_face_distance="0.7").reference_face_distance == 0.7


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("programe", 2, "0, 1"),
        ("frame_number", -1, "from 0"),
        ("reference_face_position", -1, "from 0"),
        ("reference_face_distance", -0.1, "from 0 to 1.5"),
        ("reference_face_distance", 2, "from 0 to 1.5"),
        ("face_selector_mode", "everybody", "reference, one, many"),
        ("face_analyse_order", "random", "left-right, right-left"),
        ("face_analyse_age", "baby", "child, teen, adult, senior"),
        ("face_analyse_gender", "other", "female, male"),
    ],
)
def test_what_is_refused_is_named_with_what_is_allowed(field: str, value: object, said: str) -> None:
    with pytest.raises(Rejected) as refused:
        read(**{field: value})

    assert field in str(refused.value)
    assert said in str(refused.value)


@pytest.mark.parametrize("field", ["source_file", "target_file"])
def test_both_files_are_needed(field: str) -> None:
    with pytest.raises(Rejected, match=field):
        read(**{field: ""})


def test_fields_that_a_request_does_not_use_are_ignored_whatever_they_hold() -> None:
    assert read(programe=1, frame_number=-5).frame_number == 0
    assert read(face_selector_mode="many", reference_face_distance=9).reference_face_distance == 0.5


def test_a_request_is_the_same_after_the_queue() -> None:
    request = read(programe=1, face_analyse_age="adult", reference_face_distance=0)
    assert FaceFusionRequest.model_validate(request.model_dump(mode="json")) == request


def test_the_http_face_loads_no_vision_library() -> None:
    program = (
        "import sys, services.facefusion.service as s; "
        "print(sorted({'cv2', 'onnxruntime', 'torch', 'av', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() in {"[]", "['numpy']"}  # BentoML itself may bring numpy


def test_faces_are_restored_as_the_settings_say_unless_a_percentage_is_sent() -> None:
    assert read().face_enhance is None
    assert read(face_enhance=0).face_enhance == 0
    assert read(face_enhance="55").face_enhance == 55
    for wrong in (101, -1, 5.5, "much"):
        with pytest.raises(Rejected, match="face_enhance must be a whole number from 0 to 100"):
            read(face_enhance=wrong)


def test_only_restoring_needs_no_source_and_everything_else_does() -> None:
    nobody = {name: value for name, value in BODY.items() if name != "source_file"}
    request = FaceFusionRequest.model_validate(nobody | {"enhance_only": 1, "source_file": ""})
    assert request.only_restores
    assert request.source_file == ""
    assert not read(enhance_only=0).only_restores  # Go's zero value
    for unset in ({}, {"enhance_only": 0}, {"enhance_only": ""}):
        with pytest.raises(Rejected, match="source_file"):
            FaceFusionRequest.model_validate(nobody | unset)
    with pytest.raises(Rejected, match="enhance_only must be one of 1"):
        read(enhance_only=2)
    with pytest.raises(Rejected, match="face_enhance must be a whole number from 1 to 100"):
        FaceFusionRequest.model_validate(nobody | {"enhance_only": 1, "face_enhance": 0})


def test_what_was_not_asked_is_not_stored() -> None:
    assert {"face_enhance", "enhance_only"}.isdisjoint(read().model_dump(mode="json"))
    asked = read(face_enhance=0, enhance_only=0)
    assert FaceFusionRequest.model_validate(asked.model_dump(mode="json")) == asked


def test_the_document_still_requires_a_source() -> None:
    described = FaceFusionRequest.model_json_schema()
    assert described["required"] == ["task_id", "dist_dir", "source_file", "target_file"]
    assert described["properties"]["enhance_only"]["enum"] == [1]
    assert described["properties"]["face_enhance"]["maximum"] == 100
