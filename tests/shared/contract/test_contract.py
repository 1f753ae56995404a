"""`POST /api/ai/upscale` as the contract has it: every documented field and value, through the router and directly."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from shared.contract.messages import Answer, Callback, TaskView
from shared.testing.processes import command
from shared.testing.stack import Stack

ACCEPTED = {"err_code": 0, "err_msg": ""}
MISSING = object()
TASK_ID = "task_id is required: a whole number from 1 to 9223372036854775807"
RATIO = "ratio is required: one of 1, 2, 3, 4"
NAN = float("nan")
INFINITY = float("inf")


@pytest.fixture(scope="module", params=["router", "service"])
def face(stack: Stack, request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    """The router on its port, and the service on its own socket behind it."""
    if request.param == "router":
        with stack.client() as client:
            yield client
        return
    worker = next(process for process in stack.processes() if "--service-name upscale" in command(process))
    addresses = worker.environ()["BENTOML_RUNNER_MAP"]
    transport = httpx.HTTPTransport(uds=urlsplit(json.loads(addresses)["upscale"]).path)
    with httpx.Client(base_url="http://localhost", transport=transport, timeout=30) as client:
        yield client


@pytest.fixture
def body(task_id: int, clip: Path, dist_dir: Path) -> dict[str, Any]:
    return {"task_id": task_id, "video_url": str(clip), "ratio": 1, "dist_dir": str(dist_dir)}


def send(face: httpx.Client, body: dict[str, Any]) -> dict[str, Any]:
    """Post the text that Python's json makes of it, NaN and Infinity included."""
    answer = face.post("/api/ai/upscale", content=json.dumps(body))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    content: dict[str, Any] = answer.json()
    assert list(content) == ["err_code", "err_msg"]
    return content


REFUSED: list[tuple[str, object, str]] = [
    *(("task_id", value, TASK_ID) for value in (MISSING, None, "", 0, "0")),
    *(
        ("task_id", value, "task_id must be a whole number from 1 to 9223372036854775807, not ")
        for value in (-1, True, False, 1.5, "x", "1.0", "1 ", 2**63, -(2**63) - 1, 1e300, NAN, INFINITY, [1], {"a": 1})
    ),
    *(("ratio", value, RATIO) for value in (MISSING, None, "", 0, 0.0, "0")),
    *(
        ("ratio", value, "ratio must be one of 1, 2, 3, 4, not ")
        for value in (5, -1, 2.5, "2.5", "x", True, False, NAN, INFINITY, -INFINITY, 2**64, [2], {"ratio": 2})
    ),
    *(("video_url", value, "video_url is required: an absolute local path") for value in (MISSING, None, "")),
    *(("video_url", value, "video_url must be a string, not ") for value in (5, True, 2.5, ["a"], {"a": 1})),
    ("video_url", "a\0b", "video_url must not contain NUL or unpaired surrogates"),
    ("video_url", "/media/\ud800.mp4", "video_url must not contain NUL or unpaired surrogates"),
    ("video_url", "in/a.mp4", "video_url must be an absolute local path"),
    ("video_url", "https://example.org/a.mp4", "video_url must be a local path: local paths only"),
    ("video_url", r"C:\media\a.mp4", "video_url is a Windows path that no entry of KINORA_PATH_MAP translates"),
    ("video_url", "/etc/passwd", "video_url does not lie inside the media folders of KINORA_MEDIA_ROOTS"),
    ("video_url", "/etc/no-such-file", "video_url does not lie inside the media folders of KINORA_MEDIA_ROOTS"),
    *(("dist_dir", value, "dist_dir is required: an absolute local path") for value in (MISSING, None, "")),
    *(("dist_dir", value, "dist_dir must be a string, not ") for value in (5, True, ["a"])),
    ("dist_dir", "out", "dist_dir must be an absolute local path"),
    ("dist_dir", "/tmp", "dist_dir does not lie inside the media folders of KINORA_MEDIA_ROOTS"),
    ("dist_dir", "/proc/self/cwd", "dist_dir does not lie inside the media folders of KINORA_MEDIA_ROOTS"),
]


@pytest.mark.parametrize(("field", "value", "sentence"), REFUSED)
def test_a_value_that_is_not_documented_is_refused_by_name(
    face: httpx.Client, body: dict[str, Any], field: str, value: object, sentence: str
) -> None:
    changed = {name: kept for name, kept in (body | {field: value}).items() if kept is not MISSING}
    answer = send(face, changed)
    assert answer["err_code"] == -1
    assert answer["err_msg"].startswith(sentence)
    assert answer["err_msg"].isprintable()
    assert len(answer["err_msg"]) <= 255
    assert not Path(body["dist_dir"]).exists()


