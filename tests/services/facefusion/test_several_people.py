"""Several sources in one run: who gets whose face, what the details tell, and what a wrong entry does."""

import hashlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from services.facefusion.face import Face
from shared import weights
from shared.arrays import Image
from shared.errors import JobFailed
from shared.pipeline.direct_job import DirectJob
from shared.pipeline.job import Result
from tests.services.facefusion.test_pipeline import decode, halves, write_video
from tests.services.facefusion.test_segments import Attempts
from tests.support.faces import frames_of, man, model, pair, portrait, read, run, save, woman

People = dict[str, Path]


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> People:
    """Sources: the man's photograph, the woman's frame mirrored, somebody of a group."""
    folder = tmp_path_factory.mktemp("people")
    return {
        "man": portrait(folder),
        "woman": save(folder / "woman.png", np.ascontiguousarray(woman()[:, ::-1])),
        "third": weights.path("picture-multi-face"),
        "nobody": save(folder / "nobody.png", np.full((90, 160, 3), 90, np.uint8)),
        "pair": save(folder / "pair.png", pair()),
        "film": film(folder / "film.mp4"),
    }


def film(path: Path) -> Path:
    """The man on the left and the woman on the right, both moving: 24 frames."""
    his, hers = frames_of("clip-single-face", count=24), frames_of("clip-woman-hands", count=24, start=300)
    pictures = [np.hstack([one[:, 40:520], other[:, 160:]]) for one, other in zip(his, hers, strict=True)]
    return write_video(path, pictures)


def swapped(
    folder: Path, people: People, faces: list[dict[str, Any]], target: str = "pair", **fields: Any
) -> tuple[Result, DirectJob]:
    """Run a generation with entries whose sources are called by their names."""
    entries = [
        entry | ({"source_file": str(people[entry["source_file"]])} if "source_file" in entry else {})
        for entry in faces
    ]
    given: dict[str, Any] = {"programe": 1, "faces": entries} | fields
    return run(folder, Path(str(given.pop("source", ""))), people[target], **given)


def likeness(image: Image, face: Face, source: Image) -> float:
    """How much a face of a picture resembles the largest one of a source, as the swapper's own embedder sees it."""
    portrait_face = model().largest(source)
    assert portrait_face is not None
    return float(model().embed(image, face.landmarks5) @ model().embed(source, portrait_face.landmarks5))


def test_each_source_is_put_on_the_face_that_its_entry_means(tmp_path: Path, people: People) -> None:
    crossed = [
        {"source_file": "woman", "reference_face_position": 0},
        {"source_file": "man", "reference_face_position": 1},
    ]
    result, job = swapped(tmp_path, people, crossed)

    picture = read(tmp_path / result.video)
    left, right = sorted(model().detect(picture), key=lambda face: float(face.centre[0]))
    his, hers = read(people["man"]), read(people["woman"])
    assert likeness(picture, left, hers) > likeness(picture, left, his) + 0.2
    assert likeness(picture, right, his) > likeness(picture, right, hers) + 0.2
    assert [(row["reason"], row["entry"]) for row in job.details["match"]["tracks"]] in (
        [("matched", 0), ("matched", 1)],
        [("matched", 1), ("matched", 0)],
    )
    assert [row["reference_face_position"] for row in job.details["entries"]] == [0, 1]
    assert all(len(row["tracks"]) == 1 and "reason" not in row for row in job.details["entries"])


def test_the_audit_names_every_source(tmp_path: Path, people: People) -> None:
    _, job = swapped(tmp_path, people, [{"source_file": "woman"}, {"source_file": "third"}, {"source_file": "woman"}])

    hashes = [hashlib.sha256(people[name].read_bytes()).hexdigest() for name in ("woman", "third", "woman")]
    assert job.details["audit"]["source_sha256s"] == hashes
    assert job.details["audit"]["source_sha256"] == hashes[0]


def test_one_entry_is_what_the_request_without_faces_is(tmp_path: Path, people: People) -> None:
    plain, job = run(tmp_path / "plain", people["woman"], people["film"], programe=1, reference_face_position=1)
    listed, other = swapped(
        tmp_path / "listed", people, [{"source_file": "woman", "reference_face_position": 1}], target="film"
    )

    assert all(
        np.array_equal(one, two)
        for one, two in zip(
            decode(tmp_path / "plain" / plain.video), decode(tmp_path / "listed" / listed.video), strict=True
        )
    )
    assert "entries" not in job.details
    assert all("entry" not in row for row in job.details["match"]["tracks"])
    assert other.details["swapped_frames"] == job.details["swapped_frames"] == 24


