"""Headers are read beside the face: quickly, for every kind, and whatever becomes of the process that reads."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from shared.errors import Busy, Rejected, Unavailable, UnreadableMedia
from shared.media import probe
from shared.media.media_info import MediaHeader, MediaKind
from shared.media.probe import ProbePool
from shared.settings import Settings
from shared.testing.processes import live
from tests.support import clips
from tests.support.clips import clip


@asynccontextmanager
async def pool_of(root: Path, **limits: float) -> AsyncIterator[ProbePool]:
    pool = ProbePool(Settings(media_roots=(root,)), **limits)
    try:
        yield pool
    finally:
        await pool.close()


def idle_pids(pool: ProbePool) -> list[int]:
    return [worker._process.pid for worker in pool._idle]


@pytest.fixture(scope="module")
async def pool(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ProbePool]:
    """The workers that all simple tests share."""
    async with pool_of(tmp_path_factory.getbasetemp()) as pool:
        yield pool


def picture(path: Path) -> Path:
    Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(path)
    return path


async def test_a_video_says_what_it_is(tmp_path: Path, pool: ProbePool) -> None:
    header = await pool.probe(clip(tmp_path / "电影 😀.mp4", rate="24000/1001", seconds=2), "video")
    assert header == MediaHeader(
        kind="video", width=160, height=90, bit_depth=8, rotation=0, frame_rate=Fraction(24000, 1001),
        frame_count=48, duration_seconds=2.002, has_audio=True,
    )  # fmt: skip


async def test_depth_rotation_and_silence_are_told(tmp_path: Path, pool: ProbePool) -> None:
    assert (await pool.probe(clips.ten_bit(tmp_path / "hdr.mp4"), "video")).bit_depth == 10
    assert (await pool.probe(clips.rotated(tmp_path / "phone.mp4", 90), "video")).rotation == 90
    selfie = await pool.probe(clips.oriented(tmp_path / "selfie.mp4", 90, mirrored=True), "video")
    assert (selfie.rotation, selfie.mirrored) == (90, True)
    assert not (await pool.probe(clips.mute(tmp_path / "mute.mp4"), "video")).has_audio


async def test_a_header_crosses_processes_unchanged(tmp_path: Path, pool: ProbePool) -> None:
    header = await pool.probe(picture(tmp_path / "a.png"), "image")
    assert MediaHeader.from_json(header.to_json()) == header == MediaHeader("image", 64, 48, 8)


async def test_where_both_are_welcome_each_is_known_for_what_it_is(tmp_path: Path, pool: ProbePool) -> None:
    assert (await pool.probe(picture(tmp_path / "a.jpg"), "picture_or_video")).kind == "image"
    assert (await pool.probe(clip(tmp_path / "a.mp4"), "picture_or_video")).kind == "video"
    assert (await pool.probe(clip(tmp_path / "a.gif", codec="gif", sound=None), "picture_or_video")).kind == "video"
    still = clip(tmp_path / "b.gif", codec="gif", sound=None, seconds=0.04)
    assert (await pool.probe(still, "picture_or_video")).kind == "image"


@pytest.mark.parametrize(
    ("key", "kind", "make"),
    [
        ("media_unreadable", "video", lambda folder: clips.renamed_text(folder / "text.mp4")),
        ("media_unreadable", "video", lambda folder: picture(folder / "picture.png")),
        ("media_unreadable", "video", lambda folder: clips.playlist(folder / "list.m3u8", folder / "a.ts")),
        ("media_without_video", "video", lambda folder: clips.audio_only(folder / "sound.mp4")),
        ("media_without_frames", "video", lambda folder: clips.without_frames(folder / "none.mp4")),
        ("media_too_large", "video", lambda folder: clips.gigantic(folder / "gigantic.mkv")),
        ("media_encrypted", "video", lambda folder: clips.encrypted(folder / "bought.mp4")),
        ("media_not_a_picture", "image", lambda folder: clip(folder / "film.mp4")),
        ("media_not_a_picture", "image", lambda folder: clips.renamed_text(folder / "text.png")),
        ("media_unreadable", "picture_or_video", lambda folder: clips.renamed_text(folder / "text.bin")),
    ],
)
async def test_what_is_not_of_the_kind_is_refused_with_its_reason(
    tmp_path: Path, pool: ProbePool, key: str, kind: MediaKind, make: Callable[[Path], Path]
) -> None:
    path = make(tmp_path)
    with pytest.raises(UnreadableMedia) as problem:
        await pool.probe(path, kind)
    assert problem.value.key == key
    assert path.name in problem.value.sentence("en")
    assert path.name in problem.value.sentence("zh")


async def test_a_fifo_and_a_link_that_leads_outside_are_refused(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    os.mkfifo(inside / "fifo.mp4")
    (inside / "link.mp4").symlink_to(clip(outside / "secret.mp4"))
    async with pool_of(inside) as pool:
        with pytest.raises(UnreadableMedia):
            await pool.probe(inside / "fifo.mp4", "video")
        with pytest.raises(Rejected):
            await pool.probe(inside / "link.mp4", "video")


async def test_workers_start_late_are_used_again_and_end_with_the_pool(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mp4")
    async with pool_of(tmp_path) as pool:
        assert idle_pids(pool) == []
        await pool.probe(path, "video")
        (first,) = idle_pids(pool)
        await pool.probe(path, "video")
        assert idle_pids(pool) == [first]
        await asyncio.gather(*(pool.probe(path, "video") for _ in range(8)))
        workers = idle_pids(pool)
        assert len(workers) == 2
    assert not any(live(pid) for pid in workers)


async def test_a_killed_worker_is_replaced_and_nobody_notices(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mp4")
    async with pool_of(tmp_path) as pool:
        expected = await pool.probe(path, "video")
        for _ in range(3):
            (pid,) = idle_pids(pool)
            os.kill(pid, signal.SIGKILL)
            assert await pool.probe(path, "video") == expected
            assert pid not in idle_pids(pool)


async def test_an_idle_worker_that_ends_leaves_no_zombie(tmp_path: Path) -> None:
    async with asyncio.timeout(60), pool_of(tmp_path) as pool:
        await pool.probe(picture(tmp_path / "a.png"), "image")
        [pid] = idle_pids(pool)
        os.kill(pid, signal.SIGTERM)
        while psutil.pid_exists(pid):  # noqa: ASYNC110  # as a zombie would, for good; nothing tells of its end
            await asyncio.sleep(0.02)
        assert idle_pids(pool) == []


async def test_more_files_than_may_wait_are_told_to_come_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_MOST_WAITING", 3)
    path = picture(tmp_path / "a.png")
    async with pool_of(tmp_path) as pool:
        answers = await asyncio.gather(*(pool.probe(path, "image") for _ in range(8)), return_exceptions=True)
    busy = [answer for answer in answers if isinstance(answer, Busy)]
    assert len(busy) == 3
    assert sum(isinstance(answer, MediaHeader) for answer in answers) == 5


async def test_a_file_that_waits_too_long_is_told_to_come_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "_TURN_SECONDS", 0.0)
    monkeypatch.setattr(probe, "_WORKERS", 0)
    async with pool_of(tmp_path) as pool:
        with pytest.raises(Busy):
            await pool.probe(picture(tmp_path / "a.png"), "image")


async def test_a_file_that_breaks_two_workers_is_refused_and_the_next_one_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cursed, harmless = clip(tmp_path / "cursed.mp4"), clip(tmp_path / "harmless.mp4")
    ask = probe._Worker.ask

    async def crash_on_cursed(self: Any, file: Any, question: dict[str, Any]) -> dict[str, Any]:
        if file.name == cursed.name:
            os.kill(self._process.pid, signal.SIGSEGV)
            self._process.wait()
        return await ask(self, file, question)

    monkeypatch.setattr(probe._Worker, "ask", crash_on_cursed)
    async with pool_of(tmp_path) as pool:
        with pytest.raises(UnreadableMedia) as problem:
            await pool.probe(cursed, "video")
        assert problem.value.key == "media_probe_crashed"
        assert (await pool.probe(harmless, "video")).width == 160


async def test_a_file_that_hangs_its_worker_is_given_up_and_hits_nobody_else(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mp4")
    async with pool_of(tmp_path, limit_seconds=0.5) as pool:
        await pool.probe(path, "video")
        (hung,) = idle_pids(pool)
        os.kill(hung, signal.SIGSTOP)  # as a demuxer in an endless loop looks from outside
        waiting = asyncio.create_task(pool.probe(path, "video"))
        await asyncio.sleep(0.1)
        assert (await pool.probe(path, "video")).width == 160  # by another worker, meanwhile
        with pytest.raises(UnreadableMedia) as problem:
            await waiting
        assert problem.value.key == "media_probe_timeout"
        assert not live(hung)
        assert (await pool.probe(path, "video")).width == 160


async def test_a_request_that_is_cancelled_leaves_no_worker_with_a_half_read_answer(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mp4")
    async with pool_of(tmp_path) as pool:
        await pool.probe(path, "video")
        (pid,) = idle_pids(pool)
        os.kill(pid, signal.SIGSTOP)
        waiting = asyncio.create_task(pool.probe(path, "video"))
        await asyncio.sleep(0.1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert not live(pid)
        assert (await pool.probe(path, "video")).width == 160


async def test_when_no_worker_can_start_the_caller_is_told_to_try_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = clip(tmp_path / "a.mp4")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    async with pool_of(tmp_path) as pool:
        with pytest.raises(Unavailable):
            await pool.probe(path, "video")


def test_workers_die_with_a_face_that_is_killed(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mp4")
    script = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from shared.media.probe import ProbePool\n"
        "from shared.settings import Settings\n"
        "async def main():\n"
        "    path = Path(sys.argv[1])\n"
        "    pool = ProbePool(Settings(media_roots=(path.parent,)))\n"
        "    await pool.probe(path, 'video')\n"
        "    print(*(worker._process.pid for worker in pool._idle), flush=True)\n"
        "    await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    face = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True)
    with face:
        assert face.stdout is not None
        pids = [int(pid) for pid in face.stdout.readline().split()]
        assert len(pids) == 1
        assert live(pids[0])
        face.kill()
    deadline = time.monotonic() + 10
    while live(pids[0]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not live(pids[0])


def test_the_face_imports_no_codec() -> None:
    script = "import sys, shared.media.probe; print(sorted({'av', 'cv2', 'numpy', 'PIL', 'torch'} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"
