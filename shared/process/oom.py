"""How often the kernel has ended a process of this machine's or container's share for want of memory."""

from contextlib import suppress
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
_COUNTERS = {"0::": ("", "memory.events"), "memory:": ("memory", "memory.oom_control")}  # version 2, version 1


def oom_kills(cgroups: Path = CGROUPS, own: Path = OWN) -> int | None:
    """Return the kernel's count for the control group of this process; None where there is none that can be read.

    A count that rises between the start and the end of a child that was killed says who killed it.
    """
    with suppress(OSError):
        for line in own.read_text().splitlines():
            for mark, (folder, name) in _COUNTERS.items():
                head, found, group = line.partition(mark)
                if found and head.rstrip("0123456789:") == "":
                    # Inside a container its own group may be mounted at the top.
                    for place in (cgroups / folder / group.lstrip("/") / name, cgroups / folder / name):
                        count = _counted(place)
                        if count is not None:
                            return count
    return None


def _counted(place: Path) -> int | None:
    with suppress(OSError, ValueError):
        for line in place.read_text().splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    return None
