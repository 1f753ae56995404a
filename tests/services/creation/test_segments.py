"""Creation from a video in segments: whatever stopped an attempt, the clip is the one that nothing stopped."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from services.creation.engine import ClipSpec, Engine, OnProgress
from services.creation.engines.wan.engine import WanEngine
from services.creation.engines.wan.generation_request import GenerationRequest
from services.creation.engines.wan.memory_fallback import MemoryFallback
from services.creation.engines.wan.plans import PLANS, Plan
from services.creation.pipeline import create_video
from services.creation.redrawing import Redrawing
from services.creation.request import CreationRequest
from shared.arrays import Image
from shared.media.decode import open_video
from shared.media.frame_range import FramePass
from shared.pipeline.direct_job import DirectJob
from shared.pipeline.segment_store import MemoryLedger, SegmentStart
from shared.settings import EncodingSettings, LimitSettings, Settings
from tests.support import clips
from tests.support.clips import clip
from tests.support.segmented_work import Killed, contents, edited
from tests.support.tiny_creation import AREA, Pool, SmallClassic, mixed

SETTINGS = Settings(
    device="cpu", encoding=EncodingSettings(preset="ultrafast"), limits=LimitSettings(segment_seconds=0.5)
)
STYLES: dict[str, dict[str, Any]] = {
    "clean": {"video_style": 0},
    "anime": {"video_style": 1},
    "pixel": {"video_style": 2},
    "camera": {"video_style": 0, "camera": "pan left, zoom in", "movement": 3},
    "slower": {"video_style": 0, "fps": 9},
}


@dataclass
class Painter:
    """A model: paints noise over what controls it, another one in each run; dies in one, or lacks memory."""

    plan: Plan
    dies_in: int | None = None
    lacks_memory_in: int | None = None
    requests: list[GenerationRequest] = field(default_factory=list)
    ignores: tuple[str, ...] = ()

    @property
    def details(self) -> dict[str, Any]:
        return {"model": "painter", "plan": self.plan.name, "steps": 2}

    def warm(self) -> None:
        """Do nothing."""

    def __call__(self, request: GenerationRequest, on_progress: OnProgress) -> list[Image]:
        on_progress(0.5)
        if len(self.requests) == self.dies_in:
            raise Killed
        if len(self.requests) == self.lacks_memory_in:
            raise MemoryError
        self.requests.append(request)
        assert request.control
        frames = [frame for frame in request.control.control_frames if frame is not None]
        seed = int(np.sum([frame.sum(dtype=np.int64) for frame in frames]) % 2**32)
        noise = np.random.default_rng(seed).integers(0, 60, frames[0].shape, np.uint8)
        on_progress(1.0)
        return [cv2.add(frame // 2, noise).astype(np.uint8) for frame in frames]


def painted(painter: Painter) -> WanEngine:
    return WanEngine(MemoryFallback(lambda _plan: painter, painter.plan), mixed, area=AREA, guidance=5.0)


class Mortal(SmallClassic):
    """Counts the frames of a video, and dies at one."""

    def __init__(self, dies_at: int | None = None) -> None:
        super().__init__(self._count)
        self.dies_at = dies_at
        self.made = 0

    def _count(self) -> None:
        if self.made == self.dies_at:
            raise Killed
        self.made += 1


class Attempts:
    """Attempts at one task over the same folder and ledger."""

    def __init__(self, source: Path, folder: Path, settings: Settings = SETTINGS, **fields: Any) -> None:
        self.source, self.folder, self.settings, self.fields = source, folder, settings, fields
        self.ledger, self.number = MemoryLedger(), 0
        self.job: DirectJob

    def make(self, engine: Engine) -> Path:
        self.number += 1
        body = {"task_id": 1, "dist_dir": str(self.folder), "category": 3, "video_url": str(self.source), "seed": 5}
        request = CreationRequest.model_validate(body | {"fps": 12} | self.fields)
        self.job = DirectJob(self.folder, self.settings, ledger=self.ledger, attempt=self.number)
        return self.folder / self.job.run(create_video, request, Pool(engine)).video  # type: ignore[arg-type]  # a pool

    def interrupted(self, engine: Engine) -> None:
        with pytest.raises(Killed):
            self.make(engine)

    def segments(self) -> list[Path]:
        return sorted(self.folder.glob(".*-s-*"))


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of picture and sound: four segments."""
    return clip(tmp_path_factory.mktemp("film") / "film.mp4", seconds=2, options=["-g", "12"])


# Ranges of frames.


