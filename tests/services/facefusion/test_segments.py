"""Face fusion of a long video: whatever stopped it, the film and its report are those of an undisturbed run."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.facefusion.face import Face
from services.facefusion.face_analysis import SwapContext, gallery_of
from services.facefusion.model import FaceModel
from services.facefusion.pipeline import swap_faces
from services.facefusion.portrait import prepare_sources
from services.facefusion.request import FaceFusionRequest
from services.facefusion.video_swapper import VideoSwapper
from shared.arrays import Image
from shared.errors import JobFailed
from shared.media.decode import open_video
from shared.pipeline.direct_job import DirectJob
from shared.pipeline.job import JobStopped
from shared.pipeline.segment_store import MemoryLedger, SegmentStart
from shared.settings import FaceFusionSettings, LimitSettings, Settings
from tests.services.facefusion.test_pipeline import write_video
from tests.support.clips import ffmpeg
from tests.support.faces import SETTINGS, frames_of, man, model, portrait, save, woman
from tests.support.segmented_work import Assigned, Killed, contents, edited

LENGTH = 8  # frames of a segment
SEGMENTED = SETTINGS.model_copy(update={"limits": LimitSettings(segment_seconds=LENGTH / 24)})
FRAMES = 39
BEFORE = 5  # pictures that are searched before the first frame: the portrait, and four frames for the reference


def film_of(path: Path) -> Path:
    """Five segments at 24 fps: a shot that is longer than three of them, from a fade on, and one that is shorter."""
    his = frames_of("clip-single-face", count=24)
    hers = frames_of("clip-woman-hands", count=12, start=300)
    return write_video(path, [np.zeros_like(man())] * 3 + his + hers)


class Attempts:
    """Attempts at one task, each with a new job, over the same folder and the same ledger."""

    def __init__(self, folder: Path, source: Path, target: Path, settings: Settings = SEGMENTED, **fields: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.settings = folder, settings
        self.ledger = MemoryLedger()
        self.number = 0
        self.job: DirectJob
        body = {"task_id": 1, "dist_dir": str(folder), "source_file": str(source), "target_file": str(target)}
        self.request = FaceFusionRequest.model_validate(body | {"programe": 1} | fields)

    def make(self, faces: FaceModel | None = None) -> Path:
        self.number += 1
        self.job = DirectJob(self.folder, self.settings, service="facefusion", ledger=self.ledger, attempt=self.number)
        return self.folder / self.job.run(swap_faces, self.request, faces or model()).video

    def interrupted(self, frame: int) -> None:
        """Make an attempt at the whole film that dies at its n-th frame; below 0: before it has begun."""
        with pytest.raises(Killed):
            self.make(one_by_one(Counting(dies_at=BEFORE + frame)))

    def segments(self) -> list[Path]:
        return sorted(self.folder.glob(".*-s-*"))

    def visible(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir() if not path.name.startswith("."))

    def details(self) -> dict[str, Any]:
        """What the task's details say, but the time of an audit entry: attempts of two tasks begin at two times."""
        audit = {name: value for name, value in self.job.details["audit"].items() if name != "at"}
        return self.job.details | {"audit": audit}


class Counting:
    """The detector, counted; it dies at a picture."""

    def __init__(self, dies_at: int | None = None) -> None:
        self.dies_at = dies_at
        self.calls = 0

    def __call__(self, image: Image) -> list[Face]:
        if self.calls == self.dies_at:
            raise Killed
        self.calls += 1
        return model().detect(image)


def one_by_one(detector: Counting) -> FaceModel:
    """A model whose detector sees one frame after another, so that their number is the frame's."""
    return replace(model(), detect=detector, at_once=1)


@pytest.fixture(autouse=True)
def upright_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the detector see each picture once, so that their number is the frame's: here nobody lies."""
    monkeypatch.setattr("services.facefusion.turned.TURNS", ())


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return portrait(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return film_of(tmp_path_factory.mktemp("film") / "film.mp4")


@pytest.fixture
def inputs(source: Path, film: Path) -> tuple[Path, Path]:
    return source, film


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, source: Path, film: Path) -> tuple[Path, dict[str, Any]]:
    """The film that nothing stopped, and its details."""
    attempts = Attempts(tmp_path_factory.mktemp("undisturbed"), source, film)
    return attempts.make(), attempts.details()


def test_a_film_in_segments_is_the_one_that_is_made_in_one_piece(
    tmp_path: Path, source: Path, film: Path, undisturbed: tuple[Path, dict[str, Any]]
) -> None:
    whole = Attempts(tmp_path, source, film, SETTINGS)
    one, two = contents(whole.make()), contents(undisturbed[0])
    assert not whole.job.segments.used
    assert whole.details() == undisturbed[1]
    assert undisturbed[1]["swapped_frames"] == 24
    assert [track["frames"] for track in undisturbed[1]["match"]["tracks"]] == [24, 12]
    pictures = [pair for pair in zip(one, two, strict=True) if isinstance(pair[0], tuple) and len(pair[0]) == 2]
    assert [before[0] for before, _ in pictures] == [after[0] for _, after in pictures]
    for (_, before), (_, after) in pictures:  # they differ by their encoders' key pictures alone
        parts = [np.frombuffer(each, np.uint8).astype(int) for each in (before, after)]
        assert np.abs(parts[0] - parts[1]).mean() < 2


