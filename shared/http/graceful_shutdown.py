"""How a process that was told to stop closes its port: it accepts no connection that it would not answer."""

import asyncio
import signal
import socket
from types import FrameType

import uvicorn


def running_server() -> uvicorn.Server | None:
    """Return the server of this process, while it starts up; None where a test runs it in a thread of its own.

    BentoML's worker makes it and hands it to nobody, but a server listens to SIGTERM.
    """
    server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return server if isinstance(server, uvicorn.Server) else None


def refuse_when_stopping(server: uvicorn.Server) -> None:
    """Have SIGTERM make the port refuse connections at once; call in the server's process, while it starts up.

    BentoML's first process keeps the listening socket open until its last worker has gone, and a worker goes when its
    running task has ended: minutes, in which the kernel would continue to accept connections that nobody answers. A
    caller that is refused has lost nothing and can try another instance. Requests accepted before are still answered.
    """
    stop = signal.getsignal(signal.SIGTERM)
    assert callable(stop)
    loop = asyncio.get_running_loop()

    def leave(number: int, frame: FrameType | None) -> None:
        stop(number, frame)
        # Two turns of the loop: the first still accepts the connections that are waiting.
        loop.call_soon_threadsafe(loop.call_soon, _refuse, server)

    signal.signal(signal.SIGTERM, leave)


def _refuse(server: uvicorn.Server) -> None:
    for listener in server.servers:
        for door in listener.sockets:
            # Acts on the socket itself, whoever else holds it; should another worker follow, it listens again. A unix
            # socket could not, but on it only the router calls, which leaves with the same first process.
            if door.family != socket.AF_UNIX:
                door.shutdown(socket.SHUT_RD)
        listener.close()
