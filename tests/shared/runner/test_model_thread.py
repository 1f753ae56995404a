"""The model's thread: one model for all tasks, loaded when it is first needed."""

import asyncio
import threading
from pathlib import Path

from shared.pipeline.direct_job import DirectJob
from shared.pipeline.job import Job, Result
from shared.runner.model_thread import ModelThread
from shared.runner.task_handler import TaskHandler
from shared.settings import Settings
from tests.support.tiny_runner import TinyRequest


class Loader:
    """Counts its loads; the first `failures` of them fail."""

    def __init__(self, failures: int = 0) -> None:
        self.loads = 0
        self.threads: set[str] = set()
        self._failures = failures

    def load(self, _settings: Settings) -> int:
        self.loads += 1
        if self.loads <= self._failures:
            raise FileNotFoundError
        return self.loads

    def work(self, _job: Job, request: TinyRequest, model: int) -> Result:
        self.threads.add(threading.current_thread().name)
        return Result(video=f"{request.note} {model}")

    def handler(self) -> TaskHandler:
        return TaskHandler(request=TinyRequest, load=self.load, work=self.work)


def run(home: Path, loader: Loader, *, preload: bool) -> list[str]:
    """Run two tasks; return their results."""

    async def both() -> list[str]:
        settings = Settings(state_dir=home / "state", media_roots=(home,))
        model = ModelThread(loader.handler, settings)
        if preload:
            await model.preload()
        job = DirectJob(home, settings)
        body = {"task_id": 1, "dist_dir": str(home), "note": "clip"}
        return [(await model.submit(lambda: model.run_pipeline(job, body))).video for _ in range(2)]

    return asyncio.run(both())


def test_a_model_is_loaded_once_for_all_tasks_in_a_thread_of_its_own(tmp_path: Path) -> None:
    loader = Loader()
    assert run(tmp_path, loader, preload=False) == ["clip 1", "clip 1"]
    assert loader.loads == 1
    [name] = loader.threads
    assert name.startswith("model")


def test_a_load_that_fails_ahead_of_the_first_task_is_tried_again_by_it(tmp_path: Path) -> None:
    loader = Loader(failures=1)
    assert run(tmp_path, loader, preload=True) == ["clip 2", "clip 2"]
