"""What was learnt by trying, rule by rule; and conversations of any length that move between the libraries at will."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.baileys.going_back import NotConverted, Stamp, node_session
from core.baileys.moving_in import Login, read_login
from core.baileys.moving_out import write_login
from core.baileys.names import SignalAddress, key_of_file
from core.baileys.people import People, is_number
from core.baileys.places import Damaged, Place
from core.baileys.sessions import MOST_CHAINS, Own, session_record
from sandbox.wire.keys import KeyPair
from tests.baileys_vectors import creds_and_keys, login
from tests.signal_records import GoRecord, Message, NodeRecord, NotRead, b64, raw

PN, HIDDEN = "6286666666666", "222233334444555"


def changed(creds: dict[str, Any] | None = None, **keys: Any) -> Login:
    """The paired vector with other creds and keys (`_` for `-`; None: without)."""
    text, rows = creds_and_keys("b")
    document = json.loads(text)
    for path, value in (creds or {}).items():
        *way, last = path.split(".")
        place = document
        for step in way:
            place = place[step]
        if value is None:
            del place[last]
        else:
            place[last] = value
    converted = read_login(json.dumps(document), {**rows, **{key: json.dumps(value) for key, value in keys.items()}})
    assert converted
    return converted


def session_of(converted: Login, their_id: str) -> dict[str, Any]:
    """The SessionState of a row."""
    [row] = [row for row in converted.rows.sessions if row.their_id == their_id]
    state: dict[str, Any] = json.loads(row.session)["SessionState"]
    return state


def node(name: str) -> dict[str, Any]:
    """A session of the vector, as node keeps it."""
    found: dict[str, Any] = json.loads(creds_and_keys("b")[1][f"session-{name}"])
    return found


def entry_of(record: dict[str, Any]) -> dict[str, Any]:
    """Its open session."""
    [found] = [one for one in record["_sessions"].values() if one["indexInfo"]["closed"] == -1]
    return found


# Sessions


def test_spent_chains_stay_behind() -> None:
    """node never deletes them: hundreds otherwise. The live chain is the last."""
    state = session_of(login("b"), "6282222222222:0")
    assert len(entry_of(node("6282222222222.0"))["_chains"]) == 6
    assert [len(chain["MessageKeys"]) for chain in state["ReceiverChains"]] == [2, 2]
    assert state["ReceiverChains"][-1]["ChainKey"]["Key"]


def test_libsignal_counts_what_comes_next() -> None:
    """node counts what was used last, and begins at -1."""
    before = entry_of(node("6282222222222.0"))
    state = session_of(login("b"), "6282222222222:0")
    live = before["_chains"][before["currentRatchet"]["lastRemoteEphemeralKey"]]["chainKey"]["counter"]
    assert state["ReceiverChains"][-1]["ChainKey"]["Index"] == live + 1 == 3
    assert state["SenderChain"]["ChainKey"]["Index"] == 0


def test_an_unanswered_conversation_keeps_the_key_it_began_with() -> None:
    """As a chain that was never used; on the way back the key is there again, and the chain is not: node would miss
    2,000 messages of it."""
    record = node("6283333333333.4")
    [placeholder] = session_of(login("b"), "6283333333333:4")["ReceiverChains"]
    assert placeholder["ChainKey"]["Index"] == 0
    [row] = [row for row in login("b").rows.sessions if row.their_id == "6283333333333:4"]
    back = entry_of(node_session(row.session, Stamp(1)))
    assert back["currentRatchet"]["lastRemoteEphemeralKey"] == placeholder["SenderRatchetKeyPublic"]
    assert back["_chains"].keys() == entry_of(record)["_chains"].keys()
    assert back["indexInfo"]["baseKeyType"] == 1


def test_a_session_without_a_chain_to_send_with_is_left_out() -> None:
    """libsignal would fail on it in a way that ends the process."""
    record = node("6282222222222.0")
    entry = entry_of(record)
    del entry["_chains"][entry["currentRatchet"]["ephemeralKeyPair"]["pubKey"]]
    converted = changed(**{"session-6282222222222.0": record})
    assert [(one.key, one.code) for one in converted.skipped] == [("session-6282222222222.0", "missing")]
    assert "6282222222222:0" not in [row.their_id for row in converted.rows.sessions]


def test_closed_sessions_are_not_imported() -> None:
    """libsignal damages the open one while it tries a closed one."""
    assert len(node("6285555555555.0")["_sessions"]) == 2
    for row in login("b").rows.sessions:
        assert json.loads(row.session)["PreviousStates"] == []


def test_without_an_open_session_the_last_used_one_is_promoted() -> None:
    """Of two closed ones the newer."""
    record = node("6285555555555.0")
    newest = entry_of(record)
    newest["indexInfo"]["closed"] = 1795350397999
    state = session_of(changed(**{"session-6285555555555.0": record}), "6285555555555:0")
    assert state["SenderBaseKey"] == newest["indexInfo"]["baseKey"]


def test_damage_in_a_closed_session_is_no_loss() -> None:
    """Only the open one matters."""
    record = node("6285555555555.0")
    for entry in record["_sessions"].values():
        if entry["indexInfo"]["closed"] != -1:
            del entry["indexInfo"]
    assert changed(**{"session-6285555555555.0": record}).skipped == ()


def test_counters_that_never_began() -> None:
    """-1 in node is the largest number in libsignal, there and back."""
    record = node("6282222222222.0")
    entry_of(record)["currentRatchet"]["previousCounter"] = -1
    converted = changed(**{"session-6282222222222.0": record})
    assert session_of(converted, "6282222222222:0")["PreviousCounter"] == 2**32 - 1
    back = write_login(converted.rows, converted.extra, 1).keys["session-6282222222222.0"]
    assert entry_of(back)["currentRatchet"]["previousCounter"] == -1


def test_a_session_of_the_wasm_form_is_named_and_never_guessed() -> None:
    """Newer Baileys may store a Buffer."""
    converted = changed(**{"session-6282222222222.0": {"type": "Buffer", "data": "AAAA"}})
    [skipped] = converted.skipped
    assert (skipped.key, skipped.code) == ("session-6282222222222.0", "bad_buffer")
    assert "newer Baileys" in skipped.detail


# Who is who


def test_the_row_of_a_number_beside_that_of_the_hidden_id_is_dropped() -> None:
    """whatsmeow would move it over the fresh one: sessions, identities and sender keys alike."""
    rows = creds_and_keys("b")[1]
    group = "120363000000000001@g.us"
    converted = changed(
        **{
            f"session-{PN}.7": node(f"{HIDDEN}_1.7"),
            f"identity-key-{PN}.7": json.loads(rows[f"identity-key-{HIDDEN}_1.7"]),
            f"sender-key-{group}::{PN}::7": json.loads(rows[f"sender-key-{group}::6282222222222::0"]),
            f"sender-key-{group}::{HIDDEN}_1::7": json.loads(rows[f"sender-key-{group}::6282222222222::0"]),
        }
    )
    assert {one.code for one in converted.skipped} == {"superseded"}
    assert len(converted.skipped) == 3
    for kept in (converted.rows.sessions, converted.rows.identities):
        assert [row.their_id for row in kept].count(f"{HIDDEN}_1:7") == 1
        assert f"{PN}:7" not in [row.their_id for row in kept]
    assert f"{PN}:7" not in [row.sender_id for row in converted.rows.sender_keys]


def test_the_row_of_a_number_alone_is_kept() -> None:
    """Another device of the same person has only that; whatsmeow moves it itself."""
    converted = changed(**{f"session-{PN}.9": node(f"{HIDDEN}_1.7")})
    assert f"{PN}:9" in [row.their_id for row in converted.rows.sessions]


def test_hidden_users_of_baileys_6_are_told_from_numbers() -> None:
    """It wrote them without their mark: the map decides, then whether the digits may be a number at all."""
    people = People(own_number="6299")
    people.add(HIDDEN, PN)
    for text, expected in (
        (f"{HIDDEN}.7", f"{HIDDEN}_1:7"),
        (f"{PN}.7", f"{PN}:7"),
        ("999900001111222.0", "999900001111222_1:0"),
        ("628123456789.0", "628123456789:0"),
        ("5215512345678.0", "5215512345678:0"),
        ("6299.3", "6299:3"),
        ("123_128.0", "123_128:0"),
        ("628123456789:5@s.whatsapp.net", "628123456789:5"),
        ("999900001111222@lid", "999900001111222_1:0"),
        ("628123456789:5@c.us", "628123456789:5"),
    ):
        address = SignalAddress.parse(text)
        assert address
        assert str(people.settled(address)) == expected
    assert not is_number("0")


def test_one_person_has_one_number() -> None:
    """whatsmeow's map is unique both ways: what came first stays, what says otherwise is named."""
    converted = changed(**{"lid-mapping-6281111111": HIDDEN, "lid-mapping-333_reverse": PN})
    assert {(row.lid, row.pn) for row in converted.rows.lids} >= {(HIDDEN, "6281111111")}
    assert {one.code for one in converted.skipped} == {"superseded"}
    assert len({row.pn for row in converted.rows.lids}) == len(converted.rows.lids)


