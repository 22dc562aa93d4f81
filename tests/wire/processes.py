"""A gateway's session processes, as the kernel knows them."""

from __future__ import annotations

from pathlib import Path


def children(pid: int) -> list[int]:
    """The processes that a process has started and that still run; those of a dead process are nobody's."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def session_processes(gateway: int) -> list[int]:
    """The gateway's session processes; pairing lives in such processes too."""
    return [pid for pid in children(gateway) if b"session-process" in _read(pid, "cmdline")]


def is_running(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    state = _read(pid, "stat").rpartition(b")")[2].split()
    return bool(state) and state[0] not in (b"Z", b"X")


def resident(pid: int) -> int:
    """Bytes of memory that the process has in use."""
    return int(_read(pid, "statm").split()[1]) * 4096


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""
