"""What /proc says of processes: time they had a processor, and memory they hold. Linux."""

from __future__ import annotations

import os
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_UTIME, _CSTIME = 11, 14
"""Where utime and cstime stand behind the name in /proc/PID/stat; stime and cutime are between them."""


def cpu_seconds(pid: int) -> float:
    """Seconds that the process has had a processor; 0 when it is gone."""
    return sum(_times(pid)[:2])


def cpu_seconds_below(pid: int) -> float:
    """The same of all its descendants, also of those that have ended."""
    return sum(sum(_times(child)) for child in _descendants(pid))


def cpu_seconds_of_all() -> float:
    """Seconds that all processors together have worked, for whomever."""
    user, nice, system, _idle, _waiting, irq, softirq, *_ = map(int, Path("/proc/stat").read_text().split()[1:11])
    return (user + nice + system + irq + softirq) / _TICKS


def resident_megabytes(pid: int) -> float:
    """Memory that the process holds."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def threads(pid: int) -> int:
    """How many threads the process has; 0 when it is gone."""
    try:
        return sum(1 for _ in Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return 0


def children(pid: int) -> list[int]:
    """Processes that it has started and that still run."""
    return [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in _children(task)]


def _times(pid: int) -> list[float]:
    try:
        behind_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
    return [int(ticks) / _TICKS for ticks in behind_name[_UTIME : _CSTIME + 1]]


def _descendants(pid: int) -> list[int]:
    try:
        below = children(pid)
    except OSError:
        return []
    return below + [deeper for child in below for deeper in _descendants(child)]


def _children(task: Path) -> list[str]:
    return (task / "children").read_text().split()
