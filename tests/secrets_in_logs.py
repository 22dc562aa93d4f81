"""Nothing that lets anybody in may stand in a log: not in any log of the whole run."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRETS = {
    "an API key": re.compile(rb"sk_[A-Za-z0-9_-]{43}"),
    "a pairing link's token": re.compile(rb"pl_[A-Za-z0-9_-]{43}"),
    # What a QR code says: its address, or the reference and three keys that follow it.
    "a QR code": re.compile(rb"linked_devices#|[A-Za-z0-9+/@=-]{20,},[A-Za-z0-9+/]{43}=,[A-Za-z0-9+/]{43}="),
    "a database password": re.compile(rb"postgres(?:ql)?://[^:/\s]+:(?!\*)[^@\s]+@"),
    # Keys of WhatsApp are 32 or 64 bytes; ids, digests and fingerprints that may be logged are written in hex.
    "a key in base64": re.compile(rb"(?<![A-Za-z0-9+/=])(?:[A-Za-z0-9+/]{43}=|[A-Za-z0-9+/]{86}==)(?![A-Za-z0-9+/=])"),
}


def secrets_in(text: bytes) -> Iterator[str]:
    """The kinds of secrets that stand in it."""
    return (kind for kind, pattern in SECRETS.items() if pattern.search(text))


def secrets_below(folder: Path) -> list[str]:
    """`file: kind` for every log below `folder` in which a secret stands."""
    return [f"{log}: {kind}" for log in sorted(_logs(folder)) for kind in secrets_in(_text(log))]


def _logs(folder: Path) -> Iterator[Path]:
    """Also while a server or a browser that ends is still putting its files away. In a browser's own folder nothing is
    a log: the journals of its databases are only called so."""
    for where, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name != "browser"]
        yield from (Path(where, file) for file in files if file.endswith(".log"))


def _text(log: Path) -> bytes:
    with contextlib.suppress(FileNotFoundError):
        return log.read_bytes()
    return b""
