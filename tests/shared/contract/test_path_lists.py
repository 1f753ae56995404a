"""What a caller may write for a list of files."""

import pytest

from shared.contract.path_lists import LocalPaths, field_of, named_paths
from shared.errors import Rejected

FIELD = LocalPaths(3)


@pytest.mark.parametrize(
    ("value", "paths"),
    [
        (["/media/a.png", "/media/b.png"], ("/media/a.png", "/media/b.png")),
        (["/media/a.png", "", None], ("/media/a.png",)),
        ('["/media/猫.png"]', ("/media/猫.png",)),
        ("/media/a, b.png", ("/media/a, b.png",)),
        ("[odd]/a.png", ("[odd]/a.png",)),
    ],
)
def test_a_list_a_string_of_json_and_one_path_are_read(value: object, paths: tuple[str, ...]) -> None:
    assert FIELD.read("pictures", value) == paths


@pytest.mark.parametrize("value", [None, "", [], "[]", "null", [""], ["", None]])
def test_nothing_is_not_given(value: object) -> None:
    assert FIELD.not_given(value)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({"a": 1}, "pictures must be a list of local paths, not"),
        ([["/media/a.png"]], "pictures must be a list of local paths, not"),
        (5, "pictures must be a list of local paths, not 5"),
        (["/a", "/b", "/c", "/d"], "pictures may name at most 3 files, not 4"),
        (["/a", 7], r"pictures[1]"),
    ],
)
def test_anything_else_is_refused(value: object, sentence: str) -> None:
    with pytest.raises(Rejected) as refused:
        FIELD.read("pictures", value)
    assert sentence in refused.value.sentence("en")
    assert refused.value.sentence("zh")


def test_the_schema_is_an_array_of_paths() -> None:
    assert FIELD.schema()["type"] == "array"
    assert FIELD.schema()["maxItems"] == 3


def test_each_path_has_the_name_that_a_message_gives_it() -> None:
    assert named_paths("image_url", "/a") == {"image_url": "/a"}
    assert named_paths("pictures", ["/a", "/b"]) == {"pictures[0]": "/a", "pictures[1]": "/b"}
    assert named_paths("pictures", None) == {}


def test_of_a_lists_objects_the_texts_are_named_by_place_and_key_without_the_empty_ones() -> None:
    faces = [{"source_file": "/a", "position": 1}, {"source_file": ""}, {"source_file": "/c", "gender": "male"}]
    named = named_paths("faces", faces)
    assert named == {"faces[0].source_file": "/a", "faces[2].source_file": "/c", "faces[2].gender": "male"}
    assert {field_of(name) for name in named} == {"faces.source_file", "faces.gender"}
    assert field_of("pictures[12]") == "pictures"
