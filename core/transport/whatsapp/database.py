"""The library's own connections to PostgreSQL, and the tables that it makes there."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

if TYPE_CHECKING:
    from core.transport.whatsapp.gate import ConnectGate

STORE_VERSION = 15
"""Of the tables that this neonize makes (whatsmeow_version)."""

_WITHIN = 30.0


def library_dsn(url: str, tenant: str | None = None, fence: int | None = None, *, idle: float = 6.0) -> str:
    """The URL for a tenant's client. What it writes is the tenant's: triggers read `wa.tenant`; and they refuse what
    goes out once `fence` is not that of the tenant's lease any more (`wa.fence`). `idle`: seconds after which
    PostgreSQL ends a connection that nobody uses; the library makes another when it needs one.

    The library's driver insists on TLS where ours takes what there is: on this machine it need not.
    """
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    if parts.hostname in (None, "localhost", "127.0.0.1", "::1"):
        options.setdefault("sslmode", "disable")
    options.setdefault("application_name", "gapura-whatsapp")
    options["jit"] = "off"  # as for our own connections: triggers call functions that forbid sequential scans
    options.setdefault("idle_session_timeout", f"{idle * 1000:.0f}")
    if tenant is not None:
        options["wa.tenant"] = tenant
    if fence is not None:
        options["wa.fence"] = str(fence)
    return urlunsplit(parts._replace(query=urlencode(options)))


async def make_tables(url: str, gate: ConnectGate) -> None:
    """Make or upgrade the library's tables in the database at `url`, as its first connect would. Nothing leaves this
    machine: the connect ends at a proxy of our own that lets nobody in. Look afterwards whether they are there."""
    from core.transport.whatsapp.library import Library

    with socket.socket() as nobody:
        # Bound and never listening: every connection is refused at once, and nobody else can get the port.
        nobody.bind(("127.0.0.1", 0))
        library = Library(tenant="", dsn=library_dsn(url), device=None, key="tables", gate=gate)
        library.callback = lambda _code, _raw: None
        library.qr_shown = library.pairing_over = lambda _text: None
        library.not_readable = lambda _which: None
        async with gate.alone():
            task = await library.begin(f"http://127.0.0.1:{nobody.getsockname()[1]}")
            with contextlib.suppress(Exception):
                # That it cannot connect is what was wanted; why it could not make its tables, the caller will see.
                await asyncio.wait_for(asyncio.shield(task), _WITHIN)