def test_a_refused_request_leaves_no_task(client: httpx.Client, body: dict[str, Any]) -> None:
    assert send(client, body | {"ratio": 9})["err_code"] == -1
    assert client.get(f"/api/ai/tasks/{body['task_id']}").status_code == 404


def test_every_spelling_of_a_request_is_one_and_the_same_task(face: httpx.Client, body: dict[str, Any]) -> None:
    task_id, quoted = body["task_id"], Path(body["video_url"]).as_uri()
    spellings = [
        body,
        body | {"ratio": 1.0, "task_id": float(task_id)},
        body | {"ratio": "1", "task_id": str(task_id)},
        body | {"unknown": [1, {"a": None}], "fps": "x", "seed": NAN, "note": "\ud800"},
        body | {"video_url": quoted},
        body | {"video_url": quoted.replace("file:///", "file://localhost/")},
        body | {"dist_dir": body["dist_dir"] + "/"},
    ]
    assert [send(face, spelling) for spelling in spellings] == [ACCEPTED] * len(spellings)
    [task] = face.get(f"/api/ai/tasks/{task_id}").json()["tasks"]
    assert task["task_id"] == task_id


@pytest.mark.parametrize("path", ["/api/ai/upscale", "/api/ai/upscale/"])
@pytest.mark.parametrize("content_type", [None, "text/plain", "application/json; charset=utf-8", "x-odd"])
def test_path_and_content_type_may_be_a_little_off(
    face: httpx.Client, body: dict[str, Any], path: str, content_type: str | None
) -> None:
    headers = {"content-type": content_type} if content_type else {}
    answer = face.post(path, content=json.dumps(body), headers=headers)
    assert (answer.status_code, answer.json()) == (200, ACCEPTED)


@pytest.mark.parametrize("task_id", [1, 2**53 + 1, 2**63 - 1])
def test_a_task_id_comes_back_as_the_same_integer(
    face: httpx.Client, body: dict[str, Any], media: Path, task_id: int
) -> None:
    assert send(face, body | {"task_id": task_id, "dist_dir": str(media / "out-ids")}) == ACCEPTED
    tasks = face.get(f"/api/ai/tasks/{task_id}").json()["tasks"]
    assert {task["task_id"] for task in tasks} == {task_id}


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '"text"', "42", "{'task_id': 1}", '{"task_id": 1', "[" * 50_000, "\xff\x00"]
)
def test_what_is_no_json_object_is_refused_with_status_200(face: httpx.Client, text: str) -> None:
    answer = face.post("/api/ai/upscale", content=text.encode("latin-1"))
    assert answer.status_code == 200
    assert answer.json()["err_code"] == -1
    assert answer.json()["err_msg"].startswith("the request body ")


def test_a_listed_task_has_every_documented_key(face: httpx.Client, body: dict[str, Any]) -> None:
    assert send(face, body) == ACCEPTED
    [task] = face.get(f"/api/ai/tasks/{body['task_id']}").json()["tasks"]
    assert list(task) == list(TaskView.model_fields)
    assert set(task) == {
        "id", "kind", "service", "task_id", "state", "progress", "queue_position", "eta_seconds", "created_at",
        "started_at", "finished_at", "attempt", "result", "callback", "details",
    }  # fmt: skip
    assert set(task["callback"]) == {"state", "attempts", "next_at"}
    assert (task["service"], task["kind"]) == ("upscale", "generate")


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("limit=0", "limit must be a whole number from 1 to 500"),
        ("limit=501", "limit must be a whole number from 1 to 500"),
        ("state=done", "state must be one of queued, running, succeeded, failed, cancelled"),
        ("service=painting", "service must be one of creation, facefusion, interpo, upscale"),
    ],
)
def test_a_list_query_is_read_as_strictly_as_a_body(face: httpx.Client, query: str, sentence: str) -> None:
    assert face.get(f"/api/ai/tasks?{query}").json()["err_msg"].startswith(sentence)


def test_an_unknown_task_cannot_be_found_or_cancelled(face: httpx.Client) -> None:
    assert face.get("/api/ai/tasks/123456789").status_code == 404
    assert face.get("/api/ai/tasks/0").status_code == 404
    answer = face.post("/api/ai/tasks/123456789/cancel")
    assert answer.json()["err_code"] == -1


def test_the_answer_and_the_callback_have_exactly_the_documented_keys() -> None:
    assert Answer().model_dump() == ACCEPTED
    assert list(Callback(task_id=1).model_dump()) == [
        "task_id", "preview_image", "reference_images", "video_url", "err_code", "err_msg",
    ]  # fmt: skip
    assert Callback(task_id=1).reference_images == []
