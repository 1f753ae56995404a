"""Face fusion as a backend meets it: through the router, on real people, to the callback."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from shared import weights
from shared.arrays import Image
from shared.demo.clips import facts
from shared.testing.callback_receiver import Receiver
from tests.support.faces import difference, frames_of, man, pair, portrait, read, save, woman

ACCEPTED = {"err_code": 0, "err_msg": ""}
CALLBACK_SECONDS = 280  # a runner yields to everything else on a busy machine, and then loads its model

Ask = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def people(media: Path) -> dict[str, Path]:
    """Files to work with: two people side by side, one alone, nobody, and a man's portrait."""
    folder = media / "faces"
    clip = folder / "说话 clip.mp4"
    folder.mkdir(exist_ok=True)
    clip.write_bytes(weights.path("clip-single-face").read_bytes())
    return {
        "portrait": portrait(folder),
        "pair": save(folder / "pair.png", pair()),
        "woman": save(folder / "woman.png", np.ascontiguousarray(woman()[:, ::-1])),
        "nobody": save(folder / "nobody.png", frames_of("clip-no-face", count=1)[0]),
        "clip": clip,
    }


@pytest.fixture
def ask(client: httpx.Client, people: dict[str, Path], dist_dir: Path, task_id: int) -> Ask:
    """Post a request; what a test does not name is a preview of the pair with the man's face."""

    def send(**changes: Any) -> dict[str, Any]:
        body = {"task_id": task_id, "dist_dir": str(dist_dir)}
        files = {"source_file": "portrait", "target_file": "pair"}
        body |= {field: str(people[changes.pop(field, name)]) for field, name in files.items()}
        answer = client.post("/api/ai/facefusion", json=body | changes)
        assert answer.status_code == 200
        content: dict[str, Any] = answer.json()
        return content

    return send


def outcome(receiver: Receiver, task_id: int, count: int = 1) -> dict[str, Any]:
    return receiver.wait_for(task_id, timeout_seconds=CALLBACK_SECONDS, count=count).payload


def changed(image: Image) -> list[bool]:
    """Which half of the pair was changed."""
    found = difference(image, pair())
    return [bool(found[:, :480].mean() > 0.5), bool(found[:, 480:].mean() > 0.5)]


def test_a_user_previews_picks_a_face_and_gets_it_in_whatever_order(
    ask: Ask, receiver: Receiver, task_id: int, dist_dir: Path
) -> None:
    assert ask(face_analyse_order="right-left") == ACCEPTED
    preview = outcome(receiver, task_id)
    assert preview["err_code"] == 0, preview["err_msg"]
    assert len(preview["reference_images"]) == 2
    assert preview["video_url"] == ""
    assert all("/" not in name and (dist_dir / name).is_file() for name in preview["reference_images"])
    assert read(dist_dir / preview["preview_image"]).shape == pair().shape

    # Position 1 of what was seen is the man on the left, though in this request's own order it would be the woman.
    assert ask(programe=1, reference_face_position=1, source_file="woman") == ACCEPTED
    result = outcome(receiver, task_id, count=2)

    assert result["err_code"] == 0, result["err_msg"]
    assert result["preview_image"] == ""
    assert result["reference_images"] == []
    assert changed(read(dist_dir / result["video_url"])) == [True, False]


def test_a_position_past_the_previewed_gallery_takes_its_last_face(ask: Ask, receiver: Receiver, task_id: int) -> None:
    assert ask() == ACCEPTED
    outcome(receiver, task_id)

    assert ask(programe=1, reference_face_position=2) == ACCEPTED
    result = outcome(receiver, task_id, count=2)
    assert result["err_code"] == 0, result["err_msg"]


def test_a_video_is_generated_with_its_match_report(
    *, ask: Ask, receiver: Receiver, client: httpx.Client, task_id: int, dist_dir: Path, people: dict[str, Path]
) -> None:
    assert ask(programe=1, source_file="woman", target_file="clip") == ACCEPTED
    result = outcome(receiver, task_id)

    assert result["err_code"] == 0, result["err_msg"]
    assert facts(dist_dir / result["video_url"]).frames == facts(people["clip"]).frames
    (row,) = client.get(f"/api/ai/tasks/{task_id}", params={"service": "facefusion"}).json()["tasks"]
    assert row["kind"] == "generate"
    assert row["progress"] == 1
    assert row["details"]["swapper"] == "classic"
    (track,) = row["details"]["match"]["tracks"]
    assert track["reason"] == "matched"
    assert track["swapped_frames"] == 72


