"""What a process must do once before its first Client. Nothing here loads neonize on import."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from core.errors import LibraryMissing

NO_LIBMAGIC = (
    "neonize needs libmagic, which is not installed here. Debian, Ubuntu: apt install libmagic1 · "
    "Alpine: apk add libmagic · macOS: brew install libmagic"
)


def prepare_process(sessions: int) -> None:
    """Make the running loop fit for `sessions` clients: threads enough, and the library bound to this loop.

    Every client blocks one thread of the loop's default executor for its whole life, and asyncio's own size (6 on two
    cores) would let the seventh client wait for ever; each call takes another one while it lasts. The library
    remembers the first loop it met, so it is told of this one. Raises core.errors.LibraryMissing.
    """
    events = load().aioze.events
    loop = asyncio.get_running_loop()
    threads = ThreadPoolExecutor(2 * sessions + 16, thread_name_prefix="whatsapp")
    loop.set_default_executor(threads)
    events.event_global_loop = loop


def load() -> Any:
    """The neonize package, with `aioze.client` and `aioze.events` imported.

    Its import configures Python's root logger, which is put back, and starts at a log level where Go hands over every
    stanza: from here on Go hands over warnings and errors only. Raises core.errors.LibraryMissing.
    """
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        import neonize
        import neonize.aioze.client
        import neonize.aioze.events
    except ImportError as missing:
        raise LibraryMissing(NO_LIBMAGIC if "magic" in str(missing) else f"neonize: {missing}") from missing
    except OSError as broken:
        raise LibraryMissing(f"neonize's library cannot be loaded: {broken}") from broken
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    logging.getLogger("neonize").setLevel(logging.ERROR)
    # Its level is what Go is told at each connect.
    logging.getLogger("neonize.utils.log").setLevel(logging.WARNING)
    return neonize


def capture_stdout() -> int:
    """Send fd 1 to /dev/null for good, as Go prints what it likes there ("Login event: …", error texts, warnings of
    libsignal). Returns a descriptor of the stdout that was; whoever writes for somebody else uses that one."""
    sys.stdout.flush()
    kept = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
    finally:
        os.close(nowhere)
    return kept


def attach(root_key: bytes) -> None:
    """Make this process trust a sandbox in place of WhatsApp: once per process, for all its clients, only for a sandbox
    on loopback. Raises sandbox.attach.AttachError."""
    load()
    from sandbox.attach import attach as replace_root

    replace_root(root_key)
    logging.getLogger(__name__).warning(
        "this process trusts a sandbox and cannot speak to WhatsApp", extra={"action": "whatsapp_sandbox"}
    )