def test_a_film_has_all_its_people_in_one_pass(tmp_path: Path, people: People) -> None:
    faces = [{"source_file": "woman"}, {"source_file": "man"}]
    result, job = swapped(tmp_path, people, faces, target="film")

    his, hers = read(people["man"]), read(people["woman"])
    for picture in decode(tmp_path / result.video)[::8]:
        left, right = sorted(model().detect(picture), key=lambda face: float(face.centre[0]))
        assert likeness(picture, left, hers) > likeness(picture, left, his)
        assert likeness(picture, right, his) > likeness(picture, right, hers)
    tracks = job.details["match"]["tracks"]
    assert {(row["entry"], row["swapped_frames"]) for row in tracks} == {(0, 24), (1, 24)}
    assert job.details["reference_frame"] == 0


def test_an_entry_without_a_source_has_the_requests_own(tmp_path: Path, people: People) -> None:
    _, job = swapped(tmp_path, people, [{}, {"source_file": "man"}], source=str(people["woman"]))
    hashes = job.details["audit"]["source_sha256s"]
    assert hashes[0] == hashlib.sha256(people["woman"].read_bytes()).hexdigest()
    assert hashes[0] != hashes[1]


def test_what_acceptance_knew_counts_for_every_entry(tmp_path: Path, people: People) -> None:
    seen, _ = run(tmp_path / "seen", people["man"], people["pair"])
    assert seen.artifact is not None
    hers = seen.artifact["faces"][1]
    context = {"references": [hers | {"embedder": "other", "embedding": [1.0] * 512}, None]}

    result, job = swapped(tmp_path / "out", people, [{"source_file": "man"}, {"source_file": "woman"}], context=context)

    left, right = halves(read(tmp_path / "out" / result.video))
    assert left < 0.01 < right
    assert job.details["entries"][1]["reason"] == "no face at this position"


@pytest.mark.parametrize("target", ["pair", "film"])
def test_more_entries_than_faces_are_said_and_the_last_face_is_not_taken_twice(
    tmp_path: Path, people: People, target: str
) -> None:
    faces = [
        {"source_file": "woman", "reference_face_position": 5},
        {"source_file": "man", "reference_face_position": 1},
    ]
    _, job = swapped(tmp_path, people, faces, target=target)

    past, found = job.details["entries"]
    assert past == {"entry": 0, "tracks": [], "reference_face_position": 5, "reason": "no face at this position"}
    assert len(found["tracks"]) == 1
    with pytest.raises(JobFailed, match="every reference_face_position in faces is past"):
        swapped(tmp_path / "none", people, faces[:1], target=target)
    assert list((tmp_path / "none").iterdir()) == []


def test_a_preview_shows_every_entry_and_the_gallery_when_none_has_a_face(tmp_path: Path, people: People) -> None:
    faces = [{"source_file": "woman"}, {"source_file": "man"}]
    result, job = swapped(tmp_path / "two", people, faces, programe=0)
    assert min(halves(read(tmp_path / "two" / result.preview))) > 0.5
    assert [len(row["tracks"]) for row in job.details["entries"]] == [1, 1]

    nobody, job = swapped(tmp_path / "none", people, [{"source_file": "man", "reference_face_position": 9}], programe=0)
    assert len(nobody.references) == 2
    assert job.details["swapped_frames"] == 0


@pytest.mark.parametrize(
    ("mode", "faces", "expected"),
    [
        ("many", [{"source_file": "man", "face_analyse_gender": "female"}, {"source_file": "third"}], {1: 0, 0: 1}),
        ("many", [{"source_file": "man"}, {"source_file": "third"}], {0: 0, 1: 0}),
        ("one", [{"source_file": "woman"}, {"source_file": "man"}], {0: 0, 1: 1}),
        ("one", [{"source_file": "woman", "face_analyse_gender": "male"}], {0: 0}),
    ],
)
def test_without_references_entries_take_by_filters_in_their_order(
    tmp_path: Path, people: People, mode: str, faces: list[dict[str, Any]], expected: dict[int, int]
) -> None:
    """`expected` is by the half of the picture: which entry it has."""
    result, job = swapped(tmp_path, people, faces, face_selector_mode=mode)

    changed = [value > 0.5 for value in halves(read(tmp_path / result.video))]
    assert changed == [half in expected for half in (0, 1)]
    given = [row["entry"] for row in job.details["match"]["tracks"] if row["swapped_frames"]]
    assert sorted(given) == sorted(expected.values())
    assert all("reference_face_position" not in row for row in job.details["entries"])


