"""Room on the disks that a task needs."""

from pathlib import Path

import pytest

from shared.errors import JobFailed
from shared.tasks.workspace import check_disk_space


def test_a_disk_without_room_is_refused_even_for_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    check_disk_space([tmp_path / "not" / "there"])
    with pytest.raises(JobFailed, match="not enough disk space"):
        check_disk_space([tmp_path / "not" / "there"], need_bytes=1 << 60)
