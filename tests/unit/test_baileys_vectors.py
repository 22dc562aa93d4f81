"""Real logins of Baileys: the rows they must become, the messages that must decrypt from those rows, the way back."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from core.baileys.keys import group_message_keys
from core.baileys.moving_in import Extra, Login, read_login
from core.baileys.moving_out import write_login
from core.baileys.names import file_of_key, key_of_file
from sandbox.wire import protobuf
from sandbox.wire.keys import KeyPair, decrypt_cbc, hmac_of, verify
from tests.baileys_vectors import TABLES, creds_and_keys, login, rows_of, vector
from tests.signal_records import GoRecord, NotRead


@pytest.mark.parametrize("name", ["b", "c"])
@pytest.mark.parametrize("table", TABLES)
def test_a_login_becomes_the_rows_of_whatsmeow(name: str, table: str) -> None:
    """Byte for byte, whether its Buffers are written in base64 or as lists of numbers."""
    field, _ = TABLES[table]
    expected = rows_of(vector("b")["expected_whatsmeow"])
    assert getattr(login(name).rows, field) == getattr(expected, field)


def test_nothing_is_lost_on_the_way_that_the_way_back_needs() -> None:
    """What whatsmeow has no place for is kept aside, and no key was left out."""
    converted, expected = login("b"), vector("b")["expected_extra"]
    assert (converted.extra.creds, converted.extra.keys) == (expected["creds"], expected["keys"])
    assert converted.skipped == ()


def test_a_login_that_was_never_paired_is_none() -> None:
    """Creds that were saved before any QR code was scanned are no damage: there is nothing to move."""
    assert read_login(*creds_and_keys("a")) is None


def test_file_names_become_keys_and_back() -> None:
    """/ was written as __ and : as -, and what cannot be told from the name alone is told from the kind."""
    for file, key in vector("e")["key_of_file"].items():
        assert key_of_file(file) == key
        assert key is None or file_of_key(key) == file


def test_a_folder_is_the_same_login_as_its_rows() -> None:
    """Names are all that differs."""
    files = vector("e")["files"]
    keys = {key: text for file, text in files.items() if (key := key_of_file(file))}
    assert read_login(files["creds.json"], keys) == login("b")


class Device:
    """What whatsmeow would do with a login's rows."""

    def __init__(self, converted: Login) -> None:
        rows = converted.rows
        self.me = KeyPair.of(rows.device.identity_key)
        self.signed = KeyPair.of(rows.device.signed_pre_key)
        self.once = {row.key_id: KeyPair.of(row.key) for row in rows.pre_keys}
        self.sessions = {row.their_id: GoRecord(json.loads(row.session)["SessionState"]) for row in rows.sessions}
        self.groups = {
            (row.chat_id, row.sender_id): json.loads(row.sender_key)["SenderKeyStates"] for row in rows.sender_keys
        }

    def read(self, message: dict[str, Any]) -> bytes:
        data, address = base64.b64decode(message["data"]), address_of(message["frm"])
        if message["type"] == "pkmsg":
            once = self.once.pop(protobuf.decode(data[1:]).number(1))
            self.sessions[address], data = GoRecord.accepted(self.me, self.signed, once, data)
        return self.sessions[address].decrypt(data)

    def read_in_group(self, message: dict[str, Any]) -> bytes:
        data = base64.b64decode(message["data"])
        head = protobuf.decode(data[1:-64])
        [state] = [
            one for one in self.groups[message["chat"], address_of(message["frm"])] if one["KeyID"] == head.number(1)
        ]
        assert verify(base64.b64decode(state["SigningKeyPublic"])[1:], data[:-64], data[-64:])
        iv, cipher = self.group_keys(state, head.number(2))
        return decrypt_cbc(cipher, iv, head.data(3))

    def group_keys(self, state: dict[str, Any], iteration: int) -> tuple[bytes, bytes]:
        for key in state["Keys"]:
            if key["Iteration"] == iteration:
                return base64.b64decode(key["IV"]), base64.b64decode(key["CipherKey"])
        chain = state["SenderChainKey"]
        key, at = base64.b64decode(chain["ChainKey"]), chain["Iteration"]
        assert at <= iteration
        while at < iteration:
            key, at = hmac_of(key, b"\2"), at + 1
        return group_message_keys(hmac_of(key, b"\1"))


def address_of(jid: str) -> str:
    """whatsmeow's name for a device."""
    user, _, server = jid.partition("@")
    name, _, device = user.partition(":")
    return f"{name}{'_1' if server == 'lid' else ''}:{device or 0}"


@pytest.mark.parametrize("name", ["b", "c"])
def test_every_message_that_came_later_decrypts_from_the_rows(name: str) -> None:
    """The next one, those skipped on a live chain and on a closed one, a hidden user's, the first of a stranger with a
    one-time key, the answer to a conversation that we began."""
    device = Device(login(name))
    for message in vector("b")["messages_after"]:
        assert device.read(message) == message["plain"].encode()


def test_every_group_message_that_came_later_decrypts_from_the_rows() -> None:
    """The next one, one that was skipped, and a group of the old kind."""
    device = Device(login("b"))
    for message in vector("b")["group_messages_after"]:
        assert device.read_in_group(message) == message["plain"].encode()


def test_a_message_of_a_closed_session_fails_cleanly() -> None:
    """Closed sessions stay behind: the phone is asked to send again, and the open session is as good as before."""
    device, messages = Device(login("b")), vector("b")
    with pytest.raises(NotRead):
        device.read(messages["closed_session_message"])
    [later] = [one for one in messages["messages_after"] if one["plain"] == "e4"]
    assert device.read(later) == b"e4"


def test_rows_go_back_as_baileys_wrote_them() -> None:
    """Rows that whatsmeow itself had written after more traffic: creds and keys, value for value."""
    found = vector("f")
    back = write_login(rows_of(found["whatsmeow"]), Extra(**found["extra"]), found["now_ms"])
    assert back.creds == found["expected_creds"]
    assert back.keys == found["expected_keys"]
    assert (back.lost, back.skipped) == (found["expected_skipped_keys_lost"], ())


def test_there_and_back_and_there_again() -> None:
    """But for the keys of messages that did not come yet, a login that went back and returns has the same rows."""
    first = login("b")
    back = write_login(first.rows, first.extra, 1)
    again = read_login(json.dumps(back.creds), {key: json.dumps(value) for key, value in back.keys.items()})
    assert again
    assert again.skipped == ()
    assert back.lost == 4
    for field, _ in TABLES.values():
        if field != "sessions":
            assert getattr(again.rows, field) == getattr(first.rows, field)
    for row, before in zip(again.rows.sessions, first.rows.sessions, strict=True):
        expected = json.loads(before.session)
        for chain in expected["SessionState"]["ReceiverChains"]:
            chain["MessageKeys"] = []
        kept = [one for one in expected["SessionState"]["ReceiverChains"] if one["ChainKey"]["Key"]]
        expected["SessionState"]["ReceiverChains"] = kept  # a closed chain without keys is good for nothing
        assert json.loads(row.session) == expected
