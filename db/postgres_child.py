"""The last thing before PostgreSQL: become somebody who is not root, see to it that nothing is left behind, exec.

    python -I -S postgres_child.py self|userns|UID:GID PARENT_PID dies|FD:SECONDS PROGRAM [ARGUMENT ...]

`dies`: PROGRAM is told to shut down in the moment in which its parent dies. `FD:SECONDS`: a guard, a process of its
own, does that once nobody else holds the other end of the pipe FD and nobody is connected to PROGRAM any more, or so
many seconds later: who still has to write something down, can.

A program of its own, because Python code between fork and exec (preexec_fn) is not safe beside other threads. Standard
library only. It ends with 77 and one line on stderr when PROGRAM cannot be run; otherwise it *is* PROGRAM.
"""

import ctypes
import os
import select
import signal
import sys
import time
from pathlib import Path

CANNOT = 77
_CLONE_NEWUSER = 0x10000000
_PR_SET_PDEATHSIG = 1
_FAST_SHUTDOWN = signal.SIGINT
_LOOK_EVERY = 1.0
_LOOK_OFTEN = 0.1
_CLIENT_ADDRESS = b"127.0.0.1("
"""Stands in the title of a PostgreSQL process that serves a client, and in no other's."""


def main() -> None:
    """Carry out the command line."""
    identity, parent, how_long, program = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
    libc = ctypes.CDLL(None, use_errno=True)
    _become(identity, libc)
    os.umask(0o077)
    os.setsid()
    if how_long == "dies":
        # After the change of identity, which clears the wish; and the parent may have died before it was uttered.
        libc.prctl(_PR_SET_PDEATHSIG, int(_FAST_SHUTDOWN), 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(CANNOT)
    _check_reachable(Path(program))
    if how_long != "dies":
        pipe, _, seconds = how_long.partition(":")
        _leave_a_guard(int(pipe), float(seconds))
    try:
        os.execv(program, sys.argv[4:])  # noqa: S606 - this is what it is for
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


def _check_reachable(program: Path) -> None:
    for folder in reversed(program.parents):
        if not os.access(folder, os.X_OK):
            _give_up(f"user {os.geteuid()} may not enter {folder}, on the way to {program}")
    if not os.access(program, os.X_OK):
        _give_up(f"user {os.geteuid()} may not run {program}, or it does not exist")


def _give_up(problem: str) -> None:
    sys.stderr.write(problem + "\n")
    sys.exit(CANNOT)


def _leave_a_guard(pipe: int, seconds: float) -> None:
    """A grandchild, so that PostgreSQL has no child that it does not know."""
    ward = os.getpid()
    if child := os.fork():
        os.waitpid(child, 0)
        os.close(pipe)
        return
    if os.fork():
        os._exit(0)
    # Whoever waits for the end of PostgreSQL's output shall not wait for the guard's.
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nowhere, stream)
    _guard(pipe, ward, _born(ward), seconds)
    os._exit(0)


def _guard(pipe: int, ward: int, born: str | None, seconds: float) -> None:
    while not select.select([pipe], [], [], _LOOK_EVERY)[0]:
        if _born(ward) != born:
            return
    deadline = time.monotonic() + seconds
    while _has_clients(ward) and time.monotonic() < deadline:
        time.sleep(_LOOK_OFTEN)
    if _born(ward) == born:
        os.kill(ward, _FAST_SHUTDOWN)


def _born(process: int) -> str | None:
    """When it was started, so that nobody else with its number is taken for it; None: it is gone."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def _has_clients(postmaster: int) -> bool:
    """Whether PostgreSQL serves anybody; where the kernel does not tell, it might."""
    try:
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
    except OSError:
        return _born(postmaster) is not None
    return any(_CLIENT_ADDRESS in _title(child) for child in children)


def _title(process: str) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


if __name__ == "__main__":
    main()
