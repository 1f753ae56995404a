"""Whom the embedded PostgreSQL runs as, and whom it lets in: never root, and nobody but ourselves."""

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from typing import Any

from shared.errors import Misconfigured

SERVER_USER = "kinora-postgres"
SYSTEM_FOLDERS = "/usr/sbin:/sbin"  # where useradd is, which the PATH of cron and of services leaves out
USERADD_SECONDS = 30


@dataclass(frozen=True)
class Account:
    """A user of this machine, by number."""

    uid: int
    gid: int

    def process_options(self) -> dict[str, Any]:
        """Return what `subprocess` needs to run a program as this account, without any group of root's."""
        if os.geteuid() != 0:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}


def account_of(uid: int) -> Account:
    """Return the account of the user that a data directory belongs to."""
    try:
        return Account(uid, pwd.getpwuid(uid).pw_gid)
    except KeyError:  # made in another container: the number is enough to run as
        return Account(uid, uid)


def account_for_new_database() -> Account:
    """Return whom a new database will belong to: us, or for root a system user, made if need be.

    Raises Misconfigured when there is none and none can be made.
    """
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    if not _exists(SERVER_USER):
        useradd = shutil.which("useradd", path=f"{os.environ.get('PATH', '')}:{SYSTEM_FOLDERS}")
        if not useradd:
            raise Misconfigured("server_user_missing", user=SERVER_USER)
        words = ["--system", "--no-create-home", "--shell", "/usr/sbin/nologin", SERVER_USER]
        added = subprocess.run(
            [useradd, *words], capture_output=True, text=True, timeout=USERADD_SECONDS, check=False, cwd="/"
        )
        if not _exists(SERVER_USER):  # another start may have made it meanwhile
            raise Misconfigured("server_user_not_made", user=SERVER_USER, reason=added.stderr.strip())
    entry = pwd.getpwnam(SERVER_USER)
    return Account(entry.pw_uid, entry.pw_gid)


def admitted_users(owner: int) -> list[str]:
    """Return the users that the server lets in: ourselves, root, and the owner of its files, who need no leave.

    Raises Misconfigured when we have no name, by which alone PostgreSQL knows who asks.
    """
    ourselves = account_name(os.geteuid())
    if not ourselves:
        raise Misconfigured("user_without_name", uid=os.geteuid())
    return sorted({ourselves} | {name for name in map(account_name, (0, owner)) if name})


def account_name(uid: int) -> str:
    """Return a user's name, "" when it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True
