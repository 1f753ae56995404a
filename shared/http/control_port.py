"""The control port of `bentoml serve`, closed before it opens."""

import functools
from typing import Any

from circus.arbiter import Arbiter


def close_control_port() -> None:
    """Keep the commands of Circus, on which BentoML's first process runs its workers, inside that process.

    BentoML has Circus listen for commands and for subscribers on two TCP ports of 127.0.0.1, without a password: its
    command `add` lets any user of the machine start any program as the user of the service. ZeroMQ's in-process
    sockets have no address that another process could reach, and nothing of BentoML or of ours needs one (its
    `--reload`, for development, does, and stops working). Call this before BentoML makes its arbiter: when a service is
    declared. A second call changes nothing.
    """
    plain = Arbiter.__init__
    if hasattr(plain, "__wrapped__"):
        return

    @functools.wraps(plain)
    def private(self: Arbiter, watchers: Any, **options: Any) -> None:
        name = f"inproc://kinora-{id(self)}"
        plain(self, watchers, **(options | {"endpoint": name, "pubsub_endpoint": f"{name}-events"}))

    Arbiter.__init__ = private
