"""The work of a task: what is counted, what is refused with which figure, and what passes by default."""

import pytest

from services.interpo.request import InterpoRequest
from services.upscale.request import UpscaleRequest
from shared.errors import JobFailed, Rejected
from shared.pipeline.work import SMALLEST_FRAME, Work
from shared.settings import LimitSettings

FILE = {"task_id": 1, "video_url": "/in.mp4", "dist_dir": "/out"}
TWO_HOURS = 2 * 3600


@pytest.mark.parametrize("ratio", [1, 4])
def test_a_film_of_two_hours_passes_by_default_and_a_whole_day_does_not(ratio: int) -> None:
    work = UpscaleRequest.model_validate(FILE | {"ratio": ratio}).work(1920, 1080, None)
    work.check(TWO_HOURS * 60, name="film.mp4", limits=LimitSettings())
    with pytest.raises(Rejected, match=r"film\.mp4 is 68,797,071 megapixels of work or more; .* allows 16,000,000"):
        work.check(12 * TWO_HOURS * 24, name="film.mp4", limits=LimitSettings())


def test_a_small_frame_counts_as_much_as_it_costs() -> None:
    work = InterpoRequest.model_validate(FILE | {"rate": 8}).work(1, 1, None)
    assert work.megapixels(1_000_000) == 8 * SMALLEST_FRAME
    assert work.estimate(10) == {"frames": 80, "megapixels": 5.2}
    assert work.estimate(None) == {"frames": None, "megapixels": None}


def test_frames_are_counted_where_nothing_was_known_and_the_sentence_is_the_same() -> None:
    work, limits = Work(frames=2, pixels=1_000_000), LimitSettings(max_task_megapixels=10)
    passed: list[int] = []
    with pytest.raises(JobFailed) as failed:
        passed.extend(work.limited(range(100), name="a.gif", limits=limits))
    with pytest.raises(Rejected) as rejected:
        work.check(6, name="a.gif", limits=limits)
    assert passed == [0, 1, 2, 3, 4]
    assert str(failed.value) == str(rejected.value)
    assert failed.value.sentence("zh") == rejected.value.sentence("zh")
    assert "12 megapixels" in str(failed.value)
    assert "allows 10 a task" in str(failed.value)
