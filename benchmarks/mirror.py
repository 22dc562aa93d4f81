"""What it costs that every write of whatsmeow's is mirrored in auth_keys: a message through the store, both ways.

Two databases of one PostgreSQL as shipped (fsync on) hold the same login and take turns, statement for statement what
the library does for a message: read the session and write it anew, of the contact and of the own phone; the identity,
which does not change; the message's secret. Each of these commits by itself.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from rich.table import Table

from benchmarks.promises import Judged, Promise
from benchmarks.report import promised, promises_as_json, show_verdict
from benchmarks.servers import temporary_home
from db.database import Database
from db.embedded import EmbeddedPostgres
from db.login_store import MIRRORED
from db.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

ROUNDS, MESSAGES, WARM_UP = 5, 300, 50
CONTACTS = 200
SESSION = 1300
"""Bytes of a session in the store, as a conversation of a few messages has them."""

JID = "628110000000:1@s.whatsapp.net"
_TABLES = Path(__file__).parents[1] / "db" / "whatsmeow" / "v15.sql"
_DEVICE = (
    "INSERT INTO whatsmeow_device (jid, registration_id, noise_key, identity_key, signed_pre_key, signed_pre_key_id,"
    " signed_pre_key_sig, adv_key, adv_details, adv_account_sig, adv_account_sig_key, adv_device_sig)"
    " SELECT %s, 1, k, k, k, 1, k || k, k, k, k || k, k, k || k FROM decode(repeat('07', 32), 'hex') k"
)
_READ = "SELECT session FROM whatsmeow_sessions WHERE our_jid = %s AND their_id = %s"
_IDENTITY = (
    "INSERT INTO whatsmeow_identity_keys (our_jid, their_id, identity) VALUES (%s, %s, %s)"
    " ON CONFLICT (our_jid, their_id) DO UPDATE SET identity = excluded.identity"
)
_WRITE = (
    "INSERT INTO whatsmeow_sessions (our_jid, their_id, session) VALUES (%s, %s, %s)"
    " ON CONFLICT (our_jid, their_id) DO UPDATE SET session = excluded.session"
)
_SECRET = (
    "INSERT INTO whatsmeow_message_secrets (our_jid, chat_jid, sender_jid, message_id, key)"
    " VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING"
)


@dataclass(frozen=True, slots=True)
class Turn:
    """Milliseconds per message, in one round."""

    bare: float
    mirrored: float


@dataclass(frozen=True, slots=True)
class Mirror:
    """All rounds; `load`: the machine's load average before and after; `wrong`: what the mirror does not agree with."""

    rounds: tuple[Turn, ...]
    load: tuple[float, float]
    wrong: tuple[str, ...] = ()

    @property
    def kept(self) -> bool:
        """Whether all is well."""
        return not self.wrong and all(one.kept for one in judged(self))


PROMISE: Promise[Turn] = Promise(
    "a message through the store, of one that is not mirrored", "x", 1.3, lambda r: r.mirrored / r.bare, below=True
)


def judged(mirror: Mirror) -> list[Judged]:
    """The promise, by the median round."""
    figures = [PROMISE.figure(turn) for turn in mirror.rounds]
    return [Judged(PROMISE, statistics.median(figures), min(figures), max(figures))]


def measure(tell: Callable[[str], None]) -> Mirror:
    """Some seconds. Raises CommandError when PostgreSQL does not start."""
    tell("mirror: starting")
    with temporary_home() as home:
        embedded = EmbeddedPostgres(home)
        try:
            return asyncio.run(_measure(embedded.start(), tell))
        finally:
            embedded.stop()


async def _measure(url: str, tell: Callable[[str], None]) -> Mirror:
    load = os.getloadavg()[0]
    bare, mirrored = await _login(url, "bare", ()), await _login(url, "mirrored", MIRRORED)
    turns, chance = [], random.Random(1)
    for number in range(ROUNDS + 1):
        tell(f"mirror: round {number} of {ROUNDS}")
        count = MESSAGES if number else WARM_UP
        # Who goes first goes second in the next round.
        order = [(0, bare), (1, mirrored)][:: -1 if number % 2 else 1]
        spent = {which: await _messages(database, count, chance) for which, database in order}
        turns.append(Turn(spent[0], spent[1]))
    rows = await mirrored.fetch("SELECT key, problem FROM wa_differences_v1('shop')")
    for database in (bare, mirrored):
        await database.close()
    wrong = tuple(f"{key}: {problem}" for key, problem in rows)
    return Mirror(tuple(turns[1:]), (load, os.getloadavg()[0]), wrong)


async def _login(url: str, name: str, mirrored: tuple[str, ...]) -> Database:
    """A database of its own with a login and its conversations."""
    server = await Database.open(url, size=1)
    await server.execute(f"CREATE DATABASE {name}")
    await server.close()
    database = await Database.open(urlunsplit(urlsplit(url)._replace(path=f"/{name}")), size=1, statement_timeout=60)
    await migrate(database)
    await database.execute(_TABLES.read_text(encoding="utf-8"))
    for table in mirrored:
        await database.execute("SELECT wa_install_v1(%s)", (table,))
    await database.execute(_DEVICE, (JID,))
    chance = random.Random(2)
    for number in range(CONTACTS):
        await database.execute(_WRITE, (JID, _address(number), _record(chance)))
        await database.execute(_IDENTITY, (JID, _address(number), bytes(32)))
    # As the first opening does: the device is the tenant's, and what is there is mirrored.
    if mirrored:
        await database.execute("SELECT wa_open_v1('shop', %s)", (JID,))
    return database


async def _messages(database: Database, count: int, chance: random.Random) -> float:
    """Milliseconds per message."""
    texts = [(_record(chance), _record(chance), chance.randbytes(16).hex()) for _ in range(count)]
    begun = time.perf_counter()
    for number, (contact, own, secret) in enumerate(texts):
        for address, record in ((_address(number % CONTACTS), contact), (_address(0), own)):
            await database.fetch(_READ, (JID, address))
            await database.execute(_IDENTITY, (JID, address, bytes(32)))
            await database.execute(_WRITE, (JID, address, record))
        await database.execute(_SECRET, (JID, "1@lid", JID, secret, bytes(32)))
    return (time.perf_counter() - begun) / count * 1000


def _address(number: int) -> str:
    return f"10062812{number:06}_1:0"


def _record(chance: random.Random) -> bytes:
    """JSON of base64, which does not compress well, as a session is."""
    text = base64.b64encode(chance.randbytes(SESSION * 3 // 4)).decode()
    return json.dumps({"SessionState": {"RootKey": text}}).encode()


def as_json(mirror: Mirror) -> dict[str, Any]:
    """For programs."""
    return {
        "milliseconds": [{"bare": turn.bare, "mirrored": turn.mirrored} for turn in mirror.rounds],
        "promises": promises_as_json(judged(mirror)),
        "load": mirror.load,
        "wrong": list(mirror.wrong),
        "kept": mirror.kept,
    }


def show(mirror: Mirror, console: Console) -> None:
    """For people."""
    table = Table(
        "round", "not mirrored, ms", "mirrored, ms", title="a message through the store", title_justify="left"
    )
    for number, turn in enumerate(mirror.rounds, 1):
        table.add_row(str(number), f"{turn.bare:.2f}", f"{turn.mirrored:.2f}")
    console.print(table)
    console.print(promised(judged(mirror)))
    show_verdict(mirror.wrong, mirror.kept, console)