# The device


@pytest.mark.parametrize(
    ("written", "jid"),
    [
        ("6281211110007:7@s.whatsapp.net", "6281211110007:7@s.whatsapp.net"),
        ("6281211110007.0:7@s.whatsapp.net", "6281211110007:7@s.whatsapp.net"),
        ("6281211110007_0:7@c.us", "6281211110007:7@s.whatsapp.net"),
    ],
)
def test_the_own_address_loses_its_old_forms(written: str, jid: str) -> None:
    """Every other row hangs on this text."""
    assert changed({"me.id": written}).rows.device.jid == jid


def test_an_old_login_without_a_hidden_id() -> None:
    """whatsmeow learns it when it connects; the phone's identity stands under the number."""
    identity = [
        {"identifier": {"name": "6281211110007:7@s.whatsapp.net", "deviceId": 0}, "identifierKey": [5, *range(32)]}
    ]
    rows = changed({"me.lid": None, "signalIdentities": identity}).rows
    assert rows.device.lid is None
    assert ("6281211110007:0", bytes(range(32))) in [(row.their_id, row.identity) for row in rows.identities]
    assert "6281211110007" not in [row.pn for row in rows.lids]


def test_baileys_6_kept_no_identities() -> None:
    """Those of the open sessions are taken."""
    text, rows = creds_and_keys("b")
    converted = read_login(text, {key: value for key, value in rows.items() if not key.startswith("identity-key")})
    assert converted
    assert converted.rows.identities == login("b").rows.identities


