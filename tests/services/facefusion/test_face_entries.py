"""What `faces` may hold."""

import json
from typing import Any

import pytest

from services.facefusion.face_entries import MOST_ENTRIES, FaceEntry
from services.facefusion.request import FaceFusionRequest
from shared.contract.path_lists import all_named_paths
from shared.errors import Rejected

BODY = {"task_id": 1, "dist_dir": "/media/out", "target_file": "/media/b.mp4"}
WITH_SOURCE = BODY | {"source_file": "/media/a.jpg"}
TWO = [
    {"source_file": "/media/one.jpg", "reference_face_position": 1},
    {
        "source_file": "/media/two.jpg",
        "reference_face_position": 0,
        "face_analyse_gender": "女",
        "reference_face_distance": "0.7",
    },
]


def read(faces: object, **fields: object) -> FaceFusionRequest:
    return FaceFusionRequest.model_validate(BODY | {"faces": faces} | fields)


def refusal(faces: object, **fields: object) -> str:
    with pytest.raises(Rejected) as refused:
        read(faces, **fields)
    assert refused.value.sentence("zh") != refused.value.sentence("en")
    return str(refused.value)


def test_a_request_without_faces_is_stored_as_before_and_is_one_entry_of_its_own_fields() -> None:
    plain = FaceFusionRequest.model_validate(WITH_SOURCE | {"reference_face_position": 3, "face_analyse_age": "adult"})

    assert "faces" not in plain.model_dump(mode="json")
    assert list(plain.model_dump(mode="json")) == [
        "task_id",
        "dist_dir",
        "programe",
        "source_file",
        "target_file",
        "frame_number",
        "face_selector_mode",
        "reference_face_position",
        "reference_face_distance",
        "face_analyse_order",
        "face_analyse_age",
        "face_analyse_gender",
    ]
    (entry,) = plain.entries
    assert (entry.field, entry.source_file, entry.position, entry.distance) == ("source_file", "/media/a.jpg", 3, 0.5)
    assert (entry.age, entry.gender) == ("adult", "")


@pytest.mark.parametrize("nothing", [None, "", [], "[]", "null"])
def test_no_entries_are_no_faces(nothing: object) -> None:
    assert FaceFusionRequest.model_validate(WITH_SOURCE | {"faces": nothing}).faces == ()
    assert "source_file" in refusal(nothing)


@pytest.mark.parametrize("spell", [lambda faces: faces, json.dumps])
def test_entries_are_read_with_the_requests_own_values_for_what_they_leave_out(spell: Any) -> None:
    first, second = read(spell(TWO), face_analyse_age="adult", reference_face_distance=0.4).entries

    assert (first.field, first.source_file) == ("faces[0].source_file", "/media/one.jpg")
    assert (first.position, first.distance, first.age, first.gender) == (1, 0.4, "adult", "")
    assert (second.position, second.distance, second.age, second.gender) == (0, 0.7, "adult", "female")


def test_the_place_in_the_list_is_the_position_of_an_entry_that_names_none() -> None:
    faces = [{"source_file": f"/media/{name}.jpg"} for name in "abc"]
    assert [entry.position for entry in read(faces).entries] == [0, 1, 2]


def test_one_object_alone_is_a_list_of_one() -> None:
    assert read({"source_file": "/media/one.jpg"}).faces == (FaceEntry("/media/one.jpg"),)


def test_an_entry_without_a_source_has_that_of_the_request() -> None:
    first, second = read([TWO[0], {"reference_face_position": 4}], source_file="/media/a.jpg").entries
    assert (first.source_file, second.source_file) == ("/media/one.jpg", "/media/a.jpg")
    assert second.field == "source_file"
    assert "faces[1].source_file" in refusal([TWO[0], {"reference_face_position": 4}])


def test_a_request_is_the_same_after_the_queue() -> None:
    for fields in ({}, {"source_file": "/media/a.jpg"}):
        request = read(
            [{"source_file": "/media/b.jpg"}, {"source_file": "/media/c.jpg", "face_analyse_age": "老人"}], **fields
        )
        stored = json.loads(json.dumps(request.model_dump(mode="json")))
        assert FaceFusionRequest.model_validate(stored) == request
        assert {name for name in all_named_paths(stored) if name.endswith("source_file")} == {
            *(f"faces[{index}].source_file" for index in (0, 1)),
            *fields,
        }


@pytest.mark.parametrize(
    ("faces", "said"),
    [
        ("everybody", "faces must be a list of objects"),
        (7, "faces must be a list of objects"),
        (["/media/one.jpg"], "faces[0] must be an object"),
        ([None], "faces[0] must be an object"),
        ([TWO[0], {"source": "/media/two.jpg"}], 'faces[1] must not contain "source"'),
        ([{"source_file": 3}], "faces[0].source_file"),
        ([{"source_file": "/a", "reference_face_position": -1}], "faces[0].reference_face_position"),
        ([{"source_file": "/a", "reference_face_distance": 2}], "from 0 to 1.5"),
        ([{"source_file": "/a", "face_analyse_gender": "other"}], "female, male"),
        ([{"source_file": "/a", "face_analyse_age": "baby"}], "child, teen, adult, senior"),
        ([{"source_file": "/a"}] * (MOST_ENTRIES + 1), f"at most {MOST_ENTRIES} entries, not {MOST_ENTRIES + 1}"),
        ([{"source_file": "/a", "reference_face_position": 2}] * 2, "faces[1] and faces[0] both mean"),
        ([{"source_file": "/a", "reference_face_position": 1}, {"source_file": "/b"}], "reference_face_position 1"),
    ],
)
def test_what_is_refused_is_named_with_its_place(faces: object, said: str) -> None:
    assert said in refusal(faces)


def test_where_no_reference_is_used_two_entries_may_have_one_position() -> None:
    same = [{"source_file": "/a", "reference_face_position": 2}] * 2
    assert len(read(same, face_selector_mode="many").entries) == 2


def test_the_schema_names_the_fields_of_an_entry() -> None:
    described = FaceFusionRequest.model_json_schema()
    faces = described["properties"]["faces"]
    assert faces["maxItems"] == MOST_ENTRIES
    assert set(faces["items"]["properties"]) == set(FaceEntry.__dataclass_fields__)
    assert faces["items"]["properties"]["face_analyse_gender"]["enum"] == ["female", "male"]
    assert "default" not in described["properties"]["source_file"]
    assert described["required"] == ["task_id", "dist_dir", "source_file", "target_file"]


def test_where_faces_are_only_restored_no_entry_needs_a_source() -> None:
    request = read([{}, {"source_file": "/media/b.jpg"}], enhance_only=1)
    assert [entry.position for entry in request.entries] == [0, 1]
    assert request.only_restores
