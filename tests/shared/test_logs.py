"""JSON lines: all of a real run parses, what belongs to a task says so, and secrets and prompts stay out."""

import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from psycopg.types.json import Json
from pydantic import SecretStr

from shared.database.database import Database
from shared.database.pool import Pool
from shared.errors import Unavailable
from shared.logs import JsonLines, about, secrets_of
from shared.settings import AccessSettings, CallbackSettings, Settings
from shared.testing.callback_receiver import Receiver, well_behaved
from shared.testing.stack import Stack
from tests.support.tiny_service import PATIENCE_SECONDS, TinyService

TOKEN = "a-token-that-nobody-may-read"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PROMPT = "一只在雨中跳舞的猫 and nobody else's business"
TASK_WORDS = re.compile(r"\btask (\d+)\b")


def parsed(path: Path) -> list[dict[str, Any]]:
    """Read a log whole: a line that is no JSON object fails the test with its text."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            pytest.fail(f"no JSON: {line}")
        assert {"time", "level", "logger", "message", "pid"} <= lines[-1].keys(), line
    return lines


def of(lines: list[dict[str, Any]], task_id: int) -> str:
    """Return the story of one task: its lines' messages."""
    return "\n".join(line["message"] for line in lines if line.get("task_id") == task_id)


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def test_every_line_about_a_task_carries_its_id_whatever_becomes_of_the_task(
    tmp_path: Path, receiver: Receiver
) -> None:
    with TinyService(tmp_path, receiver, log_format="json") as service:
        receiver.behave = lambda seen: "http 500" if seen.payload["task_id"] == 1 and not receiver.of(1) else "ok"
        service.post(1)
        for task_id, behaviour in ((2, "fail"), (3, "break"), (4, "crash"), (5, "work")):
            service.post(task_id, behaviour=behaviour, note="note", seconds=30 if task_id == 5 else 0)
        service.post(6, kind="preview")
        service.wait_until(5, "running")
        service.cancel(5)
        for task_id in (2, 3, 4, 5, 6):
            receiver.wait_for(task_id, timeout_seconds=PATIENCE_SECONDS)
        receiver.behave = well_behaved
        receiver.wait_for(1, timeout_seconds=PATIENCE_SECONDS)
        service.stop()
    lines = parsed(tmp_path / "log")
    for line in lines:
        for named in TASK_WORDS.findall(line["message"]):
            assert line.get("task_id") == int(named), line
    assert "attempt 1 begins" in of(lines, 1)
    assert "not delivered (HTTP 500)" in of(lines, 1)
    assert "delivered at try 2" in of(lines, 1)
    [broken] = [line for line in lines if line.get("task_id") == 3 and "exception" in line]
    assert broken["exception"].startswith("Traceback")
    assert "ZeroDivisionError" in broken["exception"]
    assert broken["attempt"] == 1
    assert "attempt 3 begins" in of(lines, 4)
    assert "lost its runner" in of(lines, 4)
    assert "cancelled" in of(lines, 5)
    assert {line["kind"] for line in lines if line.get("task_id") == 6 and "attempt" in line} == {"preview"}
    kept = [line for line in lines if line["logger"].startswith("procrastinate") and "task_id" not in line]
    assert kept == []


def test_a_real_stack_logs_nothing_but_json_and_no_secret_and_no_prompt(tmp_path: Path, receiver: Receiver) -> None:
    photo = tmp_path / "photo.png"
    Image.effect_noise((192, 128), 60).convert("RGB").save(photo)
    environment = {
        "KINORA_SERVICES": "creation",
        "KINORA_LOG_FORMAT": "json",
        "KINORA_TOKEN": TOKEN,
        "KINORA_WEBHOOK_SECRET": SECRET,
        "KINORA_CREATION_ENGINE": "classic",
    }
    stack = Stack(tmp_path / "state", (tmp_path,), receiver.url, environment=environment)
    body = {"task_id": 700, "category": 2, "image_url": str(photo), "prompt_cn": PROMPT, "dist_dir": str(tmp_path)}
    with stack.running(), stack.client() as client:
        bearer = {"authorization": f"Bearer {TOKEN}"}
        assert client.post("/api/ai/creation", json=body, headers=bearer).json()["err_code"] == 0
        refused = body | {"task_id": 701, "fps": 7}
        assert client.post("/api/ai/creation", json=refused, headers=bearer).json()["err_code"] == -1
        assert client.post("/api/ai/creation", json=body, headers={"authorization": "Bearer x"}).status_code == 401
        assert client.post("/api/ai/creation", content=b"{", headers=bearer).json()["err_code"] == -1
        assert client.post("/api/ai/tasks/702/cancel", headers=bearer).json()["err_code"] == -1
        assert client.get("/api/ai/tasks", headers=bearer).status_code == 200
        receiver.wait_for(700, timeout_seconds=150)
    text = stack.log.read_text(encoding="utf-8")
    lines = parsed(stack.log)
    for hidden in (TOKEN, SECRET, SECRET.removeprefix("whsec_"), "跳舞", "business"):
        assert hidden not in text
    assert "\\u8df3" not in text
    told = {(line["service"], line["task_id"]) for line in lines if line["logger"] == "bentoml.kinora.access"
            and "task_id" in line}  # fmt: skip
    assert told == {("router", 700), ("creation", 700), ("router", 701), ("creation", 701), ("router", 702),
                    ("creation", 702)}  # fmt: skip
    access = [line for line in lines if line["logger"] == "bentoml.kinora.access" and line["service"] == "router"]
    assert [line["status"] for line in access] == [200, 200, 401, 200, 200]
    assert all(line["method"] == "POST" and line["seconds"] >= 0 for line in access)
    assert "fps" in of(lines, 701)
    assert "succeeded" in of(lines, 700)
    assert "delivered at try 1" in of(lines, 700)
    assert {line["service"] for line in lines} == {"router", "creation"}
    for line in lines:
        for named in TASK_WORDS.findall(line["message"]):
            assert line.get("task_id") == int(named), line