def test_registered_says_nothing() -> None:
    """It is false after a scanned QR code: me and account make a paired login."""
    assert json.loads(creds_and_keys("b")[0])["registered"] is False
    text, rows = creds_and_keys("b")
    for field in ("me", "account"):
        creds = {**json.loads(text), "registered": True}
        del creds[field]
        assert read_login(json.dumps(creds), rows) is None


# Groups and app state


def group_state(number: int, **other: Any) -> dict[str, Any]:
    """A sender's state as Baileys 6 wrote it."""
    pair = KeyPair.new()
    signing = {"public": b64(b"\5" + pair.public), "private": other.pop("private", "")}
    if signing["private"] == "own":
        signing["private"] = b64(pair.private)
    chain = {"iteration": 4, "seed": b64(bytes([number] * 32))}
    return {
        "senderKeyId": number,
        "senderChainKey": chain,
        "senderSigningKey": signing,
        "senderMessageKeys": [],
        **other,
    }


def group_keys(value: Any) -> list[dict[str, Any]]:
    """libsignal's states of that value."""
    converted = changed(**{"sender-key-12345678901234567@g.us::628123456789::0": value})
    [row] = [row for row in converted.rows.sender_keys if row.chat_id == "12345678901234567@g.us"]
    states: list[dict[str, Any]] = json.loads(row.sender_key)["SenderKeyStates"]
    return states


def test_the_newest_state_of_a_sender_is_the_first() -> None:
    """Baileys has it last; libsignal keeps five. Baileys 6 wrote the list itself."""
    assert [state["KeyID"] for state in group_keys([group_state(number) for number in range(7)])] == [6, 5, 4, 3, 2]


