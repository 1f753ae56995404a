"""What goes in comes out, over a corpus of odd files: every frame's time, every sample, every track and its name."""

import re
from collections.abc import Callable
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.upscale.pipeline import upscale_video
from services.upscale.request import UpscaleRequest
from shared.arrays import Picture
from shared.errors import UnreadableMedia
from shared.pipeline.direct_job import DirectJob
from shared.settings import EncodingSettings, Settings
from tests.shared.media.corpus.reference import Reference, Sound, read
from tests.shared.media.corpus.row import Row
from tests.shared.media.corpus.rows import ROWS
from tests.support.clips import Pixels
from tests.support.stand_in import StandIn

MILLISECOND = Fraction(1, 1000)
RUN_IN = 2048  # samples
GRID = Fraction(1, 10_000)  # seconds, where the picture's own grid has no place for the zero of the clock
SETTINGS = Settings(encoding=EncodingSettings(preset="ultrafast", crf=12))
OWN_TAGS = {"major_brand", "minor_version", "compatible_brands", "encoder", "duration", "aigc", "creation_time"}


class Identity(StandIn):
    """A model that changes nothing."""

    def __call__(self, frame: Picture, _ratio: int, between_windows: Callable[[float], None]) -> Picture:
        between_windows(0.0)
        return frame


def through(path: Path, folder: Path) -> tuple[Path, list[str]]:
    """Upscale by 1 with the identity; return the result and what was named as lost."""
    job = DirectJob(folder, SETTINGS, service="upscale")
    request = UpscaleRequest(task_id=1, video_url=str(path), ratio=1, dist_dir=str(folder))
    model: Any = Identity()
    result = job.run(upscale_video, request, model)
    return folder / result.video, job.details["lost"]


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_what_goes_in_comes_out(tmp_path: Path, row: Row) -> None:
    source = row.write(tmp_path)
    (results := tmp_path / "results").mkdir()
    if row.refused:
        with pytest.raises(UnreadableMedia) as problem:
            through(source, results)
        assert problem.value.key == row.refused
        assert list(results.iterdir()) == []
        return
    result, lost = through(source, results)
    before, after = read(source), read(result)
    assert lost == list(row.lost)
    check_pictures(row, before, after)
    check_sounds(row, before, after)
    check_tracks(before, after)


def check_pictures(row: Row, before: Reference, after: Reference) -> None:
    count = len(before.times) if row.frames is None else row.frames
    assert len(after.times) == count
    origin = before.origin if row.zero is None else row.zero
    if row.steady is None:
        assert len(before.times) == count
        unit = Fraction(1, max(time.denominator for time in before.times))
        slack = 0 if (origin / unit).denominator == 1 else GRID
        for told, found in zip(before.times, after.times, strict=True):
            assert abs(told - origin - found) <= slack
        end = before.times[-1] + before.durations[-1] - origin
    else:
        for number, found in enumerate(after.times):
            assert found - after.times[0] == number * row.steady
        slack, end = 0, after.times[0] + count * row.steady
    if before.durations[-1]:
        in_milliseconds = row.name.endswith((".mp4", ".mov", ".3gp", ".m4v"))  # their edit lists cut the last frame
        assert abs(after.times[-1] + after.durations[-1] - end) <= (MILLISECOND if in_milliseconds else slack)
    assert after.pixel_shape == before.pixel_shape
    assert before.colour.items() <= after.colour.items()
    for number in range(count):
        check_picture(before.pictures, after.pictures, number)


def check_picture(before: Pixels, after: Pixels, number: int) -> None:
    """It must be near its own original, and nearer than to any other."""
    found = after[number].astype(np.int16)
    height, width = before.shape[1:3]
    differences = np.abs(before.astype(np.int16) - found[:height, :width]).mean(axis=(1, 2, 3))
    assert differences[number] < 6
    assert differences[number] <= differences.min() + 0.5


def check_sounds(row: Row, before: Reference, after: Reference) -> None:
    assert len(after.sounds) == len(before.sounds)
    beginnings = Fraction(0) if row.steady else before.times[0], after.times[0]
    for told, found in zip(before.sounds, after.sounds, strict=True):
        # AAC has no number for channels at the side alone: they are played by the same loudspeakers.
        layout = told.layout.replace("(side)", "") if row.anew else told.layout
        assert (found.layout, found.rate) == (layout, told.rate)
        begins = [sound.start - begin for sound, begin in zip((told, found), beginnings, strict=True)]
        ends = product((told.end, told.told_end), (found.end, found.told_end))
        assert min(abs((end - beginnings[0]) - (other - beginnings[1])) for end, other in ends) <= MILLISECOND
        check_samples(told, begins[0], found, begins[1], anew=row.anew)


def check_samples(told: Sound, begin: Fraction, found: Sound, found_begin: Fraction, *, anew: bool) -> None:
    """Compare each sample at its time. An encoder's run-in may be heard where the sound begins late: it is silence."""
    late, unheard = round((begin - found_begin) * told.rate), round(MILLISECOND * told.rate)
    assert -unheard <= late <= (RUN_IN if found_begin > 0 or anew else unheard)
    if late > unheard:
        assert np.abs(found.samples[: late // 2]).max() < 0.03
    one, two = told.samples, found.samples[late:] if anew or late > unheard else found.samples
    count = min(len(one), len(two))
    if not anew:
        assert np.array_equal(one[:count], two[:count])
        return
    # Coded with a loss: a shift by a millisecond would be a difference as loud as the sound. An encoder smears edges.
    assert count > 0.9 * len(one)
    difference = (one[:count] - two[:count])[RUN_IN:-RUN_IN]
    assert np.sqrt((difference**2).mean()) < 0.1 * np.sqrt((one[:count] ** 2).mean())


def check_tracks(before: Reference, after: Reference) -> None:
    for key in before.tags.keys() - OWN_TAGS:
        assert (after.tags[key] == before.tags[key]) or (numbers(after.tags[key]) == numbers(before.tags[key]) != [])
    for kind in ("Video", "Audio", "Subtitle"):
        told = [(track.language, track.title) for track in before.tracks if track.kind == kind]
        found = [(track.language, track.title) for track in after.tracks if track.kind == kind]
        assert found == (told[:1] if kind == "Video" else told)
    for told_texts, found_texts in zip(before.subtitles, after.subtitles, strict=True):
        for told_text, found_text in zip(told_texts, found_texts, strict=True):
            assert found_text.text == told_text.text
            assert abs(found_text.begin - (told_text.begin - before.origin)) <= MILLISECOND
            assert abs(found_text.end - (told_text.end - before.origin)) <= MILLISECOND
    chapters = [chapter for chapter in before.chapters if chapter.end > before.origin]
    for told_chapter, found_chapter in zip(chapters, after.chapters, strict=True):
        assert found_chapter.text == told_chapter.text
        assert abs(found_chapter.begin - max(told_chapter.begin - before.origin, Fraction(0))) <= MILLISECOND
    assert after.timecode == before.timecode


def numbers(text: str) -> list[float]:
    """Return the numbers of a text: MP4 writes a place with other zeros."""
    return [float(number) for number in re.findall(r"[+-]\d+(?:\.\d+)?", text)]