@pytest.mark.parametrize("programe", [0, 1])
def test_a_source_without_a_face_is_named_by_its_place(tmp_path: Path, people: People, programe: int) -> None:
    faces = [{"source_file": "man"}, {"source_file": "nobody"}]
    with pytest.raises(JobFailed, match=r"faces\[1\]\.source_file shows no face"):
        swapped(tmp_path, people, faces, programe=programe)
    assert list(tmp_path.iterdir()) == []


def test_a_source_may_be_a_video_and_the_details_say_which_frame_was_taken(tmp_path: Path, people: People) -> None:
    blank = np.zeros_like(man())
    moving = write_video(tmp_path / "in" / "source.mp4", [blank, blank, woman()])
    with_film = people | {"moving": moving}

    result, job = swapped(tmp_path / "out", with_film, [{"source_file": "moving"}, {"source_file": "man"}])
    single, alone = run(tmp_path / "out", moving, people["pair"], programe=1)

    assert job.details["source_frames"] == {"faces[0].source_file": 2}
    assert alone.details["source_frames"] == {"source_file": 2}
    assert alone.details["audit"]["source_sha256"] == hashlib.sha256(moving.read_bytes()).hexdigest()
    assert (tmp_path / "out" / result.video).is_file()
    assert (tmp_path / "out" / single.video).is_file()


# Crowds, and films in segments


def test_two_of_fifty_people_are_changed_and_the_others_stay(tmp_path: Path, people: People) -> None:
    """Ten columns of five: the two people of the tests in turns, mirrored in every other row."""
    heads = [man()[60:340, 150:430], woman()[0:340:1, 250:590][:280, :280]]
    small = [np.asarray(cv2.resize(head, (128, 128), interpolation=cv2.INTER_AREA), np.uint8) for head in heads]
    rows = [
        np.hstack([np.ascontiguousarray(small[(row + column) % 2][:, :: 1 - 2 * (row % 2)]) for column in range(10)])
        for row in range(5)
    ]
    crowd = people | {"crowd": save(tmp_path / "in" / "crowd.png", np.vstack(rows))}
    found = len(model().detect(np.vstack(rows)))

    _, many = swapped(tmp_path / "many", crowd, [{"source_file": "third"}], target="crowd", face_selector_mode="many")
    preview, job = swapped(
        tmp_path / "two", crowd, [{"source_file": "third"}, {"source_file": "woman"}], "crowd", programe=0
    )

    assert found >= 40
    assert len(preview.references) == found
    assert sum(row["swapped_frames"] for row in many.details["match"]["tracks"]) >= 0.8 * found
    assert 1 <= sum(row["swapped_frames"] for row in job.details["match"]["tracks"]) <= 4


@pytest.mark.slow
def test_a_film_in_segments_keeps_whose_face_everybody_has(tmp_path: Path, people: People) -> None:
    faces = [{"source_file": str(people[name])} for name in ("woman", "man")]
    whole = Attempts(tmp_path / "whole", people["man"], people["film"], faces=faces)
    result, details = decode(whole.make()), whole.details()

    killed = Attempts(tmp_path / "killed", people["man"], people["film"], faces=faces)
    killed.interrupted(14)
    again = decode(killed.make())

    assert all(np.array_equal(one, two) for one, two in zip(result, again, strict=True))
    assert killed.details()["entries"] == details["entries"]
    assert [len(row["tracks"]) for row in details["entries"]] == [1, 1]


@pytest.mark.slow
def test_segments_of_other_sources_are_not_used(tmp_path: Path, people: People) -> None:
    source = tmp_path / "in" / "source.png"
    save(source, read(people["woman"]))
    faces = [{"source_file": str(people["man"])}, {"source_file": str(source)}]
    attempts = Attempts(tmp_path / "out", people["man"], people["film"], faces=faces)
    attempts.interrupted(14)
    save(source, np.ascontiguousarray(woman()))

    again = decode(attempts.make())

    fresh = Attempts(tmp_path / "fresh", people["man"], people["film"], faces=faces)
    assert all(np.array_equal(one, two) for one, two in zip(again, decode(fresh.make()), strict=True))
