"""The last thing before PostgreSQL: become somebody who is not root, die with the parent, exec.

    python -I -S postgres_child.py self|userns|UID:GID PARENT_PID PROGRAM [ARGUMENT ...]

A program of its own, because Python code between fork and exec (preexec_fn) is not safe beside other threads. Standard
library only. It ends with 77 and one line on stderr when PROGRAM cannot be run; otherwise it *is* PROGRAM.
"""

import ctypes
import os
import signal
import sys
from pathlib import Path

CANNOT = 77
_CLONE_NEWUSER = 0x10000000
_PR_SET_PDEATHSIG = 1
_FAST_SHUTDOWN = signal.SIGINT


def main() -> None:
    """Carry out the command line."""
    identity, parent, program = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    libc = ctypes.CDLL(None, use_errno=True)
    _become(identity, libc)
    os.umask(0o077)
    os.setsid()
    _die_with(parent, libc)
    _check_reachable(Path(program))
    try:
        os.execv(program, sys.argv[3:])  # noqa: S606 - this is what it is for
    except OSError as error:
        _give_up(f"cannot run {program}: {error.strerror}")


def _become(identity: str, libc: ctypes.CDLL) -> None:
    """PostgreSQL refuses to run as root. In a user namespace the files are still ours, and there are no privileges."""
    if identity == "self":
        return
    if identity == "userns":
        if libc.unshare(_CLONE_NEWUSER):
            _give_up(f"no user namespace: {os.strerror(ctypes.get_errno())}")
        return
    uid, gid = identity.split(":")
    os.setgroups([])
    os.setgid(int(gid))
    os.setuid(int(uid))


def _die_with(parent: int, libc: ctypes.CDLL) -> None:
    """After the change of identity, which clears the wish; and the parent may have died before it was uttered."""
    libc.prctl(_PR_SET_PDEATHSIG, int(_FAST_SHUTDOWN), 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(CANNOT)


def _check_reachable(program: Path) -> None:
    for folder in reversed(program.parents):
        if not os.access(folder, os.X_OK):
            _give_up(f"user {os.geteuid()} may not enter {folder}, on the way to {program}")
    if not os.access(program, os.X_OK):
        _give_up(f"user {os.geteuid()} may not run {program}, or it does not exist")


def _give_up(problem: str) -> None:
    sys.stderr.write(problem + "\n")
    sys.exit(CANNOT)


if __name__ == "__main__":
    main()
