"""whatsmeow's store in the hands of a test: rows as the library writes them, and what goes wrong with them."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg2

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

OF_A_LOGIN = ("device", "sessions", "identity_keys", "pre_keys", "sender_keys", "app_state_sync_keys")

INSERTS = {
    "sessions": "INSERT INTO whatsmeow_sessions (our_jid, their_id, session) VALUES (%s, %s, %s)"
    " ON CONFLICT (our_jid, their_id) DO UPDATE SET session = excluded.session",
    "identity_keys": "INSERT INTO whatsmeow_identity_keys (our_jid, their_id, identity) VALUES (%s, %s, %s)"
    " ON CONFLICT (our_jid, their_id) DO UPDATE SET identity = excluded.identity",
    "pre_keys": "INSERT INTO whatsmeow_pre_keys (jid, key_id, key, uploaded) VALUES (%s, %s, %s, %s)"
    " ON CONFLICT (jid, key_id) DO UPDATE SET key = excluded.key, uploaded = excluded.uploaded",
    "sender_keys": "INSERT INTO whatsmeow_sender_keys (our_jid, chat_id, sender_id, sender_key) VALUES (%s, %s, %s, %s)"
    " ON CONFLICT (our_jid, chat_id, sender_id) DO UPDATE SET sender_key = excluded.sender_key",
    "app_state_sync_keys": "INSERT INTO whatsmeow_app_state_sync_keys (jid, key_id, key_data, timestamp, fingerprint)"
    " VALUES (%s, %s, %s, %s, %s) ON CONFLICT (jid, key_id) DO UPDATE SET key_data = excluded.key_data",
}

PUBLIC, SECRET = f"BQ{'A' * 42}", f"{'A' * 43}="


def chain(**changes: Any) -> dict[str, Any]:
    """A chain as libsignal writes it."""
    whole = {
        "SenderRatchetKeyPublic": PUBLIC,
        "SenderRatchetKeyPrivate": SECRET,
        "ChainKey": {"Key": SECRET, "Index": 3},
        "MessageKeys": [],
    }
    return whole | changes


def record() -> dict[str, Any]:
    """A session as the library writes it after some messages both ways; the keys are nobody's."""
    state = {
        "LocalIdentityPublic": PUBLIC,
        "LocalRegistrationID": 1217002618,
        "NeedsRefresh": False,
        "PendingKeyExchange": None,
        "PendingPreKey": None,
        "PreviousCounter": 4294967295,
        "ReceiverChains": [chain(SenderRatchetKeyPrivate=None)],
        "RemoteIdentityPublic": PUBLIC,
        "RemoteRegistrationID": 1771575536,
        "RootKey": SECRET,
        "SenderBaseKey": PUBLIC,
        "SenderChain": chain(),
        "SessionVersion": 3,
    }
    return {"SessionState": state, "PreviousStates": [copy.deepcopy(state)]}


