"""Segments that somebody else makes: a helper takes one of them, and what others are at work on is waited for."""

import pytest

from shared.pipeline.job import JobStopped, SegmentMade
from shared.pipeline.segment_store import MemoryLedger, SegmentStart
from tests.support.segmented_work import Assigned, Attempts, Model, contents


@pytest.mark.parametrize("number", [1, 2, 4])
def test_a_helper_makes_one_segment_and_publishes_nothing(attempts: Attempts, number: int) -> None:
    expected, _ = Attempts(attempts.source, attempts.folder / "undisturbed").make(Model())
    attempts.interrupted(10)
    own = attempts.ledger
    [first] = own.records()
    helper, attempts.ledger = Model(), Assigned(own, number, first.fingerprint)
    with pytest.raises(SegmentMade):
        attempts.make(helper)
    assert helper.made == 10
    assert attempts.visible() == ["undisturbed"]
    assert {record.number for record in own.records()} == {0, number}
    attempts.ledger, model = own, Model()
    result, _ = attempts.make(model)
    assert model.made == 30
    assert contents(result) == contents(expected)


def test_a_helper_that_would_make_it_otherwise_makes_nothing(attempts: Attempts) -> None:
    attempts.interrupted(10)
    [first] = attempts.ledger.records()
    attempts.ledger, helper = Assigned(attempts.ledger, 3, first.fingerprint), Model(name="another")
    with pytest.raises(JobStopped):
        attempts.make(helper)
    assert helper.made == 0


def test_what_another_is_at_work_on_is_waited_for_and_not_made_twice(
    attempts: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, _ = Attempts(attempts.source, attempts.folder / "undisturbed").make(Model())
    monkeypatch.setattr("shared.pipeline.segmented_video._LOOK_SECONDS", 0.01)
    attempts.make(Model())
    theirs = {record.number: record for record in attempts.ledger.records() if record.number in {1, 4}}

    class Shared(MemoryLedger):
        """Segments 1 and 4 are in the hands of others, who finish them after a while."""

        asked = 0

        def begin(self, start: SegmentStart) -> bool:
            if start.number not in theirs:
                return super().begin(start)
            self.asked += 1
            if self.asked > 5:
                self._records[start.number] = theirs[start.number]
            return False

    attempts.ledger, model = Shared(), Model()
    result, tally = attempts.make(model)
    assert model.made == 30
    assert tally["frames"] == 50
    assert contents(result) == contents(expected)