@pytest.mark.parametrize("frame", [-2, 1, LENGTH, 2 * LENGTH + 3, 30, FRAMES - 1])
def test_the_next_attempt_goes_on_in_the_middle_of_a_shot_as_if_nothing_had_been(
    tmp_path: Path, source: Path, film: Path, undisturbed: tuple[Path, dict[str, Any]], frame: int
) -> None:
    attempts = Attempts(tmp_path, source, film)
    attempts.interrupted(frame)
    assert attempts.visible() == []
    kept = len(attempts.segments())
    first, detector = attempts.job.details["audit"]["at"], Counting()
    time.sleep(1)
    result = attempts.make(one_by_one(detector))
    assert kept == max(frame, 0) // LENGTH
    assert detector.calls == FRAMES - kept * LENGTH + (1 if kept else BEFORE)  # the reference is kept, too
    assert contents(result) == contents(undisturbed[0])
    assert attempts.details() == undisturbed[1]
    assert (attempts.job.details["audit"]["at"] == first) == bool(kept)  # when its first frame was made


def test_many_stops_leave_the_very_same_file(
    tmp_path: Path, source: Path, film: Path, undisturbed: tuple[Path, dict[str, Any]]
) -> None:
    attempts = Attempts(tmp_path, source, film)
    for frame in (9, 3, 8, 15):  # in what is left, where only the portrait is searched before
        attempts.interrupted(frame if not attempts.segments() else frame - BEFORE + 1)
    assert len(attempts.segments()) == 3
    result = attempts.make()
    label = {path: path.stem.encode() for path in (result, undisturbed[0])}  # names the attempt
    one, two = (path.read_bytes().replace(name, b"name") for path, name in label.items())
    assert one == two
    assert attempts.details() == undisturbed[1]


@pytest.mark.parametrize(("number", "damage"), [(0, edited), (2, edited), (0, Path.unlink), (2, Path.unlink)])
def test_a_segment_in_the_middle_of_a_shot_that_is_lost_or_damaged_is_made_again(
    tmp_path: Path,
    inputs: tuple[Path, Path],
    undisturbed: tuple[Path, dict[str, Any]],
    number: int,
    damage: Callable[[Path], None],
) -> None:
    attempts = Attempts(tmp_path, *inputs)
    attempts.interrupted(3 * LENGTH)
    damage(attempts.segments()[number])
    detector = Counting()
    result = attempts.make(one_by_one(detector))
    assert detector.calls == FRAMES - 2 * LENGTH + (1 if number else BEFORE)
    assert contents(result) == contents(undisturbed[0])
    assert attempts.details() == undisturbed[1]


def test_a_segment_that_is_edited_when_the_next_one_needs_it_is_made_again(
    tmp_path: Path, source: Path, film: Path, undisturbed: tuple[Path, dict[str, Any]]
) -> None:
    attempts = Attempts(tmp_path, source, film)
    attempts.interrupted(3 * LENGTH)

    class Meddling(MemoryLedger):
        """Somebody edits the third segment after it was found right."""

        meddled = False

        def begin(self, start: SegmentStart) -> bool:
            if start.number == 3 and not self.meddled:
                self.meddled = True
                edited(attempts.segments()[2])
            return super().begin(start)

    ledger = Meddling()
    for record in attempts.ledger.records():
        ledger.keep(record)
    attempts.ledger = ledger
    assert contents(attempts.make()) == contents(undisturbed[0])
    assert attempts.details() == undisturbed[1]


def test_nobody_is_called_for_help_and_who_comes_all_the_same_makes_nothing(
    tmp_path: Path, source: Path, film: Path
) -> None:
    attempts = Attempts(tmp_path, source, film)
    starts: list[SegmentStart] = []

    class Noting(MemoryLedger):
        def begin(self, start: SegmentStart) -> bool:
            starts.append(start)
            return super().begin(start)

    attempts.ledger = Noting()
    attempts.interrupted(LENGTH)
    assert [start.helped for start in starts] == [False] * 2
    attempts.ledger = Assigned(attempts.ledger, 3, starts[0].fingerprint)
    with pytest.raises(JobStopped):
        attempts.make()
    assert len(attempts.segments()) == 1


@pytest.mark.parametrize("at_once", [2, 5])
def test_frames_side_by_side_are_those_one_by_one_after_a_stop_as_well(
    tmp_path: Path, inputs: tuple[Path, Path], undisturbed: tuple[Path, dict[str, Any]], at_once: int
) -> None:
    attempts = Attempts(tmp_path, *inputs)
    with pytest.raises(Killed):
        attempts.make(replace(model(), detect=Counting(dies_at=BEFORE + 2 * LENGTH + 3), at_once=at_once))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("frame")]
    assert len(attempts.segments()) == 2
    assert contents(attempts.make(replace(model(), at_once=1))) == contents(undisturbed[0])
    assert attempts.details() == undisturbed[1]


