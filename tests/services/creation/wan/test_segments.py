"""A video through the real pipeline of Wan, in miniature: a new process goes on where a killed one stopped."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from services.creation.engine import OnProgress
from services.creation.engines.wan.checkpoints import VACE, find
from services.creation.engines.wan.engine import WanEngine
from services.creation.engines.wan.generation_request import GenerationRequest
from services.creation.engines.wan.generator import VaceGenerator
from services.creation.engines.wan.memory_fallback import MemoryFallback
from services.creation.engines.wan.plans import PLANS
from shared.arrays import Image
from shared.networks.compute import Compute
from shared.settings import CreationSettings, Settings
from tests.services.creation.test_segments import Attempts
from tests.support.clips import clip
from tests.support.segmented_work import Killed, contents
from tests.support.tiny_creation import mixed
from tests.support.tiny_wan import build_vace

PLAN = replace(PLANS["low"], steps=2, window=17)  # the next windows are 8 frames each, half a second


class MortalGenerator(VaceGenerator):
    """Dies in the second step of one of its runs."""

    runs = 0
    dies_in: int | None = None

    def __call__(self, request: GenerationRequest, on_progress: OnProgress) -> list[Image]:
        def report(progress: float) -> None:
            if self.runs == self.dies_in and progress > 0.5:
                raise Killed
            on_progress(progress)

        frames = super().__call__(request, report)
        self.runs += 1
        return frames


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_vace(tmp_path_factory.mktemp("wan") / "tiny")


def loaded(folder: Path, dies_in: int | None = None) -> tuple[WanEngine, MortalGenerator]:
    """Load the model anew, as another process does."""
    checkpoint = find(str(folder), VACE, Settings())
    assert checkpoint is not None
    settings = Settings(device="cpu", creation=CreationSettings(decoder="full"))
    generator = MortalGenerator(checkpoint, PLAN, Compute(torch.device("cpu"), torch.float32), settings)
    generator.dies_in = dies_in
    return WanEngine(MemoryFallback(lambda _plan: generator, PLAN), mixed, area=64 * 32, guidance=5.0), generator


@pytest.mark.slow
def test_windows_that_another_process_has_finished_are_gone_on_with(folder: Path, tmp_path: Path) -> None:
    film = clip(tmp_path / "in.mp4", seconds=2.2, options=["-g", "12"])
    fields: dict[str, Any] = {"prompt_cn": "海边的猫", "fps": 24}
    engine, generator = loaded(folder)
    expected = Attempts(film, tmp_path / "undisturbed", **fields).make(engine)
    windows = generator.runs
    assert windows == 4  # 17 frames, 8, 8 and the last 2 of 35
    attempts = Attempts(film, tmp_path / "out", **fields)
    for dies_in in (2, 0):
        engine, generator = loaded(folder, dies_in)
        attempts.interrupted(engine)
    engine, generator = loaded(folder)
    result = attempts.make(engine)
    assert generator.runs == windows - 2
    assert contents(result) == contents(expected)