def test_skipped_group_keys_that_baileys_6_lost_are_passed_over() -> None:
    """It stored them as {}."""
    [state] = group_keys([group_state(1, senderMessageKeys=[{}, {"iteration": 2, "seed": b64(bytes(32))}])])
    assert [key["Iteration"] for key in state["Keys"]] == [2]


def test_what_baileys_hoards_of_its_own_group_key_is_dropped() -> None:
    """It skips every second iteration, and nobody asks for those."""
    hoard = [{"iteration": 1, "seed": b64(bytes(32))}]
    [state] = group_keys([group_state(1, private="own", senderMessageKeys=hoard)])
    assert state["SigningKeyPrivate"]
    assert state["Keys"] == []


@pytest.mark.parametrize("none", ["", None, [], b64(bytes(32)), {"type": "Buffer", "data": []}])
def test_no_private_key_is_written_in_many_ways(none: Any) -> None:
    """Go writes 32 zero bytes after a reload."""
    assert group_keys([group_state(1, private=none)])[0]["SigningKeyPrivate"] is None


def test_a_collection_of_which_nothing_was_read_has_no_row() -> None:
    """whatsmeow fails on a stored version 0."""
    converted = changed(**{"app-state-sync-version-regular": {"version": 0, "hash": [0] * 128, "indexValueMap": {}}})
    assert [row.name for row in converted.rows.app_state_versions] == ["critical_block", "regular_low"]
    assert converted.skipped == ()


LONG = {"low": (1790000000000 & 0xFFFFFFFF) - 2**32, "high": 1790000000000 >> 32, "unsigned": False}


@pytest.mark.parametrize("stamp", [1790000000000, "1790000000000", LONG])
def test_times_in_all_their_forms(stamp: Any) -> None:
    """A number, its digits, or protobufjs's two halves."""
    key = {"keyData": b64(bytes(32)), "timestamp": stamp, "fingerprint": {"rawId": 0, "deviceIndexes": []}}
    [row] = [row for row in changed(**{"app-state-sync-key-AAAB": key}).rows.app_state_keys if row.key_id == b"\0\0\1"]
    assert (row.timestamp, row.fingerprint) == (1790000000000, b"\x08\x00")


def test_tokens_without_a_token_are_left_out() -> None:
    """Baileys keeps an index beside them, and empty ones."""
    converted = changed(**{"tctoken-628123456789@s.whatsapp.net": {"token": {"type": "Buffer", "data": ""}}})
    assert [row.their_jid for row in converted.rows.privacy_tokens] == [f"{HIDDEN}@lid"]
    assert [one.code for one in converted.skipped] == ["empty"]


def test_a_key_of_no_kind_is_named() -> None:
    """And the others are not disturbed."""
    converted = changed(**{"surprise-1": {}})
    assert [(one.key, one.code) for one in converted.skipped] == [("surprise-1", "unknown_kind")]
    assert converted.rows == login("b").rows


def test_pre_keys_that_were_not_uploaded_yet() -> None:
    """Those from firstUnuploadedPreKeyId on; on the way back the numbers are the same."""
    converted = changed({"firstUnuploadedPreKeyId": 10})
    assert [row.key_id for row in converted.rows.pre_keys if not row.uploaded] == [10, 11, 12]
    back = write_login(converted.rows, converted.extra, 1).creds
    assert (back["firstUnuploadedPreKeyId"], back["nextPreKeyId"]) == (10, 13)


def test_file_names_of_all_kinds() -> None:
    """Also of addresses that were written as JIDs; what is no key file is none."""
    assert key_of_file("session-628123456789-5@s.whatsapp.net.json") == "session-628123456789:5@s.whatsapp.net"
    assert key_of_file("sender-key-memory-6281-14@g.us.json") == "sender-key-memory-6281-14@g.us"
    assert key_of_file("creds.json") is None
    assert key_of_file("notes.txt") is None


def test_what_cannot_go_back_is_named() -> None:
    """A session of whatsmeow that never heard anything has no form in node."""
    state = GoRecord({**session_of(login("b"), "6282222222222:0"), "ReceiverChains": None}).state
    with pytest.raises(NotConverted):
        node_session(json.dumps({"SessionState": state}).encode(), Stamp(1))


# Conversations


