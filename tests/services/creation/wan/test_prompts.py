"""What the fields of a request become before a model sees them: prompts, its scale of guidance, lengths of runs."""

from dataclasses import replace
from itertools import pairwise

import pytest

from services.creation.camera import Camera
from services.creation.engine import ClipSpec
from services.creation.engines.wan.generation_request import model_guidance, native_length, whole_groups
from services.creation.engines.wan.prompts import FLAWS, MOVEMENT, STYLE, negative_prompt, prompt
from services.creation.request import ANIME, PIXEL, CreationRequest

SPEC = ClipSpec(
    size=(832, 480),
    frame_rate=24,
    frame_count=72,
    seed=1,
    movement=1,
    camera=Camera(),
    style=0,
    prompt="海边的猫",
    negative_prompt="",
    guidance=12,
)


def test_a_prompt_stands_first_and_untouched_in_its_own_language() -> None:
    assert prompt(SPEC).startswith("海边的猫，")
    assert prompt(replace(SPEC, prompt="A cat by the sea")).startswith("A cat by the sea, ")
    assert "camera" not in prompt(SPEC)


def test_every_movement_is_said_in_its_own_words() -> None:
    for words in ("海边的猫", "a cat"):
        said = [prompt(replace(SPEC, prompt=words, movement=movement)) for movement in range(5)]
        assert len(set(said)) == 5
    assert MOVEMENT["zh"][4] in prompt(replace(SPEC, movement=4))


@pytest.mark.parametrize(
    ("camera", "words"),
    [
        (Camera(zoom=1), ["推近"]),
        (Camera(pan_x=-1, pan_y=1), ["向左平移", "向上移动"]),
        (Camera(tilt=-1, rotate=1), ["向下摇", "顺时针"]),
        (Camera(), ["固定镜头"]),
    ],
)
def test_a_camera_is_said_motion_by_motion(camera: Camera, words: list[str]) -> None:
    assert all(word in prompt(replace(SPEC, camera=camera)) for word in words)


def test_a_style_is_said_and_nothing_forbids_it() -> None:
    for style in (ANIME, PIXEL):
        assert STYLE["zh"][style] in prompt(replace(SPEC, style=style))
    assert not any(word in FLAWS["zh"] for word in ("风格", "作品", "画作"))


def test_a_video_speaks_of_no_movement_for_it_has_its_own() -> None:
    assert prompt(replace(SPEC, prompt=""), movement=False) == ""
    assert negative_prompt(SPEC, movement=False) == FLAWS["zh"]


def test_a_negative_prompt_replaces_the_list_of_flaws() -> None:
    assert negative_prompt(SPEC).startswith(FLAWS["zh"])
    assert negative_prompt(replace(SPEC, negative_prompt="雨，雾")).startswith("雨，雾，")
    assert FLAWS["zh"] not in negative_prompt(replace(SPEC, negative_prompt="雨，雾"))


def test_clips_with_much_movement_avoid_stillness_and_calm_ones_do_not() -> None:
    assert "静止" in negative_prompt(replace(SPEC, movement=4))
    assert "静止" not in negative_prompt(replace(SPEC, movement=0))


def test_english_prompts_are_used_only_where_the_others_are_empty() -> None:
    body = {"task_id": 1, "dist_dir": "/m", "category": 1}
    both = CreationRequest.model_validate(body | {"prompt_cn": "猫", "prompt_en": "a cat", "ng_prompt_en": "rain"})
    assert (both.prompt, both.negative_prompt) == ("猫", "rain")
    assert CreationRequest.model_validate(body | {"prompt_cn": "", "prompt_en": "a cat"}).prompt == "a cat"


def test_guidance_is_mapped_on_the_models_own_optimum() -> None:
    assert [model_guidance(wire, 5.0) for wire in (8, 10, 12, 18, 24)] == pytest.approx([3.0, 4.0, 5.0, 6.25, 7.5])
    every = [model_guidance(wire, 5.0) for wire in range(8, 25)]
    assert all(less < more for less, more in pairwise(every))
    assert min(every) > 1  # at 1 a negative prompt would do nothing


@pytest.mark.parametrize(("frames", "length"), [(0.5, 1), (1, 1), (2, 5), (12, 13), (48, 49), (49, 49), (50, 53)])
def test_a_run_is_never_shorter_than_what_it_must_fill(frames: float, length: int) -> None:
    assert whole_groups(frames) == length


@pytest.mark.parametrize("fps", range(8, 25))
def test_three_seconds_are_49_frames_at_any_rate(fps: int) -> None:
    assert native_length(3 * fps, fps, 16) == 49