def drawn(path: Path, engine: Engine, cuts: list[float], *, style: int = 0, **fields: Any) -> list[Image]:
    """Return the frames of a whole video, made in the ranges between some instants (seconds)."""
    with clips.opened(path) as file, open_video(file) as video:
        rate = fields.pop("frame_rate", 12)
        camera = CreationRequest.model_validate(
            {"task_id": 1, "dist_dir": "/m", "category": 3, "video_url": "/m/a.mp4", "camera": fields.get("camera", "")}
        ).camera_move
        spec = ClipSpec(
            size=(96, 64),
            frame_rate=rate,
            frame_count=round(video.duration_seconds * rate),
            seed=5,
            movement=3,
            camera=camera,
            style=style,
            prompt="",
            negative_prompt="",
            guidance=12,
        )
        made: list[Image] = []
        state: bytes | None = None
        passing = FramePass(video.frames())
        for cut in [*cuts, None]:
            end = None if cut is None else round(Fraction(cut) / video.time_base)
            redrawing = Redrawing(video, spec, engine, mixed, lambda _progress: None, max_seconds=100)
            work = redrawing.work(lambda frames, _before: frames)
            assert work.memory
            work.memory.begin(state)
            for frame in work.transform(passing.until(end), Counter()):
                assert frame.pts == len(made)
                made.append(frame.image)
            state = work.memory.state()
        return made


def same(some: list[Image], others: list[Image]) -> bool:
    return len(some) == len(others) and all(np.array_equal(one, other) for one, other in zip(some, others, strict=True))


CUTS = [0.11, 0.5, 0.52, 0.53, 1.3]
SOURCES: dict[str, Callable[[Path], Path]] = {
    "steady": lambda path: clip(path, seconds=2),
    "slow": lambda path: clip(path, seconds=2, rate="7"),
    "variable": clips.variable_rate,
    "late": lambda path: clips.late_picture(path, milliseconds=700),
}


@pytest.mark.parametrize("source", list(SOURCES))
@pytest.mark.parametrize("style", [0, 1, 2])
def test_a_video_drawn_in_ranges_is_the_one_drawn_at_once(tmp_path: Path, source: str, style: int) -> None:
    film = SOURCES[source](tmp_path / "in.mp4")
    for camera in ("", "pan left"):
        expected = drawn(film, Mortal(), [], style=style, camera=camera)
        assert same(drawn(film, Mortal(), CUTS, style=style, camera=camera), expected)


@pytest.mark.parametrize(("style", "rate"), [(0, 8), (0, 16), (0, 24), (2, 24)])
def test_windows_of_a_model_are_the_same_wherever_the_video_is_cut(tmp_path: Path, style: int, rate: int) -> None:
    film = clip(tmp_path / "in.mp4", seconds=6, rate="10")
    for camera in ("", "zoom in"):
        expected = drawn(film, painted(Painter(PLANS["low"])), [], style=style, frame_rate=rate, camera=camera)
        assert len(expected) == 6 * rate
        for cuts in ([0.3, 0.9, 5.0], [3.1, 5.99]):
            made = drawn(film, painted(Painter(PLANS["low"])), cuts, style=style, frame_rate=rate, camera=camera)
            assert same(made, expected)


# Attempts at a task.


