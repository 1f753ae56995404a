"""Segments that are no longer what was kept, were made otherwise, or belong to a source that has changed."""

import logging
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.errors import JobFailed
from shared.media.frame import Frame
from shared.media.frame_range import FrameRange
from shared.settings import EncodingSettings, LimitSettings
from tests.support.segmented_work import SETTINGS, Attempts, Model, contents, edited


def linked(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (Path.unlink, "lost"),
        (edited, "its content has changed"),
        (lambda path: os.truncate(path, 99), "99 bytes in place of"),
        (lambda path: path.write_bytes(b""), "0 bytes in place of"),
        (linked, "lost"),
    ],
)
def test_a_segment_that_is_not_what_was_kept_is_made_again_and_the_log_says_why(
    attempts: Attempts, caplog: pytest.LogCaptureFixture, damage: Any, reason: str
) -> None:
    expected, _ = Attempts(attempts.source, attempts.folder / "undisturbed").make(Model())
    attempts.interrupted(40)
    damage(attempts.segments()[1])
    model = Model()
    with caplog.at_level(logging.WARNING):
        result, _ = attempts.make(model)
    assert model.made == 20  # the damaged one and the missing one
    assert f"segment 1: {reason}" in caplog.text
    assert contents(result) == contents(expected)


def test_a_segment_that_is_edited_while_the_others_are_made_is_noticed_before_it_is_joined(attempts: Attempts) -> None:
    expected, _ = Attempts(attempts.source, attempts.folder / "undisturbed").make(Model())
    attempts.interrupted(20)

    class Meddling(Model):
        def __call__(self, frames: FrameRange, tally: "Counter[str]") -> Iterator[Frame]:
            edited(attempts.segments()[0])
            return super().__call__(frames, tally)

    result, _ = attempts.make(Meddling())
    assert contents(result) == contents(expected)


@pytest.mark.parametrize("change", ["model", "crf", "length", "version"])
def test_segments_that_were_made_otherwise_are_not_mixed_with_new_ones(
    attempts: Attempts, caplog: pytest.LogCaptureFixture, change: str
) -> None:
    attempts.interrupted(30)
    settings = {
        "model": SETTINGS,
        "crf": SETTINGS.model_copy(update={"encoding": EncodingSettings(preset="ultrafast", crf=30)}),
        "length": SETTINGS.model_copy(update={"limits": LimitSettings(segment_seconds=0.5)}),
        "version": SETTINGS.model_copy(update={"version": "9.9"}),
    }[change]
    attempts.settings = settings
    model = Model(name="another" if change == "model" else "negative")
    with caplog.at_level(logging.WARNING):
        result, _ = attempts.make(model)
    assert model.made == 50
    assert "segment 0: made with Kinora" in caplog.text
    fresh = Attempts(attempts.source, attempts.folder / "fresh", settings)
    assert contents(result) == contents(fresh.make(Model())[0])


def test_a_source_that_changes_between_two_attempts_is_an_error_and_no_mixed_film(tmp_path: Path, film: Path) -> None:
    source = tmp_path / "film.mp4"
    source.write_bytes(film.read_bytes())
    attempts = Attempts(source, tmp_path / "out")
    attempts.interrupted(30)
    os.utime(source, (1, 1))
    with pytest.raises(JobFailed, match="was changed while"):
        attempts.make(Model())
    assert attempts.visible() == []


@pytest.mark.parametrize("seconds", [0.4, 100])
def test_a_source_that_changes_under_an_attempt_is_an_error(tmp_path: Path, film: Path, seconds: float) -> None:
    source = tmp_path / "film.mp4"
    source.write_bytes(film.read_bytes())

    class Touching(Model):
        def __call__(self, frames: FrameRange, tally: "Counter[str]") -> Iterator[Frame]:
            os.utime(source, (1, 1))
            return super().__call__(frames, tally)

    settings = SETTINGS.model_copy(update={"limits": LimitSettings(segment_seconds=seconds)})
    attempts = Attempts(source, tmp_path / "out", settings)
    with pytest.raises(JobFailed, match="was changed while"):
        attempts.make(Touching())
    assert attempts.visible() == []
