"""Arming failpoints of processes that run; see docs/reliability.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def arm(points: Path, point: str, action: str) -> Path:
    """The file that is gone as soon as a process was struck. It appears as a whole: somebody may get there at once."""
    written = points / f"new-{point}"
    written.write_text(action)
    return written.rename(points / point)
