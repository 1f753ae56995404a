"""Bad input: one clear sentence, nothing lost, nothing left. Every file here has been seen in the wild."""

import os
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import httpx
import pytest
from PIL import Image

from benchmarks.clips import write_clip
from shared.testing.callback_receiver import Receiver

ACCEPTED = {"err_code": 0, "err_msg": ""}
Post = Callable[..., dict[str, Any]]


def everything_in(folder: Path) -> list[str]:
    """Hidden files too."""
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def empty(folder: Path) -> Path:
    (folder / "empty.mp4").touch()
    return folder / "empty.mp4"


def text_renamed(folder: Path) -> Path:
    (folder / "text.mp4").write_text("this is no video\n" * 1000)
    return folder / "text.mp4"


def truncated_header(folder: Path) -> Path:
    whole = write_clip(folder / "whole.mp4", size=(64, 48), frames=48).read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    return folder / "cut.mp4"


def truncated_content(folder: Path) -> Path:
    """The index is in front and whole, half of the pictures are missing: only decoding shows it."""
    source = write_clip(folder / "plain.mp4", size=(48, 32), frames=60)
    with av.open(source) as container, av.open(
        folder / "front.mp4", "w", format="mp4", options={"movflags": "faststart"}
    ) as output:  # fmt: skip
        stream = output.add_stream_from_template(container.streams.video[0])
        for packet in container.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                output.mux(packet)
    whole = (folder / "front.mp4").read_bytes()
    (folder / "front-cut.mp4").write_bytes(whole[: len(whole) * 2 // 3])
    return folder / "front-cut.mp4"


def zero_frames(folder: Path) -> Path:
    with av.open(folder / "none.mp4", "w", format="mp4") as output:
        stream = output.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        output.start_encoding()
    return folder / "none.mp4"


def audio_only(folder: Path) -> Path:
    source = write_clip(folder / "both.mp4", size=(64, 48), frames=48, sound=True)
    with av.open(source) as container, av.open(folder / "sound.mp4", "w", format="mp4") as output:
        stream = output.add_stream_from_template(container.streams.audio[0])
        for packet in container.demux(audio=0):
            if packet.dts is not None:
                packet.stream = stream
                output.mux(packet)
    return folder / "sound.mp4"


def encrypted(folder: Path) -> Path:
    source = write_clip(folder / "clear.mp4", size=(64, 48), frames=48)
    options = {
        "encryption_scheme": "cenc-aes-ctr",
        "encryption_key": "76a6c65c5ea762046bd749a2e632ccbb",
        "encryption_kid": "a7e61c373e219033c21091fa607bf3b8",
    }
    with av.open(source) as container, av.open(folder / "cenc.mp4", "w", format="mp4", options=options) as output:
        stream = output.add_stream_from_template(container.streams.video[0])
        for packet in container.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                output.mux(packet)
    return folder / "cenc.mp4"


def gigantic(folder: Path) -> Path:
    """A JPEG header that promises 60,000 x 60,000 pixels: eleven gigabytes for whoever believes it."""
    with av.open(folder / "huge.avi", "w", format="avi") as output:
        stream = output.add_stream("mjpeg", rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for _ in range(4):
            output.mux(stream.encode(av.VideoFrame(64, 48, "yuvj420p")))
        output.mux(stream.encode())
    content = (folder / "huge.avi").read_bytes()
    content = content.replace(struct.pack(">BHH", 8, 48, 64), struct.pack(">BHH", 8, 60_000, 60_000))  # the JPEG's
    content = content.replace(struct.pack("<II", 64, 48), struct.pack("<II", 60_000, 60_000))  # the container's
    (folder / "huge.avi").write_bytes(content)
    return folder / "huge.avi"


def playlist(folder: Path) -> Path:
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:1", *["#EXTINF:1,", "playlist.m3u8"] * 3]
    (folder / "playlist.m3u8").write_text("\n".join(lines))
    return folder / "playlist.m3u8"


def playlist_renamed(folder: Path) -> Path:
    clip = write_clip(folder / "segment.mp4", size=(64, 48), frames=4)
    (folder / "list.mp4").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{clip}\n")
    return folder / "list.mp4"


def concat_script(folder: Path) -> Path:
    clip = write_clip(folder / "piece.mp4", size=(64, 48), frames=4)
    (folder / "script.mp4").write_text(f"ffconcat version 1.0\nfile '{clip}'\n")
    return folder / "script.mp4"


def fifo(folder: Path) -> Path:
    os.mkfifo(folder / "pipe.mp4")
    return folder / "pipe.mp4"


def directory(folder: Path) -> Path:
    (folder / "folder.mp4").mkdir()
    return folder / "folder.mp4"


def missing(folder: Path) -> Path:
    return folder / "missing.mp4"


def link_outside(folder: Path) -> Path:
    (folder / "link.mp4").symlink_to("/etc/passwd")
    return folder / "link.mp4"


def dots_outside(folder: Path) -> Path:
    return folder / ".." / ".." / ".." / ".." / ".." / "etc" / "passwd"


def device(_folder: Path) -> Path:
    return Path("/dev/zero")


def picture(folder: Path) -> Path:
    Image.new("RGB", (64, 48), "red").save(folder / "still.png")
    return folder / "still.png"


BAD_FILES = [
    empty, text_renamed, truncated_header, truncated_content, zero_frames, audio_only, encrypted, gigantic, playlist,
    playlist_renamed, concat_script, fifo, directory, missing, link_outside, dots_outside, device, picture,
]  # fmt: skip
ONLY_WHEN_DECODED = {truncated_content}  # everything else is in the header, so it is refused at once


@pytest.mark.parametrize("make", BAD_FILES, ids=lambda make: make.__name__)
def test_a_bad_input_gets_one_clear_sentence_and_leaves_nothing(
    post: Post, receiver: Receiver, task_id: int, dist_dir: Path, make: Callable[[Path], Path]
) -> None:
    folder = dist_dir.parent / "bad" / make.__name__
    folder.mkdir(parents=True)
    answer = post(video_url=str(make(folder)))
    if make in ONLY_WHEN_DECODED:
        assert answer == ACCEPTED
        answer = receiver.wait_for(task_id, timeout_seconds=280).payload
    assert answer["err_code"] == -1
    sentence = answer["err_msg"]
    assert 10 < len(sentence) <= 255
    assert sentence.isprintable()
    assert "Traceback" not in sentence
    assert "Error" not in sentence
    assert everything_in(dist_dir) == []


def test_what_lies_outside_the_roots_is_refused_alike_whether_or_not_it_exists(post: Post) -> None:
    there, not_there = post(video_url="/etc/passwd"), post(video_url="/etc/no-such-file")
    assert there["err_code"] == -1
    assert there["err_msg"].replace("/etc/passwd", "") == not_there["err_msg"].replace("/etc/no-such-file", "")
    assert "KINORA_MEDIA_ROOTS" in there["err_msg"]


@pytest.mark.parametrize(
    "value", ["clip.mp4", "http://example.org/clip.mp4", "C:\\media\\clip.mp4", "", None, 7, [], "/a\0b", "rtsp://h/x"]
)
def test_a_path_that_is_no_local_absolute_path_is_refused_by_name(post: Post, value: object) -> None:
    answer = post(video_url=value)
    assert answer["err_code"] == -1
    assert "video_url" in answer["err_msg"]


@pytest.mark.parametrize("ratio", [0, 5, -1, "x", None, 2.5, True, False, "", [2], {}, 1e400, 10**30, "２５"])
def test_a_wrong_ratio_is_refused_with_the_values_that_are_allowed(post: Post, ratio: object) -> None:
    answer = post(ratio=ratio) if ratio != 1e400 else post(ratio="Infinity")
    assert answer["err_code"] == -1
    assert "ratio" in answer["err_msg"]
    assert "1, 2, 3" in answer["err_msg"]


@pytest.mark.parametrize("task_id_value", [0, -1, None, "", "x", 2**63, True, 1.5])
def test_a_wrong_task_id_is_refused_by_name(post: Post, task_id_value: object) -> None:
    answer = post(task_id=task_id_value)
    assert answer["err_code"] == -1
    assert "task_id" in answer["err_msg"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b'{"task_id": NaN}', b"{}{}"])
def test_a_body_that_is_no_json_object_gets_the_usual_two_keys(client: httpx.Client, body: bytes) -> None:
    answer = client.post("/api/ai/upscale", content=body, headers={"content-type": "text/plain"})
    assert answer.status_code == 200
    assert list(answer.json()) == ["err_code", "err_msg"]
    assert answer.json()["err_code"] == -1
    assert answer.json()["err_msg"]


def test_a_dist_dir_that_is_a_file_or_outside_the_roots_is_refused_by_name(post: Post, clip: Path) -> None:
    for value in (str(clip), "/etc/kinora", "", "relative"):
        answer = post(dist_dir=value)
        assert answer["err_code"] == -1
        assert "dist_dir" in answer["err_msg"]
    assert not Path("/etc/kinora").exists()


@pytest.fixture
def small_disk(dist_dir: Path) -> Iterator[Path]:
    """A folder on a file system of its own that holds little more than what a task must find free."""
    dist_dir.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300m", "tmpfs", dist_dir], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no small file system can be mounted: {mounted.stderr.strip()}")
    yield dist_dir
    subprocess.run(["umount", "-l", dist_dir], check=True)


def fill(target: Path) -> None:
    """Write until nothing more fits."""
    with target.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 20))


@pytest.mark.needs_root
def test_a_disk_that_fills_up_while_a_task_runs_ends_it_with_the_reason_and_leaves_nothing(
    post: Post, client: httpx.Client, receiver: Receiver, task_id: int, small_disk: Path
) -> None:
    clip = write_clip(small_disk.parent / "in" / "for-a-full-disk.mp4", size=(96, 64), frames=150)
    assert post(video_url=str(clip)) == ACCEPTED
    while client.get(f"/api/ai/tasks/{task_id}").json()["tasks"][0]["progress"] == 0:
        time.sleep(0.05)
    with pytest.raises(OSError, match="No space left"):
        fill(small_disk / "filler")
    payload = receiver.wait_for(task_id, timeout_seconds=280).payload
    assert payload["err_code"] == -1
    assert "space" in payload["err_msg"]
    assert everything_in(small_disk) == ["filler"]
    refused = post(ratio=3)
    assert refused["err_code"] == -1
    assert "disk space" in refused["err_msg"]
