"""Acting as another user of this machine, for what only root can arrange."""

import os
import pwd
import sys
import traceback
from collections.abc import Callable

NOBODY = pwd.getpwnam("nobody")


def as_nobody(work: Callable[[], object]) -> bool:
    """Run this as the user nobody, in a forked process; return whether it went without an exception.

    A fork and no new program: the interpreter may lie in a folder that is closed to others.
    """
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups([])
            os.setgid(NOBODY.pw_gid)
            os.setuid(NOBODY.pw_uid)
            work()
            status = 0
        except BaseException:  # noqa: BLE001  # the parent's test must not go on in here
            traceback.print_exc(file=sys.__stderr__)
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
