"""The figures: counters that only grow, gauges that are true, and a page that answers while the database does not."""

import asyncio
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

import pytest
from prometheus_client.parser import text_string_to_metric_families

from shared.metrics.bounded_probe import BoundedProbe
from shared.metrics.ended_tasks import OVERLAP, EndedTaskCounters
from shared.metrics.instruments import Counter, Histogram, gauge, merge, render
from shared.metrics.task_queries import Ended
from shared.testing import processes
from shared.testing.callback_receiver import Receiver, well_behaved
from tests.support.tiny_service import PATIENCE_SECONDS, TinyService

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def samples(page: str) -> dict[tuple[str, str], float]:
    """Read a page as Prometheus does: name and the values of its labels, in their order -> value."""
    return {
        (sample.name, " ".join(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def ended(seconds: float, **changes: object) -> Ended:
    """A task that ended so long after noon."""
    told = {"state": "succeeded", "crashes": 0, "wait_seconds": 1.0, "run_seconds": 3.0, "frames": 10.0} | changes
    return Ended(uuid4(), "generate", "1", finished_at=NOON + timedelta(seconds=seconds), **told)  # type: ignore[arg-type]


def counted(counters: EndedTaskCounters) -> dict[tuple[str, str], float]:
    return samples(render(counters.families()))


def test_an_end_is_counted_once_though_every_look_shows_it_again() -> None:
    counters = EndedTaskCounters("upscale")
    counters.begin(NOON)
    first, late = ended(10), ended(5)
    counters.count([first])
    counters.count([first, late])  # stamped before the first, committed after it
    counters.count([])
    counters.count([first, late, ended(20)])
    assert counted(counters)["kinora_tasks_ended_total", "generate upscale succeeded 1"] == 3
    assert counted(counters)["kinora_frames_total", "generate upscale 1"] == 30


def test_segments_and_their_repetitions_are_counted_with_their_task() -> None:
    counters = EndedTaskCounters("upscale")
    counters.begin(NOON)
    counters.count([ended(1), ended(2, segments=12.0, repeated=2.0), ended(3, segments=3.0, repeated=0.0)])
    assert counted(counters)["kinora_segments_finished_total", "generate upscale 1"] == 15
    assert counted(counters)["kinora_segments_repeated_total", "generate upscale 1"] == 2


def test_what_ended_before_the_process_began_is_not_its_news_and_what_is_purged_stays_counted() -> None:
    counters = EndedTaskCounters("upscale")
    counters.begin(NOON)
    counters.count([ended(-1), ended(1)])
    counters.count([])
    assert counters.since == NOON + timedelta(seconds=1) - OVERLAP
    assert counted(counters)["kinora_tasks_ended_total", "generate upscale succeeded 1"] == 1


def test_a_task_that_killed_its_runners_counts_as_poison_and_its_crashes_add_up() -> None:
    counters = EndedTaskCounters("upscale")
    counters.begin(NOON)
    counters.count(
        [ended(1, state="failed", crashes=3, run_seconds=None), ended(2, crashes=1), ended(3, state="failed")]
    )
    figures = counted(counters)
    assert figures["kinora_tasks_poisoned_total", "generate upscale 1"] == 1
    assert figures["kinora_task_crashes_total", "generate upscale 1"] == 4
    assert figures["kinora_task_run_seconds_count", "generate upscale 1"] == 1


def test_series_exist_before_their_first_event() -> None:
    counters = EndedTaskCounters("interpo")
    counters.declare("generate", "1")
    figures = counted(counters)
    assert figures["kinora_tasks_ended_total", "generate interpo failed 1"] == 0
    assert figures["kinora_task_run_seconds_bucket", "generate +Inf interpo 1"] == 0


def test_the_buckets_of_a_histogram_are_cumulative_and_end_with_the_count() -> None:
    spread = Histogram("kinora_x_seconds", "X", ("service",), (1, 5))
    for value in (0.5, 1, 3, 100):
        spread.add("a", value=value)
    figures = samples(render([spread.family()]))
    buckets = [figures["kinora_x_seconds_bucket", f"{bound} a"] for bound in ("1.0", "5.0", "+Inf")]
    assert buckets == [2, 3, 4]
    assert figures["kinora_x_seconds_count", "a"] == 4
    assert figures["kinora_x_seconds_sum", "a"] == 104.5


def test_pages_of_several_services_become_one_with_each_family_once_and_nothing_of_others() -> None:
    pages = []
    for service in ("upscale", "interpo"):
        tally = Counter("kinora_a_total", "A", ("service",))
        tally.add(service)
        other = Counter("kinora_b_total", 'B "quoted" \\ x', ("service", "odd"))
        other.add(service, 'x"y\\z\n{}')
        foreign = "# HELP bentoml_x X\n# TYPE bentoml_x counter\nbentoml_x 1.0\n"
        pages.append(foreign + render([tally.family(), other.family()]))
    merged = merge(pages)
    assert merged.count("# TYPE kinora_a_total counter") == 1
    assert "bentoml" not in merged
    assert samples(merged)["kinora_a_total", "interpo"] == 1
    assert len(samples(merged)) == 4


def test_a_page_that_is_none_costs_only_itself() -> None:
    counter = Counter("kinora_a_total", "A", ("service",))
    counter.add("upscale")
    merged = merge(["<html>oops</html>", render([counter.family()]), 'kinora_a_total{service="'])
    assert samples(merged) == {("kinora_a_total", "upscale"): 1.0}


def test_merging_changes_nothing_in_a_page_of_ours() -> None:
    counters = EndedTaskCounters("upscale")
    counters.begin(NOON)
    counters.count([ended(1), ended(2, state="failed", run_seconds=0.123456789)])
    page = render([*counters.families(), gauge("kinora_folder_free_bytes", "Room", ("folder",), [(("/a b",), 2.5e14)])])
    assert merge([page]) == page


async def test_a_look_that_hangs_is_left_alone_and_not_begun_twice() -> None:
    begun = []

    def look() -> int:
        begun.append(1)
        time.sleep(0.3)
        return 7

    probe = BoundedProbe(look, seconds=0.02)
    assert [await probe.take(), await probe.take()] == [None, None]
    await asyncio.sleep(0.4)
    assert await probe.take() == 7
    assert len(begun) == 1


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[TinyService]:
    with TinyService(tmp_path_factory.mktemp("metrics"), receiver, version="7") as service:
        yield service


def page_with(
    service: TinyService, condition: Callable[[dict[tuple[str, str], float]], bool]
) -> dict[tuple[str, str], float]:
    """Scrape until a condition holds: what is shown is up to two seconds old."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        figures = samples(str(service.ask("metrics")))
        if condition(figures):
            return figures
        assert time.monotonic() < deadline, figures
        time.sleep(0.3)


def test_what_waits_and_runs_is_shown_with_the_age_of_the_oldest(service: TinyService, receiver: Receiver) -> None:
    service.post(1, seconds=60)
    service.wait_until(1, "running")
    for task_id in (2, 3):
        service.post(task_id)
    service.post(3)  # the same again
    labels = "generate upscale 7"
    figures = page_with(service, lambda seen: seen["kinora_tasks_waiting", labels] == 2)
    assert figures["kinora_tasks_running", labels] == 1
    later = page_with(service, lambda seen: seen["kinora_tasks_oldest_waiting_seconds", labels] > 3)
    assert later["kinora_tasks_accepted_total", "generate false upscale"] == 3
    assert later["kinora_tasks_accepted_total", "generate true upscale"] == 1
    assert later["kinora_runner_up", "generate upscale"] == 1
    assert later["kinora_runners_silent_seconds", labels] < 60
    service.cancel(1)
    for task_id in (2, 3):
        receiver.wait_for(task_id, timeout_seconds=PATIENCE_SECONDS)
    after = page_with(service, lambda seen: seen["kinora_tasks_ended_total", "generate upscale succeeded 7"] == 2)
    assert after["kinora_tasks_ended_total", "generate upscale cancelled 7"] == 1
    assert after["kinora_task_run_seconds_count", labels] == 2
    assert after["kinora_tasks_waiting", labels] == 0


def test_runners_that_help_are_counted(service: TinyService, receiver: Receiver) -> None:
    labels = "generate upscale 7"
    page_with(service, lambda seen: seen["kinora_helpers_busy", labels] == 0)
    service.post(30, seconds=60)
    service.wait_until(30, "running")
    for number, helper in ((1, 5), (2, 6), (3, None)):
        service.sql(
            "INSERT INTO kinora_segments (task, number, state, attempt, made_by, helper)"
            " SELECT id, %s, 'running', attempt, 'somebody', %s FROM kinora_tasks WHERE task_id = 30",
            number, helper,
        )  # fmt: skip
    page_with(service, lambda seen: seen["kinora_helpers_busy", labels] == 2)
    service.cancel(30)
    receiver.wait_for(30, timeout_seconds=PATIENCE_SECONDS)


def test_a_poisonous_task_shows_in_crashes_restarts_and_poison(service: TinyService, receiver: Receiver) -> None:
    service.post(10, behaviour="crash")
    receiver.wait_for(10, timeout_seconds=PATIENCE_SECONDS)
    labels = "generate upscale 7"
    figures = page_with(service, lambda seen: seen["kinora_tasks_poisoned_total", labels] == 1)
    assert figures["kinora_task_crashes_total", labels] == 3
    assert figures["kinora_runner_restarts_total", "generate upscale"] == 3


def test_callbacks_that_do_not_arrive_show_by_outcome_and_age(service: TinyService, receiver: Receiver) -> None:
    receiver.behave = lambda _delivery: "http 500"
    try:
        service.post(20)
        figures = page_with(service, lambda seen: seen["kinora_callback_attempts_total", "refused upscale"] >= 1)
        figures = page_with(
            service, lambda seen: seen["kinora_callbacks_oldest_undelivered_seconds", "upscale pending"] > 1
        )
        assert figures["kinora_callbacks_undelivered", "upscale pending"] == 1
    finally:
        receiver.behave = well_behaved
    receiver.wait_for(20, timeout_seconds=PATIENCE_SECONDS)
    page_with(service, lambda seen: seen["kinora_callbacks_undelivered", "upscale pending"] == 0)
    service.sql("UPDATE kinora_callbacks SET state = 'parked'")
    page_with(service, lambda seen: seen["kinora_callbacks_undelivered", "upscale parked"] >= 1)


def test_while_the_database_hangs_the_page_answers_without_what_it_cannot_know(service: TinyService) -> None:
    before = page_with(service, lambda seen: seen["kinora_database_up", "upscale"] == 1)
    with processes.suspended(service.postgres_pid()):
        figures = page_with(service, lambda seen: seen["kinora_database_up", "upscale"] == 0)
        assert not [name for name, _ in figures if name in {"kinora_tasks_waiting", "kinora_callbacks_undelivered"}]
        ends = {key for key in before if key[0] == "kinora_tasks_ended_total"}
        assert {key: figures[key] for key in ends} == {key: before[key] for key in ends}
        assert [name for name, _ in figures if name == "kinora_folder_free_bytes"]
    after = page_with(service, lambda seen: seen["kinora_database_up", "upscale"] == 1)
    assert after["kinora_tasks_ended_total", "generate upscale succeeded 7"] >= 3


def test_folders_are_shown_by_their_settings_and_gpus_only_where_they_are(service: TinyService) -> None:
    figures = page_with(service, bool)
    folders = {labels.split()[0] for name, labels in figures if name == "kinora_folder_free_bytes"}
    assert folders == {str(service.state), str(service.home)}
    assert any(name == "kinora_gpu_memory_used_bytes" for name, _ in figures) == Path("/dev/nvidia0").exists()


def test_counters_never_fall(service: TinyService) -> None:
    def counters() -> dict[tuple[str, str], float]:
        figures = samples(str(service.ask("metrics")))
        return {key: value for key, value in figures.items() if key[0].endswith(("_total", "_count", "_bucket"))}

    seen = []
    for _ in range(3):
        seen.append(counters())
        time.sleep(1)
    for earlier, later in pairwise(seen):
        assert all(later[key] >= value for key, value in earlier.items())