def test_what_native_code_threads_and_warnings_say_becomes_lines_of_the_task_at_work() -> None:
    script = (
        "import os, threading, time, warnings, logging\n"
        "from shared import logs\n"
        "from shared.settings import Settings\n"
        "logs.configure(Settings(log_format='json'), service='upscale', kind='generate')\n"
        "logs.this_process_runs(task_id=9, attempt=2)\n"
        "os.write(2, b'[h264 @ 0x1] native words\\n'); os.write(1, b'printed\\n'); print('by hand', flush=True)\n"
        "time.sleep(0.3)\n"
        "logs.this_process_runs()\n"
        "os.write(2, b'idle words\\n')\n"
        "warnings.warn('two\\nlines')\n"
        "thread = threading.Thread(target=lambda: 1 / 0, name='spare'); thread.start(); thread.join()\n"
        "time.sleep(0.3)\n"
        "raise ValueError('the end')\n"
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2],
        timeout=60,
    )  # fmt: skip
    assert done.stdout == ""
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    native = {line["message"]: line.get("task_id") for line in lines if line["logger"] == "native"}
    assert native == {"[h264 @ 0x1] native words": 9, "printed": 9, "by hand": 9, "idle words": None}
    assert [line["logger"] for line in lines if "two\nlines" in line["message"]] == ["py.warnings"]
    assert [line["exception"].splitlines()[-1] for line in lines if "exception" in line] == [
        "ZeroDivisionError: division by zero",
        "ValueError: the end",
    ]
    assert all((line["service"], line["kind"]) == ("upscale", "generate") for line in lines)


def test_a_secret_that_somebody_logs_is_hidden_also_in_an_exception(caplog: pytest.LogCaptureFixture) -> None:
    settings = Settings(
        access=AccessSettings(token=SecretStr(f"{TOKEN}, other")),
        callbacks=CallbackSettings(
            webhook_secret=SecretStr(f"{SECRET} whsec_second"), url="http://user:hook-password@backend/notify"
        ),
        database_url=SecretStr("postgresql://kinora:p%40ssword@db/kinora"),
    )
    logger = logging.getLogger("test.logs")
    with about(task_id=3):
        try:
            raise ValueError(f"header: Bearer {TOKEN}")  # noqa: TRY301  # a traceback is wanted
        except ValueError:
            logger.exception("%s %s p@ssword p%%40ssword hook-password", TOKEN, SECRET)
        formatter = JsonLines({"service": "upscale"}, secrets_of(settings))
        line = formatter.format(caplog.records[0])
    for secret in (TOKEN, SECRET, "p@ssword", "p%40ssword", "hook-password"):
        assert secret not in line
    assert json.loads(line)["task_id"] == 3
    assert "\n" not in line


async def test_what_the_database_refuses_is_logged_without_the_row_that_it_quotes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database = Database(Settings(state_dir=tmp_path / "state")).start()
    try:
        pool = await Pool(database.uri).open()
        with pytest.raises(Unavailable):
            async with pool.transaction() as connection:
                await connection.execute(
                    "INSERT INTO kinora_tasks (id, service, kind, task_id, fingerprint, request, version, state)"
                    " VALUES (gen_random_uuid(), 'creation', 'generate', 1, '', %s, '1', 'nonsense')",
                    (Json({"prompt_cn": PROMPT}),),
                )
        await pool.close()
    finally:
        database.stop()
    assert "violates check constraint" in caplog.text
    assert "business" not in caplog.text