@pytest.mark.parametrize("style", list(STYLES))
def test_a_clip_is_made_on_after_the_last_finished_segment(film: Path, tmp_path: Path, style: str) -> None:
    undisturbed = Attempts(film, tmp_path / "undisturbed", **STYLES[style])
    expected = undisturbed.make(Mortal())
    assert len(undisturbed.segments()) == 4
    attempts = Attempts(film, tmp_path / "out", **STYLES[style])
    frames = undisturbed.job.details["frames"]
    for frame in (frames * 5 // 6, 2, 3):
        attempts.interrupted(Mortal(dies_at=frame))
    last = Mortal()
    result = attempts.make(last)
    assert last.made <= frames // 4
    assert contents(result) == contents(expected)
    assert attempts.job.details == undisturbed.job.details
    assert attempts.job.progress == 1


@pytest.mark.parametrize("source", ["vfr.mkv", "without_length.mkv", "old.avi", "turned.mp4"])
def test_an_interrupted_video_of_any_kind_is_the_undisturbed_clip(tmp_path: Path, source: str) -> None:
    makers: dict[str, Callable[[Path], Path]] = {
        "vfr": clips.variable_rate,
        "without_length": clips.without_length,
        "old": lambda path: clip(path, seconds=2, codec="mpeg4", sound="mp3"),
        "turned": lambda path: clips.rotated(path, 90),
    }
    film = makers[source.split(".", maxsplit=1)[0]](tmp_path / source)
    undisturbed = Attempts(film, tmp_path / "undisturbed", camera="pan left")
    expected = undisturbed.make(Mortal())
    assert len(undisturbed.segments()) > 1
    attempts = Attempts(film, tmp_path / "out", camera="pan left")
    attempts.interrupted(Mortal(dies_at=undisturbed.job.details["frames"] * 3 // 4))
    attempts.interrupted(Mortal(dies_at=1))
    assert contents(attempts.make(Mortal())) == contents(expected)
    assert attempts.job.details == undisturbed.job.details


def test_a_damaged_segment_is_made_again_and_those_behind_it_stay(film: Path, tmp_path: Path) -> None:
    expected = Attempts(film, tmp_path / "undisturbed").make(Mortal())
    attempts = Attempts(film, tmp_path / "out")
    attempts.interrupted(Mortal(dies_at=20))
    edited(attempts.segments()[1])
    last = Mortal()
    result = attempts.make(last)
    assert last.made == sum(record.frames for record in attempts.ledger.records() if record.number in {1, 3})
    assert contents(result) == contents(expected)


def test_a_clip_in_segments_is_nearly_the_one_in_one_piece(film: Path, tmp_path: Path) -> None:
    """The same pictures go to the encoder: only what it makes of them differs."""
    one = Attempts(film, tmp_path / "one", Settings(device="cpu"), video_style=1).make(Mortal())
    four = Attempts(
        film, tmp_path / "four", SETTINGS.model_copy(update={"encoding": EncodingSettings()}), video_style=1
    ).make(Mortal())
    pictures = [
        [np.frombuffer(frame[1], np.uint8).astype(int) for frame in contents(path)[2:26]] for path in (one, four)
    ]
    for ours, theirs in zip(*pictures, strict=True):
        assert np.abs(ours - theirs).mean() < 4


def test_another_seed_is_another_clip(film: Path, tmp_path: Path) -> None:
    attempts = Attempts(film, tmp_path / "out", video_style=2)
    attempts.interrupted(Mortal(dies_at=20))
    attempts.fields["seed"] = 6
    last = Mortal()
    result = attempts.make(last)
    assert last.made == 24
    assert contents(result) == contents(Attempts(film, tmp_path / "fresh", video_style=2, seed=6).make(Mortal()))


def test_nobody_is_called_for_help(film: Path, tmp_path: Path) -> None:
    helped: set[bool] = set()

    class Watching(MemoryLedger):
        def begin(self, start: SegmentStart) -> bool:
            helped.add(start.helped)
            return super().begin(start)

    attempts = Attempts(film, tmp_path / "out")
    attempts.ledger = Watching()
    attempts.make(Mortal())
    assert helped == {False}


def test_a_video_of_one_segment_is_made_in_one_piece(film: Path, tmp_path: Path) -> None:
    attempts = Attempts(film, tmp_path / "out", Settings(device="cpu"))
    attempts.make(Mortal())
    assert not attempts.segments()


@pytest.fixture(scope="module")
def long_film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight seconds: 128 frames of the model, in three windows."""
    return clip(tmp_path_factory.mktemp("film") / "long.mp4", seconds=8, rate="10", options=["-g", "12"])


@pytest.mark.parametrize("fields", [{}, {"video_style": 2}, {"fps": 24, "camera": "pan left"}], ids=str)
def test_a_finished_window_of_a_model_is_not_made_again(
    long_film: Path, tmp_path: Path, fields: dict[str, Any]
) -> None:
    painter = Painter(PLANS["low"])
    undisturbed = Attempts(long_film, tmp_path / "undisturbed", **fields)
    expected = undisturbed.make(painted(painter))
    assert [request.frame_count for request in painter.requests] == [49, 49, 49]
    assert len(undisturbed.segments()) == 3
    attempts = Attempts(long_film, tmp_path / "out", **fields)
    for made in (1, 0, 1):
        dying = Painter(PLANS["low"], dies_in=made)
        attempts.interrupted(painted(dying))
        assert len(dying.requests) == made
    last = Painter(PLANS["low"])
    result = attempts.make(painted(last))
    assert len(last.requests) == 1
    assert contents(result) == contents(expected)
    assert attempts.job.details == undisturbed.job.details


def test_progress_goes_on_where_the_windows_did(long_film: Path, tmp_path: Path) -> None:
    attempts = Attempts(long_film, tmp_path / "out")
    attempts.interrupted(painted(Painter(PLANS["low"], dies_in=2)))
    stopped = attempts.job.progress
    assert 2 / 3 < stopped < 0.99
    attempts.interrupted(painted(Painter(PLANS["low"], dies_in=0)))
    assert attempts.job.progress == pytest.approx(stopped, abs=0.01)


def test_other_windows_are_another_clip(long_film: Path, tmp_path: Path) -> None:
    """A machine with more memory takes longer windows: theirs do not fit to what is there."""
    attempts = Attempts(long_film, tmp_path / "out")
    attempts.interrupted(painted(Painter(PLANS["low"], dies_in=2)))
    painter = Painter(PLANS["balanced"])
    result = attempts.make(painted(painter))
    assert [request.frame_count for request in painter.requests] == [81, 57]
    expected = Attempts(long_film, tmp_path / "fresh").make(painted(Painter(PLANS["balanced"])))
    assert contents(result) == contents(expected)


def test_a_plan_that_falls_back_in_the_middle_keeps_the_windows_with_which_it_began(
    long_film: Path, tmp_path: Path
) -> None:
    painters: list[Painter] = []

    def load(plan: Plan) -> Painter:
        painters.append(Painter(plan, lacks_memory_in=None if painters else 1))
        return painters[-1]

    engine = WanEngine(MemoryFallback(load, PLANS["balanced"]), mixed, area=AREA, guidance=5.0)
    result = Attempts(long_film, tmp_path / "out").make(engine)
    assert [painter.plan.name for painter in painters] == ["balanced", "low"]
    assert [request.frame_count for painter in painters for request in painter.requests] == [81, 57]
    expected = Attempts(long_film, tmp_path / "fresh").make(painted(Painter(PLANS["balanced"])))
    assert contents(result) == contents(expected)