def test_segments_with_another_portrait_are_not_mixed_with_new_ones(tmp_path: Path, film: Path) -> None:
    path = save(tmp_path / "in" / "portrait.png", man())
    attempts = Attempts(tmp_path / "out", path, film)
    attempts.interrupted(2 * LENGTH)
    save(path, np.ascontiguousarray(woman()[:, ::-1]))
    result = attempts.make()
    fresh = Attempts(tmp_path / "fresh", path, film)
    assert contents(result) == contents(fresh.make())
    assert attempts.details() == fresh.details()


def test_segments_of_other_settings_of_the_check_are_not_counted(tmp_path: Path, source: Path, film: Path) -> None:
    attempts = Attempts(tmp_path, source, film)
    attempts.interrupted(2 * LENGTH)
    attempts.settings = SEGMENTED.model_copy(
        update={"facefusion": FaceFusionSettings(swapper="classic", nsfw_share=0.5)}
    )
    detector = Counting()
    attempts.make(one_by_one(detector))
    assert detector.calls == BEFORE + FRAMES


def alarmed(image: Image) -> float:
    """A check that finds nudity in every frame that shows somebody, and not in the portrait."""
    return 0.97 if image.shape == man().shape and image.mean() > 1 else 0.125


@pytest.mark.parametrize("frame", [LENGTH, 20])
def test_a_film_with_nudity_is_refused_with_the_same_count_whenever_it_was_stopped(
    tmp_path: Path, source: Path, film: Path, frame: int
) -> None:
    """One sample a second: the first, which shows nobody, was taken in the attempt before."""
    attempts = Attempts(tmp_path, source, film)
    attempts.interrupted(frame)
    with pytest.raises(JobFailed, match="1 of 2 checked pictures look like nudity"):
        attempts.make(replace(model(), nsfw=alarmed))
    assert attempts.visible() == []


def test_what_the_check_has_found_is_reported_whoever_found_it(tmp_path: Path, source: Path, film: Path) -> None:
    lenient = SEGMENTED.model_copy(update={"facefusion": FaceFusionSettings(swapper="classic", nsfw_share=0.6)})
    attempts = Attempts(tmp_path, source, film, lenient)
    with pytest.raises(Killed):
        attempts.make(replace(one_by_one(Counting(dies_at=BEFORE + 35)), nsfw=alarmed))
    attempts.make(replace(model(), nsfw=lambda _image: 0.25))
    assert attempts.job.details["nsfw"] == {"checked": True, "samples": 2, "over": 1, "highest": 0.97}


def test_a_turned_film_of_ten_bits_is_carried_on_too(tmp_path: Path, source: Path, film: Path) -> None:
    lying = tmp_path / "lying.mp4"
    ffmpeg("-i", film, "-vf", "transpose=1", "-c:v", "libx264", "-pix_fmt", "yuv420p10le", "-crf", "10", lying)
    turned = tmp_path / "turned.mp4"
    ffmpeg("-display_rotation", "90", "-i", lying, "-c", "copy", turned)
    undisturbed, attempts = (Attempts(tmp_path / name, source, turned) for name in ("one", "two"))
    attempts.interrupted(2 * LENGTH + 3)
    assert contents(attempts.make()) == contents(undisturbed.make())
    assert attempts.details() == undisturbed.details()
    assert attempts.job.details["swapped_frames"] == 24


def test_frames_with_a_state_between_each_two_are_those_without(tmp_path: Path, source: Path, film: Path) -> None:
    job = DirectJob(tmp_path, SETTINGS)
    body = {"task_id": 1, "dist_dir": str(tmp_path), "source_file": str(source), "target_file": str(film)}
    request = FaceFusionRequest.model_validate(body | {"programe": 1, "face_selector_mode": "many"})
    with job.input(str(source)) as portrait_file, job.input(str(film)) as file, open_video(file) as video:
        reference = gallery_of(man(), 0, request, model()).reference(0, model())
        sources = prepare_sources(job, request, model(), {request.source_file: portrait_file})
        context = SwapContext(job, request, model(), sources, (reference,))
        one, other = VideoSwapper(context, video), VideoSwapper(context, video)
        states: list[bytes] = []
        for frame in video.frames():
            [expected] = one.swap(iter([replace(frame, image=frame.image.copy())]))  # it paints on what it gets
            other.begin(states[-1] if states else None)
            [found] = other.swap(iter([frame]))
            states.append(other.state())
            assert np.array_equal(found.image, expected.image)
            assert other.state() == one.state()
            other = VideoSwapper(context, video)
        other.begin(states[-1])
        assert other.report() == one.report()
        assert max(map(len, states)) < 600_000  # half a megabyte for a face
