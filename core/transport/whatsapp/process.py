"""What a process must do once before its first Client."""

from __future__ import annotations


def prepare_process(sessions: int) -> None:
    """Make the running loop fit for `sessions` clients: threads enough, and the library bound to this loop."""
    raise NotImplementedError(sessions)


def capture_stdout() -> int:
    """Keep what the library prints off fd 1. Returns a descriptor of the original stdout."""
    raise NotImplementedError


def attach(root_key: bytes) -> None:
    """Make this process trust a sandbox in place of WhatsApp (once per process, for all its clients)."""
    raise NotImplementedError(root_key)
