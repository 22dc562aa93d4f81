"""Points the neonize of this process at a sandbox: it will trust a server certified by the sandbox's root key.

whatsmeow pins the public key that signs WhatsApp's Noise certificates, 32 bytes in the library's writable data. They
are overwritten in memory; nothing changes on disk, and another process keeps the true key. Standard library only, and
nothing of the server is imported, so that a session process pays little for it.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox.errors import AttachError

if TYPE_CHECKING:
    from collections.abc import Iterator

TRUE_ROOT = bytes.fromhex("142375574d0a587166aae71ebe516437c4a28b73e3695c6ce1f7f9545da8ee6b")
"""The root key that neonize 0.5.2 is built with."""

_pinned = TRUE_ROOT


def attach(root_key: bytes) -> None:
    """Pin `root_key` (32 bytes, `Sandbox.root_key`) in the loaded neonize; again with another key replaces that one.

    Call it after `import neonize` and before the first connect. The process must also have been started with
    SSL_CERT_FILE naming the sandbox's CA, and connect through its proxy. Raises AttachError when neonize is not loaded,
    when the pinned key is not found exactly once (another version of neonize), or when there is no /proc/self/maps.
    """
    global _pinned  # noqa: PLW0603 - the library's memory is global to the process, and so is what is known of it
    if len(root_key) != len(TRUE_ROOT):
        raise AttachError(f"a root key has {len(TRUE_ROOT)} bytes, this one has {len(root_key)}")
    if root_key == _pinned:
        return
    places = [place for start, end in _writable_data() for place in _find(_pinned, start, end)]
    if len(places) != 1:
        raise AttachError(
            f"expected WhatsApp's root key once in the memory of neonize, found it {len(places)} times: "
            "the sandbox knows neonize 0.5.2; install that version"
        )
    ctypes.memmove(places[0], root_key, len(root_key))
    _pinned = root_key


def _writable_data() -> Iterator[tuple[int, int]]:
    """The address ranges of neonize's writable data in this process."""
    try:
        lines = Path("/proc/self/maps").read_text("utf-8").splitlines()
    except OSError as error:
        raise AttachError("the sandbox finds the library in /proc/self/maps, which only Linux has") from error
    loaded = [line.split(maxsplit=5) for line in lines if "neonize-" in line]
    if not loaded:
        raise AttachError("neonize is not loaded in this process: `import neonize` first")
    for span, access, *_ in loaded:
        if access.startswith("rw"):
            start, _, end = span.partition("-")
            yield int(start, 16), int(end, 16)


def _find(needle: bytes, start: int, end: int) -> Iterator[int]:
    blob = ctypes.string_at(start, end - start)
    at = blob.find(needle)
    while at >= 0:
        yield start + at
        at = blob.find(needle, at + 1)
