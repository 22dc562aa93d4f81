"""The world around the outbox, for a stateful test: processes that live, sleep and die, a library that lets messages
out in its own steps, and the phones on which they arrive."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import psycopg2

TENANT, DEVICE = "shop", "628111:7@s.whatsapp.net"
FENCE_BROKEN = "GF001", "GAF01"
"""SQLSTATEs with which triggers stop the library of a process that has lost its lease."""


@dataclass
class Hand:
    """What a process knows of the message that it has claimed. `wa_id`: the library has given it one; `sealed`: its
    ciphertext is made and stored; `left`: it is on its way and cannot be called back; `refused`: the library failed
    before anything could leave."""

    message: str
    secret: bytes
    wa_id: str | None = None
    sealed: bool = False
    left: bool = False
    refused: bool = False


@dataclass
class Process:
    """One session process and its connections: `own` shows that it lives, `library` is whatsmeow's."""

    number: int
    own: Any
    library: Any
    fence: int | None = None
    hand: Hand | None = None


@dataclass
class World:
    """All of it. `arrived`: message -> the WhatsApp ids under which it is on its phone, in order."""

    url: str
    processes: list[Process] = field(default_factory=list)
    arrived: dict[str, list[str]] = field(default_factory=dict)
    _numbers: Any = field(default_factory=lambda: itertools.count(1))
    _connection: Any = None

    def __post_init__(self) -> None:
        self._connection = connected(self.url)

    def ask(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Rows of one statement that commits."""
        return rows(self._connection, statement, *parameters)

    def begin(self) -> Process:
        """A process that lives."""
        number = next(self._numbers)
        process = Process(number, connected(self.url), connected(self.url))
        rows(process.own, "SELECT pg_advisory_lock(process_class(), %s)", number)
        rows(process.library, "SELECT set_config('wa.tenant', %s, false)", TENANT)
        self.processes.append(process)
        return process

    def end(self, process: Process) -> None:
        """It dies; PostgreSQL has seen it when this returns."""
        self.processes.remove(process)
        pids = [connection.info.backend_pid for connection in (process.own, process.library)]
        process.own.close()
        process.library.close()
        while self.ask("SELECT 1 FROM pg_stat_activity WHERE pid = ANY (%s)", pids):
            pass

    def is_unreadable(self, message: str, wa_id: str) -> None:
        """What is on the phone under this id is worth nothing."""
        self.arrived[message].remove(wa_id)
        if not self.arrived[message]:
            del self.arrived[message]

    def close(self) -> None:
        """Everything ends."""
        for process in list(self.processes):
            self.end(process)
        self._connection.close()

    # What the library does, step by step, each on a connection of its own

    def give_id(self, process: Process, *, is_written: bool) -> None:
        """It chooses an id, and writes it beside the secret; when that fails it only warns."""
        hand = process.hand
        assert hand is not None
        hand.wa_id = f"3EB0{next(self._numbers):06}"
        if is_written:
            rows(
                process.library,
                "INSERT INTO whatsmeow_message_secrets (our_jid, chat_jid, sender_jid, message_id, key)"
                " VALUES (%s, '1@lid', '2@lid', %s, %s)",
                DEVICE, hand.wa_id, hand.secret,
            )  # fmt: skip

    def seal(self, process: Process) -> None:
        """It encrypts, and stores how far the conversation has moved. A process without the lease is stopped here."""
        assert process.hand is not None
        try:
            rows(
                process.library,
                "INSERT INTO whatsmeow_sessions (our_jid, their_id, session) VALUES (%s, '1.0', 'x')"
                " ON CONFLICT (our_jid, their_id) DO UPDATE SET session = excluded.session",
                DEVICE,
            )
            process.hand.sealed = True
        except psycopg2.Error as error:
            if error.pgcode not in FENCE_BROKEN:
                raise
            process.hand.refused = True

    def let_out(self, process: Process) -> None:
        """The frame leaves, and is on its phone."""
        hand = process.hand
        assert hand is not None
        assert hand.wa_id is not None
        hand.left = True
        self.arrived.setdefault(hand.message, []).append(hand.wa_id)


def connected(url: str) -> Any:
    """A connection on which each statement commits."""
    connection = psycopg2.connect(url)
    connection.autocommit = True
    return connection


def rows(connection: Any, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """Of one statement."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)
        return list(cursor.fetchall()) if cursor.description else []
