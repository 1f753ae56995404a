"""Whole requests without a queue: pictures and short videos through preview and generation."""

import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from services.facefusion.face_analysis import SwapContext, gallery_of
from services.facefusion.pipeline import swap_faces
from services.facefusion.portrait import prepare_sources
from services.facefusion.preview import preview_swap
from services.facefusion.request import FaceFusionRequest
from services.facefusion.video_swapper import VideoSwapper
from shared import weights
from shared.arrays import Image
from shared.demo.clips import facts
from shared.errors import JobFailed, UnreadableMedia
from shared.media.decode import open_video
from shared.pipeline.direct_job import DirectJob
from tests.support.clips import ffmpeg
from tests.support.faces import (
    SETTINGS,
    difference,
    frames_of,
    largest,
    man,
    model,
    pair,
    portrait,
    read,
    run,
    save,
    woman,
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return portrait(tmp_path / "in")


def write_video(path: Path, frames: list[Image]) -> Path:
    """A nearly lossless clip of these frames at 24 fps."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=24, options={"crf": "8", "preset": "ultrafast"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def decode(path: Path) -> list[Image]:
    with av.open(path) as container:
        return [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in container.decode(video=0)]


def halves(image: Image) -> tuple[float, float]:
    """How strongly each half of a picture differs from `pair()`."""
    changed = difference(image, pair())
    return float(changed[:, :480].mean()), float(changed[:, 480:].mean())


# Previews


def test_a_preview_brings_the_frame_and_a_crop_of_every_face_in_order(tmp_path: Path, source: Path) -> None:
    target = save(tmp_path / "in" / "pair.png", pair())

    result, job = run(tmp_path / "out", source, target)
    mirrored, _ = run(tmp_path / "out", source, target, face_analyse_order="right-left")

    preview = read(tmp_path / "out" / result.preview)
    assert preview.shape == pair().shape
    assert result.preview.endswith(".jpg")
    assert result.video == ""
    assert len(result.references) == 2
    crops = [read(tmp_path / "out" / name) for name in result.references]
    assert [crop.shape for crop in crops] == [
        read(tmp_path / "out" / name).shape for name in reversed(mirrored.references)
    ]
    assert result.artifact is not None
    assert [face["position"] for face in result.artifact["faces"]] == [0, 1]
    assert job.details["match"]["tracks"]
    faces = job.details["faces"]
    assert [(face["position"], face["size"]) for face in faces] == [(n, [*pair().shape[1::-1]]) for n in (0, 1)]
    assert [face["box"] for face in faces] == [
        pytest.approx(face["bbox"], abs=0.1) for face in result.artifact["faces"]
    ]
    own, other = faces[0]["distances"]
    assert own == pytest.approx(0, abs=1e-3)
    assert 0.25 < other == pytest.approx(faces[1]["distances"][0], abs=1e-3)


def test_a_crop_is_the_box_with_a_quarter_on_every_side(tmp_path: Path, source: Path) -> None:
    target = save(tmp_path / "in" / "man.png", man())

    result, _ = run(tmp_path / "out", source, target)

    width, height = largest(man()).face.size * 1.5
    shape = read(tmp_path / "out" / result.references[0]).shape
    assert shape[:2] == pytest.approx((height, width), abs=2.5)


def test_a_preview_is_of_exactly_the_frame_that_was_asked_for(tmp_path: Path, source: Path) -> None:
    frames = [np.roll(man(), 4 * index, axis=1) for index in range(10)]
    target = write_video(tmp_path / "in" / "moving.mp4", frames)

    for asked, shown in ((0, 0), (6, 6), (9, 9), (500, 9)):
        result, _ = run(
            tmp_path / "out", source, target, frame_number=asked, reference_face_distance=0
        )  # distance 0: nothing is changed
        preview = read(tmp_path / "out" / result.preview)
        errors = [float(difference(preview, frame).mean()) for frame in frames]
        assert int(np.argmin(errors)) == shown
        assert result.artifact is not None
        assert result.artifact["frame"] == shown


def test_a_frame_without_a_match_is_shown_as_it_is_with_its_faces(tmp_path: Path, source: Path) -> None:
    target = save(tmp_path / "in" / "pair.png", pair())

    result, job = run(tmp_path / "out", source, target, reference_face_distance=0)

    assert halves(read(tmp_path / "out" / result.preview)) == pytest.approx((0, 0), abs=2)
    assert len(result.references) == 2
    assert job.details["swapped_frames"] == 0


def test_no_face_in_the_frame_ends_with_that_reason_and_leaves_nothing(tmp_path: Path, source: Path) -> None:
    target = save(tmp_path / "in" / "empty.png", frames_of("clip-no-face", count=1)[0])

    with pytest.raises(JobFailed, match="no face in frame 0"):
        run(tmp_path / "out", source, target)
    assert list((tmp_path / "out").iterdir()) == []


def test_no_face_in_the_source_ends_with_that_reason(tmp_path: Path) -> None:
    empty = save(tmp_path / "in" / "empty.png", frames_of("clip-no-face", count=1)[0])
    target = save(tmp_path / "in" / "man.png", man())

    with pytest.raises(JobFailed, match="source_file shows no face"):
        run(tmp_path / "out", empty, target)


def test_filters_decide_who_is_in_the_gallery(tmp_path: Path, source: Path) -> None:
    target = save(tmp_path / "in" / "pair.png", pair())

    women, _ = run(tmp_path / "out", source, target, face_analyse_gender="female")

    assert len(women.references) == 1
    with pytest.raises(JobFailed, match="passes face_analyse_age"):
        run(tmp_path / "out", source, target, face_analyse_age="child")


# The selection, on a picture of two people


@pytest.mark.parametrize(
    ("fields", "left", "right"),
    [
        ({"reference_face_position": 0}, True, False),
        ({"reference_face_position": 1}, False, True),
        ({"reference_face_position": 0, "face_analyse_order": "right-left"}, False, True),
        ({"reference_face_position": 0, "face_selector_mode": ""}, True, False),
        ({"reference_face_distance": 1.5}, True, True),
        ({"face_selector_mode": "one"}, True, False),
        ({"face_selector_mode": "one", "face_analyse_order": "right-left"}, False, True),
        ({"face_selector_mode": "many"}, True, True),
        ({"face_selector_mode": "many", "face_analyse_gender": "female"}, False, True),
        ({"face_selector_mode": "one", "face_analyse_gender": "female"}, False, True),
    ],
)
def test_the_face_that_was_meant_is_changed(tmp_path: Path, fields: dict[str, Any], *, left: bool, right: bool) -> None:
    target = save(tmp_path / "in" / "pair.png", pair())
    source = save(tmp_path / "in" / "woman.png", np.ascontiguousarray(woman()[:, ::-1]))

    result, _ = run(tmp_path / "out", source, target, programe=1, **fields)

    changed = halves(read(tmp_path / "out" / result.video))
    assert [value > 0.5 for value in changed] == [left, right]


def test_one_person_shown_twice_is_changed_only_where_she_was_picked(tmp_path: Path) -> None:
    doubled = np.hstack([man()[:, 40:520]] * 2)
    target = save(tmp_path / "in" / "doubled.png", doubled)
    source = save(tmp_path / "in" / "woman.png", woman())

    for position, half in ((0, 0), (1, 1)):
        result, _ = run(tmp_path / "out", source, target, programe=1, reference_face_position=position)
        changed = difference(read(tmp_path / "out" / result.video), doubled)
        assert [float(changed[:, :480].mean()) > 0.5, float(changed[:, 480:].mean()) > 0.5].index(True) == half
        assert min(changed[:, :480].mean(), changed[:, 480:].mean()) == 0


def test_distance_zero_ends_with_the_nearest_distance(tmp_path: Path, source: Path) -> None:
    target = save(tmp_path / "in" / "pair.png", pair())

    with pytest.raises(JobFailed) as failed:
        run(tmp_path / "out", source, target, programe=1, reference_face_distance=0)

    assert re.search(r"nearest distance is 0\.0\d\d", str(failed.value))
    assert list((tmp_path / "out").iterdir()) == []


def test_the_reference_of_acceptance_counts_not_the_requests_own_frame(tmp_path: Path) -> None:
    """Position 0 was the woman in the gallery that the user saw; here the man stands first."""
    preview_target = save(tmp_path / "in" / "woman.png", woman())
    source = save(tmp_path / "in" / "other.png", np.ascontiguousarray(woman()[:, ::-1]))
    seen, _ = run(tmp_path / "out", source, preview_target)
    assert seen.artifact is not None

    target = save(tmp_path / "in" / "pair.png", pair())
    result, _ = run(tmp_path / "out", source, target, programe=1, context={"reference": seen.artifact["faces"][0]})

    left, right = halves(read(tmp_path / "out" / result.video))
    assert left < 0.01 < right


def test_a_reference_of_another_embedder_is_embedded_again(tmp_path: Path, source: Path) -> None:
    target = save(tmp_path / "in" / "pair.png", pair())
    seen, _ = run(tmp_path / "out", source, target)
    assert seen.artifact is not None
    stale = seen.artifact["faces"][1] | {"embedder": "other", "embedding": [1.0] * 512}

    result, _ = run(tmp_path / "out", source, target, programe=1, context={"reference": stale})

    left, right = halves(read(tmp_path / "out" / result.video))
    assert left < 0.01 < right


def test_the_largest_face_of_the_source_counts_and_filters_do_not_apply_to_it(tmp_path: Path) -> None:
    small_man = cv2.resize(man(), None, fx=0.5, fy=0.5)
    crowd = np.zeros((360, 960, 3), np.uint8)
    crowd[:180, :320] = small_man
    crowd[:, 480:] = woman()[:, 160:]
    source = save(tmp_path / "in" / "crowd.png", crowd)
    target = save(tmp_path / "in" / "man.png", man())

    result, _ = run(tmp_path / "out", source, target, programe=1, face_analyse_gender="male")

    swapped = read(tmp_path / "out" / result.video)
    embed, points = model().embed, largest(man()).face.landmarks5
    hers = embed(woman(), largest(woman()).face.landmarks5)
    assert embed(swapped, points) @ hers > embed(man(), points) @ hers + 0.2


# Videos


def test_a_video_keeps_its_sound_its_times_and_every_frame(tmp_path: Path, source: Path) -> None:
    target = weights.path("clip-single-face")

    result, job = run(tmp_path / "out", source, target, programe=1, face_selector_mode="many")

    before, after = facts(target), facts(tmp_path / "out" / result.video)
    assert (after.width, after.height, after.frames) == (before.width, before.height, before.frames)
    assert after.frame_rate == before.frame_rate == Fraction(30)
    assert after.sound == before.sound
    assert job.details["swapped_frames"] == 72
    (track,) = job.details["match"]["tracks"]
    assert (track["first_frame"], track["last_frame"], track["swapped_frames"]) == (0, 71, 72)
    assert job.details["nsfw"]["samples"] == 3
    assert set(job.details["audit"]) == {"at", "source_sha256", "target_sha256"}


def test_frames_without_a_match_pass_through_and_a_cut_starts_a_new_track(tmp_path: Path) -> None:
    shots = [man()] * 6 + [woman()] * 6 + [frames_of("clip-no-face", count=1)[0][:360, :640]] * 4
    target = write_video(tmp_path / "in" / "shots.mp4", shots)
    source = save(tmp_path / "in" / "mirror.png", np.ascontiguousarray(woman()[:, ::-1]))

    result, job = run(tmp_path / "out", source, target, programe=1)

    pairs = list(zip(decode(tmp_path / "out" / result.video), decode(target), strict=True))
    his = [float(difference(*pair)[90:280, 230:350].mean()) for pair in pairs[:6]]
    others = [float(difference(*pair)[90:280].mean()) for pair in pairs[6:]]
    assert min(his) > 2 * max(others)  # what differs there is the encoding
    reasons = [entry["reason"] for entry in job.details["match"]["tracks"]]
    assert reasons == ["matched", "too far from the reference"]
    assert job.details["swapped_frames"] == 6


def test_a_video_that_begins_without_a_face_takes_its_reference_from_the_first_one(
    tmp_path: Path, source: Path
) -> None:
    target = write_video(tmp_path / "in" / "fade.mp4", [np.zeros_like(man())] * 4 + [man()] * 4)

    _, job = run(tmp_path / "out", source, target, programe=1)

    assert job.details["reference_frame"] == 4
    assert job.details["swapped_frames"] == 4


def test_nobody_in_a_whole_video_ends_with_that_reason(tmp_path: Path, source: Path) -> None:
    target = write_video(tmp_path / "in" / "empty.mp4", [frames_of("clip-no-face", count=1)[0]] * 4)

    with pytest.raises(JobFailed, match="no face"):
        run(tmp_path / "out", source, target, programe=1)
    with pytest.raises(JobFailed, match="no frame"):
        run(tmp_path / "out", source, target, programe=1, face_selector_mode="many")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_frame_without_a_match_stays_the_very_same_object(tmp_path: Path, source: Path) -> None:
    target = write_video(tmp_path / "in" / "shots.mp4", [man()] * 2 + [woman()] * 2)
    job = DirectJob(tmp_path, SETTINGS)
    body = {"task_id": 1, "dist_dir": str(tmp_path), "source_file": str(source), "target_file": str(target)}
    request = FaceFusionRequest.model_validate(body | {"programe": 1})
    with job.input(str(source)) as portrait_file, job.input(str(target)) as file, open_video(file) as video:
        reference = gallery_of(man(), 0, request, model()).reference(0, model())
        sources = prepare_sources(job, request, model(), {request.source_file: portrait_file})
        context = SwapContext(job, request, model(), sources, (reference,))
        frames = list(video.frames())
        swapped = list(VideoSwapper(context, video).swap(iter(frames)))

    assert [one is other for one, other in zip(swapped, frames, strict=True)] == [False, False, True, True]


def test_nudity_ends_the_job_with_a_clear_sentence_and_leaves_nothing(tmp_path: Path, source: Path) -> None:
    target = write_video(tmp_path / "in" / "man.mp4", [man()] * 4)
    alarmed = replace(model(), nsfw=lambda image: 0.99 if image.shape == man().shape else 0.01)
    body = {"task_id": 1, "dist_dir": str(tmp_path / "out"), "source_file": str(source), "target_file": str(target)}
    (tmp_path / "out").mkdir()

    for programe, work in ((0, preview_swap), (1, swap_faces)):
        request = FaceFusionRequest.model_validate(body | {"programe": programe})
        with pytest.raises(JobFailed, match="look like nudity"):
            DirectJob(tmp_path / "out", SETTINGS).run(work, request, alarmed)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_job_with_another_person_does_not_change_the_next_result(tmp_path: Path, source: Path) -> None:
    hers = save(tmp_path / "in" / "woman.png", woman())
    target = write_video(tmp_path / "in" / "man.mp4", frames_of("clip-single-face", count=6))

    alone, _ = run(tmp_path / "one", source, target, programe=1)
    run(tmp_path / "two", hers, target, programe=1)
    after, _ = run(tmp_path / "three", source, target, programe=1)

    one, three = decode(tmp_path / "one" / alone.video), decode(tmp_path / "three" / after.video)
    assert all(np.array_equal(before, now) for before, now in zip(one, three, strict=True))


# Odd targets and sources


@pytest.mark.parametrize("degrees", [90, 180])
def test_a_rotated_video_is_swapped_as_a_viewer_sees_it(tmp_path: Path, source: Path, degrees: int) -> None:
    lying = np.ascontiguousarray(np.rot90(man(), degrees // 90))  # stored turned, shown upright
    stored = write_video(tmp_path / "in" / "stored.mp4", [lying] * 4)
    target = tmp_path / "in" / "rotated.mp4"
    ffmpeg("-display_rotation", str(-degrees), "-i", stored, "-c", "copy", target)

    preview, _ = run(tmp_path / "out", source, target)
    result, job = run(tmp_path / "out", source, target, programe=1)

    assert read(tmp_path / "out" / preview.preview).shape == man().shape
    assert job.details["swapped_frames"] == 4
    assert decode(tmp_path / "out" / result.video)[0].shape == lying.shape


@pytest.mark.parametrize(("rotation", "flips"), [(0, ["-display_hflip"]), (90, ["-display_hflip"])])
def test_a_mirrored_video_gets_the_same_faces_as_one_that_is_stored_as_shown(
    tmp_path: Path, source: Path, rotation: int, flips: list[str]
) -> None:
    # ffmpeg turns clockwise by -rotation and then mirrors: here this is undone beforehand.
    lying = np.ascontiguousarray(np.rot90(man()[:, ::-1], -rotation // 90))
    stored = write_video(tmp_path / "in" / "stored.mp4", [lying] * 3)
    mirrored = tmp_path / "in" / "mirrored.mp4"
    ffmpeg("-display_rotation", str(rotation), *flips, "-i", stored, "-c", "copy", mirrored)
    plain = write_video(tmp_path / "in" / "plain.mp4", [man()] * 3)

    expected, _ = run(tmp_path / "out", source, plain, programe=1)
    result, _ = run(tmp_path / "out", source, mirrored, programe=1)

    shown = tmp_path / "shown.mp4"
    ffmpeg("-i", tmp_path / "out" / result.video, "-c:v", "libx264", "-crf", "8", shown)  # as a player shows it
    faces = [decode(path)[0] for path in (tmp_path / "out" / expected.video, shown)]
    assert np.percentile(np.abs(faces[0].astype(int) - faces[1]).max(-1), 99) < 24
    assert difference(faces[1], man()).mean() > 0.5


@pytest.mark.parametrize(
    ("suffix", "expected"), [(".png", ".png"), (".jpg", ".jpg"), (".webp", ".webp"), (".gif", ".png")]
)
def test_a_picture_comes_back_in_its_own_format_where_we_write_it(tmp_path: Path, suffix: str, expected: str) -> None:
    target = save(tmp_path / "in" / f"man{suffix}", man())
    source = save(tmp_path / "in" / "woman.png", woman())

    result, _ = run(tmp_path / "out", source, target, programe=1)

    assert result.video.endswith(expected)
    assert read(tmp_path / "out" / result.video).shape == man().shape


def test_ten_bits_stay_ten_bits(tmp_path: Path) -> None:
    target = tmp_path / "in" / "ten.mp4"
    source = save(tmp_path / "in" / "woman.png", woman())
    shallow = write_video(tmp_path / "in" / "man.mp4", frames_of("clip-single-face", count=4))
    ffmpeg("-i", shallow, "-c:v", "libx264", "-pix_fmt", "yuv420p10le", "-crf", "10", target)

    result, job = run(tmp_path / "out", source, target, programe=1)

    assert job.details["swapped_frames"] == 4
    with av.open(tmp_path / "out" / result.video) as container:
        assert container.streams.video[0].pix_fmt == "yuv420p10le"


@pytest.mark.parametrize("programe", [0, 1])
def test_a_position_past_the_end_of_the_requests_own_frame_is_its_last_face_and_says_so(
    tmp_path: Path, source: Path, programe: int
) -> None:
    target = save(tmp_path / "in" / "pair.png", pair())

    _, beyond = run(tmp_path / "out", source, target, programe=programe, reference_face_position=7)
    _, last = run(tmp_path / "out", source, target, programe=programe, reference_face_position=1)
    assert beyond.details["reference_face_position"] == 1
    assert "reference_face_position" not in last.details
    assert beyond.details["match"] == last.details["match"]


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_of_an_animation_one_frame_is_the_source(tmp_path: Path, suffix: str) -> None:
    path = moving(tmp_path / "in" / f"moving{suffix}", [np.zeros_like(man()), woman()])
    target = save(tmp_path / "in" / "man.png", man())
    _, job = run(tmp_path / "out", path, target, programe=1)
    assert job.details["source_frames"] == {"source_file": 1}


def test_an_animation_that_is_no_video_is_no_target(tmp_path: Path, source: Path) -> None:
    path = moving(tmp_path / "in" / "moving.webp", [woman(), man()])
    with pytest.raises(UnreadableMedia, match="is an animation"):
        run(tmp_path / "out", source, path, programe=1)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_lying_face_is_swapped_in_a_picture_and_in_a_film(tmp_path: Path, quarters: int) -> None:
    source = save(tmp_path / "in" / "woman.png", np.ascontiguousarray(np.rot90(woman(), quarters)))
    upright = save(tmp_path / "in" / "man.png", man())
    lying = np.ascontiguousarray(np.rot90(man(), quarters))
    picture = save(tmp_path / "in" / "lying.png", lying)
    film = write_video(tmp_path / "in" / "lying.mp4", [lying] * 3)

    expected, _ = run(tmp_path / "out", source, upright, programe=1)
    result, _ = run(tmp_path / "out", source, picture, programe=1)
    _, job = run(tmp_path / "out", source, film, programe=1)

    swapped = np.rot90(read(tmp_path / "out" / result.video), -quarters)
    assert difference(swapped, man()).mean() > 0.5
    assert difference(swapped, read(tmp_path / "out" / expected.video)).mean() < 1
    assert job.details["swapped_frames"] == 3


def test_an_animated_target_is_a_video(tmp_path: Path, source: Path) -> None:
    target = moving(tmp_path / "in" / "moving.gif", [man(), man()[:, ::-1]])
    result, job = run(tmp_path / "out", source, target, programe=1)
    assert result.video.endswith(".mp4")
    assert job.details["frames"] == job.details["swapped_frames"] == 2


def moving(path: Path, images: list[Image]) -> Path:
    path.parent.mkdir(exist_ok=True)
    pictures = [Pillow.fromarray(image) for image in images]
    pictures[0].save(path, save_all=True, append_images=pictures[1:])
    return path


def test_a_tiny_face_is_found_and_changed(tmp_path: Path, source: Path) -> None:
    canvas = np.full((720, 1280, 3), 120, np.uint8)
    tiny = cv2.resize(woman(), (213, 120))
    canvas[300:420, 500:713] = tiny
    target = save(tmp_path / "in" / "tiny.png", canvas)

    result, _ = run(tmp_path / "out", source, target, programe=1)

    changed = difference(read(tmp_path / "out" / result.video), canvas)
    assert changed[300:420, 500:713].mean() > 0.5
    assert changed[:290].max() == 0


def test_results_say_that_a_machine_made_them(tmp_path: Path, source: Path) -> None:
    target = save(tmp_path / "in" / "man.png", man())

    preview, _ = run(tmp_path / "out", source, target)
    picture, _ = run(tmp_path / "out", source, target, programe=1)

    for name in (preview.preview, picture.video):
        assert b"AIGC" in (tmp_path / "out" / name).read_bytes()
    assert b"AIGC" not in (tmp_path / "out" / preview.references[0]).read_bytes()  # a crop of what was sent
