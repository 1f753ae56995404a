"""JSON values as callers really send them: what each field type reads, and what it refuses."""

import json
from decimal import Decimal
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contract.fields import Choice, Integer, LocalPath, Number, Text, UsedWhen
from shared.contract.json_values import INT64, parse_object, read_number, read_whole
from shared.contract.request import TaskRequest
from shared.errors import Rejected

TASK: dict[str, Any] = {"task_id": 1, "dist_dir": "/media/out"}


class Example(TaskRequest):
    """One field of every kind."""

    kind: Annotated[int, Choice(1, 2, 3)]
    movement: Annotated[int, Integer(0, 4)] = 1
    fps: Annotated[int, Integer(8, 24)] = 24
    distance: Annotated[float, Number(0, 1.5)] = 0.5
    seed: Annotated[int, Integer()] = 0
    mode: Annotated[str, Choice("reference", "one", "many")] = "reference"
    prompt: Annotated[str, Text(limit=20)] = ""
    image_url: Annotated[str, LocalPath(), UsedWhen("kind", 2, required=True)] = ""
    style: Annotated[int, Choice(0, 1, 2), UsedWhen("kind", 3)] = 0


def read(**fields: object) -> Example:
    return Example.model_validate(TASK | {"kind": 1} | fields)


def refusal(**fields: object) -> str:
    with pytest.raises(Rejected) as caught:
        read(**fields)
    return str(caught.value)


@given(st.integers(*INT64))
def test_an_int64_reads_the_same_as_a_number_a_decimal_and_digits(number: int) -> None:
    for spelling in (str(number), f"{number}.0", f'"{number}"'):
        assert read_whole(parse_object(f'{{"n": {spelling}}}'.encode())["n"]) == number


@given(st.one_of(st.integers(max_value=INT64[0] - 1), st.integers(min_value=INT64[1] + 1)))
def test_nothing_beyond_an_int64_is_a_whole_number(number: int) -> None:
    assert read_whole(number) is None
    assert read_whole(str(number)) is None


@pytest.mark.parametrize(
    "value",
    [
        True,
        False,
        2.5,
        Decimal("2.5"),
        float("nan"),
        float("inf"),
        "2.5",
        "2.0",
        "x",
        " 2",
        "+2",
        "٢",
        "２",
        "",
        [2],
        {},
        None,
    ],
)
def test_what_is_no_whole_number_is_none(value: object) -> None:
    assert read_whole(value) is None


@pytest.mark.parametrize("text", ["1e400", "1e999999999", "-1e999999999999999999999", "9" * 5000, "NaN", "-Infinity"])
def test_an_endless_number_parses_at_once_and_is_no_whole_number(text: str) -> None:
    assert read_whole(parse_object(f'{{"n": {text}}}'.encode())["n"]) is None


@pytest.mark.parametrize(("text", "expected"), [("0" * 5000, 0), ("-" + "0" * 5000 + "7", -7)])
def test_leading_zeros_count_for_nothing(text: str, expected: int) -> None:
    assert read_whole(text) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [(0.5, 0.5), (1, 1.0), ("0.5", 0.5), ("0", 0.0), (Decimal("0.25"), 0.25)]
)
def test_a_number_reads_from_digits_and_decimals(value: object, expected: float) -> None:
    assert read_number(value) == expected


@pytest.mark.parametrize("value", [True, float("nan"), float("inf"), "nan", "1e3", "0,5", [0.5], None])
def test_what_is_no_finite_number_is_none(value: object) -> None:
    assert read_number(value) is None


@pytest.mark.parametrize("body", [b"", b"{", b"{'a': 1}", b"\xff\xfe\xfd", b"[" * 60_000, b'{"a": tru}'])
def test_a_body_that_is_not_json_says_so(body: bytes) -> None:
    with pytest.raises(Rejected, match="not valid JSON"):
        parse_object(body)


@pytest.mark.parametrize("body", [b"[]", b"1", b'"x"', b"null", b"true"])
def test_a_body_that_is_no_object_says_so(body: bytes) -> None:
    with pytest.raises(Rejected, match="one flat JSON object"):
        parse_object(body)


def test_a_byte_order_mark_does_not_matter() -> None:
    assert parse_object(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}


@pytest.mark.parametrize("zero", [None, "", 0, 0.0, "0"])
def test_a_zero_value_means_not_given_where_the_field_has_no_documented_zero(zero: object) -> None:
    assert read(fps=zero).fps == 24
    assert refusal(kind=zero) == "kind is required: one of 1, 2, 3"