class Wandering:
    """One side of a conversation, whose record moves from node to Go and back. `lost`: messages of which the way back
    took the keys; `evicted`: chains that libsignal keeps no more than five of."""

    def __init__(self, record: NodeRecord) -> None:
        self.record: NodeRecord | GoRecord = record
        self.me = record.me
        self.lost: set[tuple[str, int]] = set()
        self.evicted: set[str] = set()

    def move(self) -> None:
        if isinstance(self.record, NodeRecord):
            before = {name for name, chain in self.record.entry["_chains"].items() if chain["messageKeys"]}
            session = session_record(Place(copy.deepcopy(self.record.record)), Own(self.me[1:], 99))
            assert session
            self.record = GoRecord(json.loads(session.record)["SessionState"])
            self.evicted |= before - self.chains()
        else:
            for chain in self.record.state["ReceiverChains"]:
                self.lost |= {(chain["SenderRatchetKeyPublic"], key["Index"]) for key in chain["MessageKeys"]}
            back = node_session(json.dumps({"SessionState": self.record.state}).encode(), Stamp(1))
            self.record = NodeRecord(back, self.me)

    def chains(self) -> set[str]:
        assert isinstance(self.record, GoRecord)
        return {chain["SenderRatchetKeyPublic"] for chain in self.record.state["ReceiverChains"]}

    def hear(self, data: bytes) -> bytes:
        before = self.chains() if isinstance(self.record, GoRecord) else set()
        text = self.record.decrypt(data)
        if before:
            self.evicted |= before - self.chains()
        return text

    def may_fail(self, data: bytes) -> bool:
        message = Message.read(data)
        return (message.ratchet, message.number) in self.lost or message.ratchet in self.evicted


STEPS = st.lists(
    st.tuples(st.sampled_from(["say", "say", "hear", "hear", "move"]), st.booleans(), st.integers(0, 3)), max_size=60
)


@settings(deadline=None, max_examples=60)
@given(STEPS)
def test_any_conversation_goes_on_wherever_its_record_moves(steps: list[tuple[str, bool, int]]) -> None:
    """Every message is read, late ones too, but for exactly those whose keys the way back is known to lose."""
    first, second = NodeRecord.pair()
    sides = {True: Wandering(first), False: Wandering(second)}
    sides[False].hear(sides[True].record.encrypt(b"first"))
    waiting: dict[bool, list[tuple[bytes, bytes]]] = {True: [], False: []}
    for number, (what, who, which) in enumerate(steps):
        side = sides[who]
        if what == "move":
            side.move()
        elif what == "say":
            text = b"%d" % number
            waiting[not who].append((side.record.encrypt(text), text))
        elif waiting[who]:
            data, text = waiting[who].pop(which % len(waiting[who]))
            try:
                assert side.hear(data) == text
            except NotRead:
                assert side.may_fail(data)


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 12), st.integers(0, 3))
def test_no_more_chains_than_libsignal_keeps(turns: int, skipped: int) -> None:
    """However long a conversation was, and however many of its messages never came."""
    first, second = NodeRecord.pair()
    second.decrypt(first.encrypt(b""))
    for _ in range(turns):
        first.decrypt([second.encrypt(b"") for _ in range(skipped + 1)][-1])
        second.decrypt([first.encrypt(b"") for _ in range(skipped + 1)][-1])
    session = session_record(Place(first.record), Own(first.me[1:], 99))
    assert session
    chains = json.loads(session.record)["SessionState"]["ReceiverChains"]
    assert len(chains) == (min(turns, MOST_CHAINS) if skipped else 1)
    assert all(len(chain["MessageKeys"]) == skipped for chain in chains)
    assert all(len(raw(key["CipherKey"])) == 32 for chain in chains for key in chain["MessageKeys"])


def test_errors_tell_where_and_never_what() -> None:
    """The path has names that were asked for, and numbers."""
    with pytest.raises(Damaged) as caught:
        session_record(Place({"_sessions": {"secret": {"indexInfo": {"closed": "secret"}}}}), Own(bytes(32), 1))
    assert (caught.value.code, caught.value.path) == ("bad_json", "$._sessions[0].indexInfo.closed")
    assert "secret" not in str(caught.value)
