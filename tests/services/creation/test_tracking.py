"""Paths drawn over a picture: the ways to write them, and what is refused."""

import json
from typing import Any

import pytest

from services.creation.request import CreationRequest, TrackingRequest
from services.creation.tracking import Paths, in_pixels
from shared.errors import Rejected
from shared.http.openapi import describe

BODY = {"task_id": 1, "dist_dir": "/media/out", "image_url": "/media/a.png", "tracking_points": [[[1, 2], [30, 40]]]}
PATH: Paths = (((1.0, 2.0), (30.0, 40.0)),)


def refusal(points: object) -> str:
    with pytest.raises(Rejected) as refused:
        TrackingRequest.model_validate(BODY | {"tracking_points": points})
    assert refused.value.sentence("zh")
    return refused.value.sentence("en")


@pytest.mark.parametrize(
    "points",
    [
        [[[1, 2], [30, 40]]],
        [[1, 2], [30, 40]],
        [{"x": 1, "y": 2}, {"x": 30, "y": 40}],
        [[{"x": "1", "y": 2.0}, {"x": 30, "y": 40, "t": 5}]],
        [{"points": [[1, 2], [30, 40]]}, []],
        "[[[1,2],[30,40]]]",
    ],
)
def test_paths_are_read_however_they_are_written(points: object) -> None:
    assert TrackingRequest.model_validate(BODY | {"tracking_points": points}).tracking_points == PATH


@pytest.mark.parametrize(
    "points",
    ["right", 5, [5], [[1, 2, 3]], [[[1, 2], [3]]], [[[1, "a"]]], [[[1, True], [2, 2]]], "[" * 30_000, {"x": 1}],
)
def test_what_is_no_path_is_refused_with_an_example(points: object) -> None:
    assert "tracking_points must be paths of points" in refusal(points)


@pytest.mark.parametrize("points", [None, "", [], "[]", [[]]])
def test_paths_that_were_not_given_are_asked_for(points: object) -> None:
    assert "tracking_points is required" in refusal(points)


def test_paths_that_move_nothing_and_endless_ones_are_refused() -> None:
    assert "moves nothing" in refusal([[[5, 5]], [[6, 6], [6, 6]]])
    assert "at most 32 paths" in refusal([[[1, 1], [2, 2]]] * 33)
    assert "at most" in refusal([[[1, index] for index in range(1001)]])


def test_numbers_up_to_1_are_parts_of_the_sides_and_others_are_pixels() -> None:
    assert in_pixels((((0.5, 0.5), (1.0, 0.25)),), 200, 100) == (((100.0, 50.0), (200.0, 25.0)),)
    assert in_pixels(PATH, 200, 100) == PATH


def test_a_tracking_request_is_a_creation_from_a_picture() -> None:
    sent: dict[str, Any] = BODY | {"fps": 0, "movement": 3, "camera": {"zoom": "in"}, "seed": -1}
    request = TrackingRequest.model_validate(sent).as_creation()
    assert (request.category, request.fps, request.movement, request.camera) == (2, 24, 3, "zoom in")
    assert request.tracking_points == PATH
    assert request.fixed_seed is None
    assert CreationRequest.model_validate(json.loads(request.model_dump_json())) == request


def test_a_creation_without_paths_is_stored_as_before() -> None:
    request = CreationRequest.model_validate({"task_id": 1, "dist_dir": "/o", "category": 1, "prompt_cn": "猫"})
    assert "tracking_points" not in request.model_dump(mode="json")


def test_the_paths_are_documented() -> None:
    document = describe({"/api/ai/creation": CreationRequest, "/api/ai/tracking_creation": TrackingRequest})
    schemas = document["components"]["schemas"]
    assert "tracking_points" in schemas["TrackingRequest"]["required"]
    assert "tracking_points" not in schemas["CreationRequest"]["required"]
    assert "paths of points" in schemas["TrackingRequest"]["properties"]["tracking_points"]["description"]
