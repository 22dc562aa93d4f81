"""What gateways and workers have in common: a number, a sign of life, a supervisor."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from core.sessions.child import starter
from core.sessions.supervisor import Supervisor

if TYPE_CHECKING:
    from core.clock import Clock
    from core.sessions.loopback import Loopback
    from core.settings import Settings
    from db.session_store import SessionStore

PROGRAM = Path(__file__).resolve().parents[2] / "run.py"


def new_number() -> int:
    """Of a gateway or worker. Its session processes have the numbers that follow; PostgreSQL's integers end at
    2**31 - 1."""
    return secrets.randbelow(2**30) + 1


def signs_of_life(process: int) -> list[tuple[str, tuple[int]]]:
    """What the listening connection of a process with a supervisor holds for as long as it lives."""
    return [(f"SELECT pg_advisory_lock({name}(), %s)", (process,)) for name in ("process_class", "supervisor_class")]


def new_supervisor(  # noqa: PLR0913 - handed over once
    store: SessionStore, clock: Clock, settings: Settings, loopback: Loopback | None, *, url: str, process: int
) -> Supervisor:
    """Of the gateway or worker with the number `process`; `url`: of the database."""
    options = settings.sessions
    start = starter(
        PROGRAM,
        url,
        clock,
        loopback,
        timelock_pause=options.timelock_pause,
        keep_connections=options.keep_connections,
        stuck_after=options.stuck_after,
    )
    return Supervisor(
        store,
        clock,
        start,
        is_whatsapp=lambda tenant: settings.tenant(tenant).transport == "whatsapp",
        process=process,
        per_process=options.per_process,
    )
