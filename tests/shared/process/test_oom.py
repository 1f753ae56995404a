"""Kills for want of memory are counted by the kernel, in either version of control groups."""

from pathlib import Path

import pytest

from shared.process.oom import oom_kills

V1 = "9:name=systemd:/\n4:memory:/docker/abc\n1:cpu:/\n0::/\n"


@pytest.mark.parametrize(
    ("own", "counter", "content"),
    [
        (
            "0::/system.slice/kinora.service\n",
            "system.slice/kinora.service/memory.events",
            "low 0\noom 4\noom_kill 3\n",
        ),
        ("0::/\n", "memory.events", "oom 4\noom_kill 3\noom_group_kill 0\n"),
        (V1, "memory/docker/abc/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"),
        (V1, "memory/memory.oom_control", "oom_kill_disable 0\noom_kill 3\n"),
    ],
)
def test_the_count_of_the_own_group_is_read(tmp_path: Path, own: str, counter: str, content: str) -> None:
    place = tmp_path / "cgroups" / counter
    place.parent.mkdir(parents=True)
    place.write_text(content)
    (tmp_path / "own").write_text(own)
    assert oom_kills(tmp_path / "cgroups", tmp_path / "own") == 3


def test_without_a_counter_nothing_is_known(tmp_path: Path) -> None:
    assert oom_kills(tmp_path, tmp_path / "none") is None
    (tmp_path / "own").write_text(V1)
    assert oom_kills(tmp_path, tmp_path / "own") is None