@pytest.mark.parametrize("zero", [0, 0.0, "0", Decimal("0.0")])
def test_a_sent_zero_is_a_zero_where_it_is_documented(zero: object) -> None:
    request = read(movement=zero, distance=zero)
    assert (request.movement, request.distance) == (0, 0.0)


@pytest.mark.parametrize("nothing", [None, ""])
def test_null_and_the_empty_string_are_never_a_zero(nothing: object) -> None:
    request = read(movement=nothing, distance=nothing, mode=nothing, prompt=nothing)
    assert (request.movement, request.distance, request.mode, request.prompt) == (1, 0.5, "reference", "")


def test_a_text_of_the_digit_zero_is_a_text() -> None:
    assert read(prompt="0").prompt == "0"
    assert refusal(mode="0") == 'mode must be one of reference, one, many, not "0"'


@pytest.mark.parametrize("anything", [99, "x", True, float("nan"), [1], {"a": "\ud800"}, "\0", "9" * 5000])
def test_a_field_that_the_kind_does_not_use_is_ignored_whatever_it_holds(anything: object) -> None:
    request = read(kind=1, image_url=anything, style=anything)
    assert (request.image_url, request.style) == ("", 0)


def test_a_field_that_the_kind_uses_is_read() -> None:
    assert read(kind="3", style=2).style == 2
    assert refusal(kind=3, style=9) == "style must be one of 0, 1, 2, not 9"
    assert read(kind=2, image_url="/media/a.png").image_url == "/media/a.png"
    assert refusal(kind=2) == "image_url is required: an absolute local path"


def test_a_wrong_kind_is_named_before_what_depends_on_it() -> None:
    assert refusal(kind=9, style="x", image_url=5) == "kind must be one of 1, 2, 3, not 9"


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "x\udfff"])
def test_a_text_that_postgresql_cannot_store_is_refused(text: str) -> None:
    assert refusal(prompt=text) == "prompt must not contain NUL or unpaired surrogates"


def test_a_surrogate_pair_is_one_character() -> None:
    assert (
        Example.model_validate(parse_object(rb'{"task_id":1,"dist_dir":"/m","kind":1,"prompt":"\ud83c\udfac"}')).prompt
        == "🎬"
    )


def test_a_text_may_have_as_many_characters_as_documented() -> None:
    assert read(prompt="长" * 20).prompt == "长" * 20
    assert refusal(prompt="长" * 21) == "prompt may have at most 20 characters, it has 21"


def test_a_refused_value_is_repeated_but_not_at_length() -> None:
    assert len(refusal(kind="x" * 5000)) < 100


def test_unknown_fields_are_ignored() -> None:
    assert read(colour="red", model_config="x") == read()


def test_the_last_of_two_equal_keys_counts_as_in_go() -> None:
    assert parse_object(b'{"a": 1, "a": 2}') == {"a": 2}


@given(
    st.fixed_dictionaries(
        {"kind": st.sampled_from([1, 2.0, "3"]), "task_id": st.integers(1, INT64[1]), "image_url": st.just("/m/a.png")},
        optional={
            "movement": st.sampled_from([0, "4", 2.0, None]),
            "distance": st.floats(0, 1.5) | st.sampled_from(["0.1", 1, 0]),
            "seed": st.integers(*INT64),
            "prompt": st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
            "style": st.sampled_from([0, 1, "2", ""]),
        },
    )
)
def test_a_request_survives_being_stored_and_read_again(fields: dict[str, Any]) -> None:
    """The queue keeps `model_dump(mode="json")`; the runner validates it."""
    request = Example.model_validate(TASK | fields)
    stored = json.loads(json.dumps(request.model_dump(mode="json")))
    assert Example.model_validate(stored) == request
    assert Example.model_validate_json(request.model_dump_json()) == request


def test_the_schema_documents_the_plain_types() -> None:
    fields = Example.model_json_schema()["properties"]
    assert fields["kind"]["enum"] == [1, 2, 3]
    assert (fields["fps"]["type"], fields["fps"]["minimum"], fields["fps"]["maximum"]) == ("integer", 8, 24)
    assert fields["distance"]["type"] == "number"
    assert fields["prompt"]["maxLength"] == 20
    assert Example.model_json_schema()["required"] == ["task_id", "dist_dir", "kind"]
