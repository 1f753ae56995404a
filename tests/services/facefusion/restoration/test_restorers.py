"""The table, and which restorer a task gets."""

from typing import get_args

import numpy as np
import pytest

from services.facefusion.face import ARCFACE_112
from services.facefusion.restoration.restorers import ARCFACE_256, FFHQ_512, RESTORERS, Restorers
from shared import weights
from shared.errors import JobFailed
from shared.settings.services import RestorerName


@pytest.fixture
def pulled(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The names that the store has."""
    here: set[str] = set()
    monkeypatch.setattr(weights, "exists", lambda name: name in here)
    return here


def test_settings_table_and_catalogue_have_the_same_restorers() -> None:
    assert set(get_args(RestorerName)) == {"none", "auto", *RESTORERS}
    assert set(RESTORERS) <= set(weights.entries())


def test_those_without_commercial_use_come_last_and_need_consent() -> None:
    gated = [weights.entry(name).needs_consent for name in RESTORERS]
    assert gated == sorted(gated)
    assert [name for name in RESTORERS if not weights.entry(name).needs_consent] == [
        "gfpgan-1.4",
        "restoreformer-plus-plus",
    ]


def test_a_template_lies_in_its_chip_upright_and_about_in_the_middle() -> None:
    for template, side in ((FFHQ_512, 512), (ARCFACE_256, 256)):
        assert ((template > 0) & (template < side)).all()
        assert template[:, 0].mean() == pytest.approx(side / 2, abs=side * 0.02)
        assert template[:2, 1].max() < template[2, 1] < template[3:, 1].min()
    assert np.ptp(ARCFACE_256, axis=0) == pytest.approx(np.ptp(ARCFACE_112, axis=0) * 2, rel=1e-5)


@pytest.mark.parametrize(
    ("setting", "cuda", "asked", "here", "chosen"),
    [
        ("none", True, False, {"gfpgan-1.4"}, None),
        ("none", False, True, {"gpen-bfr-256", "restoreformer-plus-plus"}, "restoreformer-plus-plus"),
        ("none", False, True, set(), None),
        ("auto", False, False, {"gfpgan-1.4"}, None),
        ("auto", True, False, {"gfpgan-1.4"}, "gfpgan-1.4"),
        ("auto", True, False, set(), None),
        ("auto", False, True, {"gfpgan-1.4"}, "gfpgan-1.4"),
        ("codeformer", False, False, {"gfpgan-1.4"}, "codeformer"),
    ],
)
def test_a_task_gets_the_named_one_or_the_first_that_was_pulled(
    *, pulled: set[str], setting: str, cuda: bool, asked: bool, here: set[str], chosen: str | None
) -> None:
    pulled |= here
    assert Restorers(setting, cuda=cuda).chosen(asked=asked) == chosen


def test_a_named_one_that_is_missing_is_told_with_its_command() -> None:
    with pytest.raises(JobFailed, match="kinora weights pull gpen-bfr-256"):
        Restorers("gpen-bfr-256")(False)


def test_nothing_is_loaded_where_nothing_is_wanted(pulled: set[str]) -> None:
    pulled.add("gfpgan-1.4")  # the store has no such file: to load it would raise
    assert Restorers("none")(False) is None