def test_a_preview_does_not_wait_behind_a_generation(
    ask: Ask, receiver: Receiver, client: httpx.Client, task_id: int
) -> None:
    assert ask(programe=1, source_file="woman", target_file="clip", face_selector_mode="many") == ACCEPTED
    assert ask() == ACCEPTED

    preview = outcome(receiver, task_id)

    assert preview["preview_image"] != ""
    rows = client.get(f"/api/ai/tasks/{task_id}", params={"service": "facefusion"}).json()["tasks"]
    assert {row["kind"]: row["state"] for row in rows}["generate"] in {"queued", "running", "succeeded"}
    assert outcome(receiver, task_id, count=2)["video_url"] != ""


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"target_file": "nobody"}, "no face in frame 0"),
        ({"source_file": "nobody"}, "source_file shows no face"),
        ({"programe": 1, "reference_face_distance": 0}, "nearest distance is 0.0"),
        ({"face_analyse_age": "child"}, "face_analyse_age"),
    ],
)
def test_what_cannot_be_done_ends_with_its_reason_and_leaves_nothing(
    *, ask: Ask, receiver: Receiver, task_id: int, dist_dir: Path, fields: dict[str, Any], reason: str
) -> None:
    assert ask(**fields) == ACCEPTED

    result = outcome(receiver, task_id)

    assert result["err_code"] == -1
    assert reason in result["err_msg"]
    assert list(dist_dir.iterdir()) == []


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"face_selector_mode": "everybody"}, "reference, one, many"),
        ({"reference_face_distance": 2}, "1.5"),
        ({"frame_number": -1}, "frame_number"),
        ({"faces": "everybody"}, "faces must be a list of objects"),
        ({"faces": [{"source_file": "/nowhere/else.png"}]}, "faces[0].source_file"),
        ({"faces": [{"source_file": "{media}/missing.png"}]}, "faces[0].source_file"),
        ({"faces": [{}, {"source_file": "{media}/faces/notes.txt"}]}, "notes.txt"),
    ],
)
def test_what_is_wrong_is_refused_at_once(ask: Ask, media: Path, fields: dict[str, Any], said: str) -> None:
    (media / "faces" / "notes.txt").write_text("no picture")
    answer = ask(**json.loads(json.dumps(fields).replace("{media}", str(media))))

    assert answer["err_code"] == -1
    assert said in answer["err_msg"]


@pytest.mark.parametrize("programe", [0, 1])
def test_a_task_without_a_source_is_accepted_and_told_that_no_restorer_was_pulled(
    *, client: httpx.Client, receiver: Receiver, task_id: int, dist_dir: Path, people: dict[str, Path], programe: int
) -> None:
    body = {"task_id": task_id, "dist_dir": str(dist_dir), "target_file": str(people["pair"]), "programe": programe}
    refused = client.post("/api/ai/facefusion", json=body).json()
    assert "source_file" in refused["err_msg"]
    assert client.post("/api/ai/facefusion", json=body | {"enhance_only": 1}).json() == ACCEPTED

    result = outcome(receiver, task_id)

    assert result["err_code"] == -1
    assert "kinora weights pull gfpgan-1.4" in result["err_msg"]
    assert list(dist_dir.iterdir()) == []


def test_a_frame_past_the_end_is_the_last_one(ask: Ask, receiver: Receiver, task_id: int, dist_dir: Path) -> None:
    assert ask(target_file="clip", frame_number=10_000, reference_face_distance=0) == ACCEPTED
    result = outcome(receiver, task_id)

    last = frames_of("clip-single-face", count=1, start=71)[0]
    assert difference(read(dist_dir / result["preview_image"]), last).mean() < 3
    assert difference(read(dist_dir / result["preview_image"]), man()).mean() > 3


def test_two_people_get_two_sources_whose_positions_the_preview_told(
    *, ask: Ask, receiver: Receiver, client: httpx.Client, task_id: int, dist_dir: Path, people: dict[str, Path]
) -> None:
    """The gallery was seen from right to left: position 0 is the woman on the right."""
    assert ask(face_analyse_order="right-left") == ACCEPTED
    assert outcome(receiver, task_id)["err_code"] == 0

    faces = [
        {"source_file": str(people["clip"]), "reference_face_position": 0},
        {"source_file": str(people["woman"]), "reference_face_position": 7},
    ]
    assert ask(programe=1, source_file="nobody", faces=faces) == ACCEPTED
    result = outcome(receiver, task_id, count=2)

    assert result["err_code"] == 0, result["err_msg"]
    assert changed(read(dist_dir / result["video_url"])) == [False, True]
    tasks = client.get(f"/api/ai/tasks/{task_id}", params={"service": "facefusion"}).json()["tasks"]
    details = next(task["details"] for task in tasks if task["kind"] == "generate")
    assert [row.get("reason", "") for row in details["entries"]] == ["", "no face at this position"]
    assert set(details["source_frames"]) == {"faces[0].source_file"}
    assert len(set(details["audit"]["source_sha256s"])) == 2
    assert "work" not in details or details["work"]["frames"] == 1
