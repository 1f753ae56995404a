"""What a pipeline remembers from segment to segment: how much of it lies on the disk, and what its loss costs."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shared.errors import JobFailed
from shared.files.handles import OutputDir
from shared.media.frame import Frame
from shared.media.frame_range import FrameRange
from shared.pipeline.kept_states import is_kept, most_kept
from shared.settings import EncodingSettings, LimitSettings, Settings
from tests.support.clips import clip
from tests.support.segmented_work import Attempts, Killed, Model, contents, edited

LENGTH, SEGMENTS = 2, 25  # frames of a segment, segments
STATE = 1_000_000  # bytes: more than any segment's pictures
SETTINGS = Settings(
    device="cpu", encoding=EncodingSettings(preset="ultrafast"), limits=LimitSettings(segment_seconds=LENGTH / 25)
)


class Adding(Model):
    """Makes each picture brighter than the one before by what it has seen so far, and is its own memory."""

    seen = 0

    def __call__(self, frames: FrameRange, tally: "Counter[str]") -> Iterator[Frame]:
        for frame in frames:
            if self.made == self.dies_at:
                raise Killed
            self.made += 1
            tally["frames"] += 1
            self.seen = (self.seen + int(frame.image.mean())) % 200
            yield replace(frame, image=(frame.image // 5 + self.seen).astype(np.uint8))

    def begin(self, state: bytes | None) -> None:
        self.seen = int.from_bytes(state[:8]) if state else 0

    def state(self) -> bytes:
        return self.seen.to_bytes(8) + bytes(STATE)


def adding(dies_at: int | None = None) -> Adding:
    model = Adding("adding", dies_at)
    model.memory = model
    return model


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clip(tmp_path_factory.mktemp("film") / "film.mp4", seconds=LENGTH * SEGMENTS / 25, size=(64, 48))


@pytest.fixture(scope="module")
def undisturbed(film: Path, tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    return contents(Attempts(film, tmp_path_factory.mktemp("undisturbed"), SETTINGS).make(adding())[0])


def stopped(film: Path, folder: Path, *, after: int) -> Attempts:
    """Return attempts of which the first has finished so many segments."""
    attempts = Attempts(film, folder, SETTINGS)
    with pytest.raises(Killed):
        attempts.make(adding(dies_at=after * LENGTH))
    assert len(attempts.segments()) == after
    return attempts


def with_state(attempts: Attempts) -> set[int]:
    return {number for number, path in enumerate(attempts.segments()) if path.stat().st_size > STATE}


def test_the_further_back_the_rarer_a_state_is_kept_and_what_a_loss_costs_is_bounded() -> None:
    for newest in range(600):
        kept = [number for number in range(newest + 1) if is_kept(number, newest)]
        assert kept[-1] == newest
        assert len(kept) <= most_kept(newest + 1)
        for damaged in range(newest + 1):
            before = max((number for number in kept if number < damaged), default=-1)
            assert damaged - before - 1 <= newest - damaged  # made again beside it
    assert all(is_kept(number, 719) for number in range(720) if is_kept(number, 720))  # what is gone is not needed


@pytest.mark.parametrize("after", [1, 4, 20])
def test_only_what_may_be_needed_again_stays_on_the_disk(
    film: Path, tmp_path: Path, undisturbed: list[object], after: int
) -> None:
    attempts = stopped(film, tmp_path, after=after)
    newest = after - 2  # the last one was finished by its encoder's thread after the kill
    assert with_state(attempts) == {n for n in range(after) if is_kept(n, newest)}
    assert len(with_state(attempts)) <= most_kept(after) + 1
    model = adding()
    assert contents(attempts.make(model)[0]) == undisturbed
    assert model.made == (SEGMENTS - after) * LENGTH
    assert with_state(attempts) == {n for n in range(SEGMENTS) if is_kept(n, SEGMENTS - 1)}


@pytest.mark.parametrize("number", [0, 10, 14, 18, 19])
def test_a_damaged_segment_is_made_again_from_the_last_state_before_it(
    film: Path, tmp_path: Path, undisturbed: list[object], number: int
) -> None:
    attempts = stopped(film, tmp_path, after=20)
    before = max((n for n in with_state(attempts) if n < number), default=-1)
    edited(attempts.segments()[number])
    model = adding()
    assert contents(attempts.make(model)[0]) == undisturbed
    assert model.made == (number - before + SEGMENTS - 20) * LENGTH


def test_a_stop_while_a_damaged_segment_is_made_again_loses_nothing(
    film: Path, tmp_path: Path, undisturbed: list[object]
) -> None:
    attempts = stopped(film, tmp_path, after=20)
    edited(attempts.segments()[10])  # made again from the eighth on
    made = attempts.interrupted_by(adding(dies_at=3))
    model = adding()
    assert contents(attempts.make(model)[0]) == undisturbed
    assert made + model.made <= (3 + SEGMENTS - 20 + 1) * LENGTH


def test_a_newest_segment_without_its_state_is_made_again(
    film: Path, tmp_path: Path, undisturbed: list[object]
) -> None:
    attempts = stopped(film, tmp_path, after=20)
    newest = max(attempts.ledger.records(), key=lambda record: record.number)
    path = attempts.segments()[newest.number]
    with path.open("r+b") as file:
        file.truncate(newest.bare_bytes)
    model = adding()
    assert contents(attempts.make(model)[0]) == undisturbed
    assert model.made == (SEGMENTS - 20 + 1) * LENGTH


def test_a_film_ends_with_its_reason_when_there_is_no_room_to_join_what_it_has(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = stopped(film, tmp_path, after=4)
    records = attempts.ledger.records()
    need = sum(record.bare_bytes for record in records) + max(record.bytes for record in records)
    monkeypatch.setattr(OutputDir, "free_bytes", property(lambda _folder: need - 1))
    model = adding()
    with pytest.raises(JobFailed, match="not enough disk space"):
        attempts.make(model)
    assert model.made == 0
    assert attempts.visible() == []