@dataclass
class Store:
    """One client's own connections to the database at `url`: `tenant` is told by each, as the library's are."""

    url: str
    tenant: str | None

    def run(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """One statement that commits; its rows."""
        return self.run_all([(statement, parameters)])

    def run_all(self, statements: Sequence[tuple[str, Sequence[Any]]]) -> list[tuple[Any, ...]]:
        """All in one transaction; the last one's rows."""
        connection = psycopg2.connect(self.url)
        try:
            with connection, connection.cursor() as cursor:
                if self.tenant is not None:
                    cursor.execute("SELECT set_config('wa.tenant', %s, false)", (self.tenant,))
                for statement, parameters in statements:
                    cursor.execute(statement, parameters or None)
                return list(cursor.fetchall()) if cursor.description else []
        finally:
            connection.close()

    def link(self, jid: str, *, push_name: str = "Toko", lid: str | None = "100:7@lid") -> None:
        """A device is linked: its row appears."""
        self.run(
            "INSERT INTO whatsmeow_device (jid, lid, registration_id, noise_key, identity_key, signed_pre_key,"
            " signed_pre_key_id, signed_pre_key_sig, adv_key, adv_details, adv_account_sig, adv_account_sig_key,"
            " adv_device_sig, platform, push_name) VALUES (%s, %s, 4294967295, %s, %s, %s, 1, %s, %s, %s, %s, %s, %s,"
            " 'android', %s) ON CONFLICT (jid) DO UPDATE SET push_name = excluded.push_name, lid = excluded.lid",
            (jid, lid, *(bytes([n]) * 32 for n in range(3)), b"s" * 64, b"a" * 32, b"\x0a\x00details", b"b" * 64,
             b"c" * 32, b"d" * 64, push_name),
        )  # fmt: skip

    def put(self, table: str, *values: Any) -> None:
        """Write one row as the library does."""
        self.run(INSERTS[table], values)

    def dump(self) -> dict[str, list[tuple[Any, ...]]]:
        """All rows that make logins."""
        return {table: self.run(f"SELECT to_jsonb(t) FROM whatsmeow_{table} t ORDER BY 1") for table in OF_A_LOGIN}

    def mirror(self, tenant: str) -> dict[str, Any]:
        """auth_keys of a tenant: key -> what the JSON says."""
        rows = self.run("SELECT key, value FROM auth_keys WHERE tenant_id = %s", (tenant,))
        return {key: None if value is None else json.loads(value) for key, value in rows}

    def creds(self, tenant: str) -> Any:
        """auth_creds of a tenant, or None."""
        rows = self.run("SELECT data FROM auth_creds WHERE tenant_id = %s", (tenant,))
        return json.loads(rows[0][0]) if rows else None

    def differences(self, tenant: str) -> list[tuple[Any, ...]]:
        """As `session check` finds them."""
        return self.run("SELECT key, problem FROM wa_differences_v1(%s)", (tenant,))


def random_operations(chance: random.Random, jids: Sequence[str]) -> Callable[[], tuple[str, tuple[Any, ...]]]:
    """Makes statements that the library could run for one of these devices; few names, so that they meet again."""

    def any_record() -> bytes:
        whole = record()
        whole["SessionState"] |= {"RootKey": chance.randbytes(24).hex(), "n": chance.random()}
        return json.dumps(whole).encode()

    def address() -> str:
        return chance.choice(["628111:0", "628111:12", "123_1:7", "9_128:0", "odd", "a:b", "5.1", ""])

    def chat() -> str:
        return chance.choice(["1203630@g.us", "62811-1400000000@g.us", "status@broadcast", "::", ":", "%3A:", ""])

    def put(jid: str) -> tuple[str, tuple[Any, ...]]:
        table = chance.choice(list(INSERTS))
        values: dict[str, tuple[Any, ...]] = {
            "sessions": (address(), any_record()),
            "identity_keys": (address(), chance.randbytes(32)),
            "pre_keys": (chance.randrange(12), chance.randbytes(32), chance.random() < 0.5),
            "sender_keys": (chat(), address(), any_record()),
            "app_state_sync_keys": (chance.randbytes(1), chance.randbytes(32), chance.randrange(2**40), b"\x08\x01"),
        }
        return INSERTS[table], (jid, *values[table])

    def other(jid: str) -> tuple[str, tuple[Any, ...]]:
        a, b = address(), address()
        return chance.choice(
            [
                ("DELETE FROM whatsmeow_sessions WHERE our_jid = %s AND their_id = %s", (jid, a)),
                ("DELETE FROM whatsmeow_sessions WHERE our_jid = %s AND their_id LIKE %s", (jid, "628111:%")),
                ("DELETE FROM whatsmeow_identity_keys WHERE our_jid = %s AND their_id = %s", (jid, a)),
                ("DELETE FROM whatsmeow_pre_keys WHERE jid = %s AND key_id = %s", (jid, chance.randrange(12))),
                ("UPDATE whatsmeow_pre_keys SET uploaded = true WHERE jid = %s AND key_id <= %s", (jid, 6)),
                ("DELETE FROM whatsmeow_sender_keys WHERE our_jid = %s AND sender_id = %s", (jid, a)),
                ("UPDATE whatsmeow_device SET push_name = %s WHERE jid = %s", (chance.randbytes(3).hex(), jid)),
                (
                    "INSERT INTO whatsmeow_sessions SELECT our_jid, %s, session FROM whatsmeow_sessions"
                    " WHERE our_jid = %s AND their_id = %s"
                    " ON CONFLICT (our_jid, their_id) DO UPDATE SET session = excluded.session",
                    (b, jid, a),
                ),
                (
                    "UPDATE whatsmeow_sessions SET their_id = %s WHERE our_jid = %s AND their_id = %s AND NOT EXISTS"
                    " (SELECT FROM whatsmeow_sessions WHERE our_jid = %s AND their_id = %s)",
                    (b, jid, a, jid, b),
                ),
            ]
        )

    def one() -> tuple[str, tuple[Any, ...]]:
        return (put if chance.random() < 0.7 else other)(chance.choice(jids))

    return one
