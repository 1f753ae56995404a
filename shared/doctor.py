"""Looking an installation over: every check says in plain words what is well, and what to do about what is not."""

import contextlib
import ipaddress
import os
import platform
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from shared import weights
from shared.errors import Problem
from shared.settings import Settings

Level = Literal["well", "warning", "broken"]
LEAST_FREE_BYTES = 2 << 30
CONNECT_SECONDS = 2.0


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `broken` keeps Kinora from working, a `warning` may bite later."""

    subject: str
    level: Level
    sentence: str


def examine(settings: Settings) -> Iterator[Finding]:
    """Yield a finding for everything that Kinora stands on."""
    for check in CHECKS:
        yield from check(settings)


def python(_settings: Settings) -> Iterator[Finding]:
    """Look at the interpreter and the machine."""
    good = sys.version_info >= (3, 11) and platform.system() == "Linux"
    text = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    yield Finding("python", "well" if good else "broken", text if good else f"{text}: Linux with Python 3.11 is needed")


def codecs(settings: Settings) -> Iterator[Finding]:
    """Look at PyAV and whether it brings the encoder."""
    try:
        import av  # noqa: PLC0415  # the check is whether it can be imported
    except ImportError as error:
        yield Finding("codecs", "broken", f"PyAV cannot be imported ({error}): run `make setup`")
        return
    names = {"auto": "libx264", "x264": "libx264", "x265": "libx265", "svtav1": "libsvtav1", "nvenc": "h264_nvenc"}
    encoder = names[settings.encoder]
    if encoder in av.codecs_available:
        yield Finding("codecs", "well", f"PyAV {version('av')} with {encoder}")
    else:
        yield Finding("codecs", "broken", f"PyAV {version('av')} has no {encoder}: choose another KINORA_ENCODER")


def model_runtime(settings: Settings) -> Iterator[Finding]:
    """Look at torch and the device that the settings ask for."""
    try:
        import torch  # noqa: PLC0415  # heavy, and the check is whether it can be imported
    except ImportError as error:
        yield Finding("torch", "broken", f"torch cannot be imported ({error}): run `make setup`")
        return
    cuda = torch.cuda.is_available()
    if settings.device == "cuda" and not cuda:
        yield Finding("torch", "broken", "KINORA_DEVICE is cuda, but torch finds no CUDA device")
    else:
        device = torch.cuda.get_device_name() if cuda and settings.device != "cpu" else "the CPU"
        yield Finding("torch", "well", f"torch {torch.__version__} on {device}")


def weights_here(_settings: Settings) -> Iterator[Finding]:
    """Look for what the defaults need in the model store."""
    missing = [entry.name for entry in weights.catalogue().values() if entry.default and not weights.exists(entry.name)]
    if missing:
        yield Finding("weights", "broken", f"not here yet: {', '.join(missing)}. Run `kinora weights pull`")
    else:
        yield Finding("weights", "well", "everything that the defaults need is in the model store")


def roots(settings: Settings) -> Iterator[Finding]:
    """Look at the folders that requests may name."""
    if not settings.media_roots:
        yield Finding("media roots", "broken", "KINORA_MEDIA_ROOTS is empty: every request would be rejected")
    for root in settings.media_roots:
        if not root.is_dir():
            yield Finding("media roots", "broken", f"{root} does not exist: create it or change KINORA_MEDIA_ROOTS")
        elif reason := why_not_writable(root):
            yield Finding("media roots", "warning", f"{root} can be read only ({reason}): no dist_dir may lie in it")
        else:
            yield from room("media roots", root)


def state(settings: Settings) -> Iterator[Finding]:
    """Look at the folder of database, scratch files and locks."""
    folder = settings.state_dir
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        yield Finding("state", "broken", f"{folder} cannot be created ({error.strerror}): change KINORA_STATE_DIR")
        return
    if reason := why_not_writable(folder):
        yield Finding("state", "broken", f"{folder} cannot be written ({reason}): change KINORA_STATE_DIR")
    else:
        yield from room("state", folder)


def database(settings: Settings) -> Iterator[Finding]:
    """Connect once, as the services do; the embedded server is started for it and stopped again."""
    import psycopg  # noqa: PLC0415  # its drivers are not part of every installation

    from shared.database import Database, apply_schema  # noqa: PLC0415

    if settings.database_url:
        try:
            apply_schema(settings.database_url.get_secret_value())
        except psycopg.Error as error:
            reason = str(error).strip().splitlines()[0]
            yield Finding("database", "broken", f"the one that KINORA_DATABASE_URL names cannot be used: {reason}")
        else:
            yield Finding("database", "well", "the one that KINORA_DATABASE_URL names answers and its tables fit")
        return
    storage = Database(settings)
    try:
        storage.start()
    except (Problem, OSError) as problem:
        yield Finding("database", "broken", f"the embedded PostgreSQL cannot be started: {problem}")
    else:
        yield Finding("database", "well", "the embedded PostgreSQL answers and its tables fit")
        storage.stop()


def callback(settings: Settings) -> Iterator[Finding]:
    """Knock where callbacks go; nothing is sent."""
    address = urlsplit(settings.callback_url)
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        socket.create_connection((address.hostname or "", port), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        text = f"nobody answers at {settings.callback_url} ({error}): callbacks will wait and be tried again"
        yield Finding("callback", "warning", text)
    else:
        yield Finding("callback", "well", f"{settings.callback_url} can be reached")


def door(settings: Settings) -> Iterator[Finding]:
    """Look at who could call: a door to the network needs a token."""
    loopback = settings.host == "localhost"
    with contextlib.suppress(ValueError):
        loopback |= ipaddress.ip_address(settings.host).is_loopback
    where = f"{settings.host}:{settings.port}"
    if loopback:
        yield Finding("door", "well", f"{where}: this machine alone can call")
    elif settings.token is None:
        text = f"{where} is open to the network without a token: set KINORA_TOKEN, or to none on purpose"
        yield Finding("door", "broken", text)
    else:
        yield Finding("door", "well", f"{where}: open to the network, KINORA_TOKEN is set")


def room(subject: str, folder: Path) -> Iterator[Finding]:
    """Say whether a folder's file system has room to work in."""
    free = shutil.disk_usage(folder).free
    level: Level = "well" if free >= LEAST_FREE_BYTES else "warning"
    yield Finding(subject, level, f"{folder}: {free / 2**30:.1f} GiB free")


def why_not_writable(folder: Path) -> str:
    """Return why no file can be made in a folder, "" when one can."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return error.strerror or str(error)


CHECKS: Sequence[Callable[[Settings], Iterator[Finding]]] = (
    python,
    codecs,
    model_runtime,
    weights_here,
    roots,
    state,
    database,
    callback,
    door,
)
