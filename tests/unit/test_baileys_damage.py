"""Damaged logins: every damage has a code and a path, nothing is half converted, and no secret is ever told."""

from __future__ import annotations

import base64
import copy
import dataclasses
import json
import traceback
from typing import TYPE_CHECKING, Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.baileys.moving_in import Reason, read_login
from core.baileys.moving_out import write_login
from core.baileys.places import Code, Damaged, Place
from tests.baileys_vectors import TABLES, creds_and_keys, login, secrets, vector

if TYPE_CHECKING:
    from collections.abc import Callable

CREDS, KEYS = creds_and_keys("b")
OTHER_KEY = {"type": "Buffer", "data": base64.b64encode(b"\t" + bytes(31)).decode()}


def put(path: str, value: Any) -> Callable[[dict[str, Any]], Any]:
    """A change of the creds; None takes the field away."""

    def change(creds: dict[str, Any]) -> None:
        *way, last = path.split(".")
        place = creds
        for step in way:
            place = place[step]
        if value is None:
            del place[last]
        else:
            place[last] = value

    return change


@pytest.mark.parametrize(
    ("code", "path", "change"),
    [
        ("missing", "$.noiseKey", put("noiseKey", None)),
        ("missing", "$.noiseKey.private", put("noiseKey.private", None)),
        ("missing", "$.signedPreKey.keyPair", put("signedPreKey.keyPair", None)),
        ("missing", "$.signedPreKey.signature", put("signedPreKey.signature", None)),
        ("missing", "$.registrationId", put("registrationId", None)),
        ("missing", "$.advSecretKey", put("advSecretKey", None)),
        ("missing", "$.account.deviceSignature", put("account.deviceSignature", None)),
        ("missing", "$.me.id", put("me.id", "6281211110007@s.whatsapp.net")),
        ("bad_length", "$.noiseKey.private", put("noiseKey.private", {"type": "Buffer", "data": "AAAA"})),
        ("bad_length", "$.signedIdentityKey.private", put("signedIdentityKey.private", [])),
        ("bad_length", "$.signedPreKey.signature", put("signedPreKey.signature", OTHER_KEY)),
        ("bad_length", "$.account.accountSignature", put("account.accountSignature", "AAAA")),
        ("bad_length", "$.advSecretKey", put("advSecretKey", "AAAA")),
        ("key_mismatch", "$.noiseKey.public", put("noiseKey.public", OTHER_KEY)),
        ("key_mismatch", "$.signedIdentityKey.public", put("signedIdentityKey.public", OTHER_KEY)),
        ("key_mismatch", "$.signedPreKey.keyPair.public", put("signedPreKey.keyPair.public", OTHER_KEY)),
        ("bad_base64", "$.advSecretKey", put("advSecretKey", "not base64!")),
        ("bad_base64", "$.account.details", put("account.details", "A")),
        ("bad_base64", "$.noiseKey.private", put("noiseKey.private", {"type": "Buffer", "data": "===="})),
        ("bad_buffer", "$.noiseKey.private", put("noiseKey.private", {"type": "Buffer"})),
        ("bad_buffer", "$.noiseKey.private", put("noiseKey.private", {"0": 1, "2": 3})),
        ("bad_buffer", "$.noiseKey.private", put("noiseKey.private", {"0": 1, "1": 256})),
        ("bad_buffer", "$.noiseKey.private", put("noiseKey.private", [1, True])),
        ("bad_buffer", "$.noiseKey.private", put("noiseKey.private", 17)),
        ("bad_buffer", "$.noiseKey.private", put("noiseKey.private", {})),
        ("bad_json", "$.noiseKey", put("noiseKey", [])),
        ("bad_json", "$.registrationId", put("registrationId", "99")),
        ("bad_json", "$.registrationId", put("registrationId", -1)),
        ("bad_json", "$.registrationId", put("registrationId", 1.5)),
        ("bad_json", "$.signedPreKey.keyId", put("signedPreKey.keyId", 2**24)),
        ("bad_json", "$.me.id", put("me.id", "nobody")),
        ("bad_json", "$.me.id", put("me.id", "123:4@lid")),
        ("bad_json", "$.me.lid", put("me.lid", "6281:4@s.whatsapp.net")),
        ("bad_json", "$.me.name", put("me.name", "a\0b")),
        ("bad_json", "$.platform", put("platform", "\ud800")),
    ],
)
def test_damaged_creds_are_refused_with_code_and_path(code: str, path: str, change: Any) -> None:
    """Any of it makes the whole login useless, and the path is exact."""
    creds = json.loads(CREDS)
    change(creds)
    with pytest.raises(Damaged) as caught:
        read_login(json.dumps(creds), KEYS)
    assert (caught.value.code, caught.value.path) == (code, path)
    assert code in get_args(Code)


@pytest.mark.parametrize(
    ("text", "code"),
    [(None, "missing"), ("", "bad_json"), (CREDS[:-1], "bad_json"), ("[]", "bad_json"), ("null", "bad_json"),
     (b"\xff", "bad_json"), ("[" * 100_000, "bad_json"), ('{"me": NaN}', "bad_json"), ("9" * 5000, "bad_json")],
)  # fmt: skip
def test_creds_that_are_no_json(text: str | bytes | None, code: str) -> None:
    """A row that was cut short, emptied, or is something else altogether."""
    with pytest.raises(Damaged) as caught:
        read_login(text, KEYS)
    assert (caught.value.code, caught.value.path) == (code, "$")


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        ("session-6282222222222.0", "{", "bad_json"),
        ("session-6282222222222.0", None, "missing"),
        ("session-6282222222222.0", "{}", "bad_buffer"),
        ("session-nobody", KEYS["session-6282222222222.0"], "bad_json"),
        ("session-6282222222222.0", '{"_sessions": {}}', "empty"),
        ("pre-key-5", KEYS["pre-key-8"].replace("h", "i"), "key_mismatch"),
        ("pre-key-5", "null", "bad_json"),
        ("pre-key-x", KEYS["pre-key-5"], "bad_json"),
        ("pre-key-16777216", KEYS["pre-key-5"], "bad_json"),
        ("identity-key-6282222222222.0", '"AAAA"', "bad_length"),
        ("sender-key-12@g.us::6282222222222::0", '{"type": "Buffer", "data": "AAAA"}', "bad_json"),
        ("sender-key-12@g.us", "[]", "bad_json"),
        ("sender-key-12@g.us::6282222222222::0", "[]", "empty"),
        ("app-state-sync-key-!", KEYS["app-state-sync-key-AAAAAHz+"], "bad_base64"),
        ("app-state-sync-key-AAAAAHz+", '{"keyData": "AAAA"}', "bad_length"),
        ("app-state-sync-version-regular", '{"version": 2, "hash": []}', "bad_length"),
        ("lid-mapping-628", "7", "bad_json"),
        ("tctoken-x", '{"token": "AAAA"}', "bad_json"),
        ("pre-key-1\0", KEYS["pre-key-1"], "bad_json"),
    ],
)
def test_a_damaged_key_is_left_out_and_named(key: str, value: str | None, code: str) -> None:
    """With a code and its name, and without any of its value; all other keys are as they were."""
    converted = read_login(CREDS, {**KEYS, key: value})
    assert converted
    [skipped] = [one for one in converted.skipped if one.key == key]
    assert skipped.code == code
    assert len(converted.skipped) == 1
    whole = login("b").rows
    for field, _ in TABLES.values():
        if field not in ("device", "identities"):
            assert set(getattr(converted.rows, field)) <= set(getattr(whole, field))
            assert len(getattr(converted.rows, field)) >= len(getattr(whole, field)) - 1


BUFFERS = st.binary(max_size=40)


@given(BUFFERS, st.sampled_from(["base64", "unpadded", "list", "value", "old", "numbered", "text", "plain list"]))
def test_every_form_of_a_buffer_is_the_same_bytes(data: bytes, form: str) -> None:
    """All that were ever written."""
    text, numbers = base64.b64encode(data).decode(), list(data)
    written: Any = {
        "base64": {"type": "Buffer", "data": text},
        "unpadded": {"type": "Buffer", "data": text.rstrip("=")},
        "list": {"type": "Buffer", "data": numbers},
        "value": {"buffer": True, "value": text},
        "old": {"buffer": True, "data": numbers},
        "numbered": {str(at): one for at, one in enumerate(numbers)},
        "text": text,
        "plain list": numbers,
    }[form]
    if data or form != "numbered":
        assert Place(json.loads(json.dumps(written))).data() == data


# Anything at all


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place of a document."""
    found = [path]
    if isinstance(value, dict):
        for name, one in value.items():
            found += places(one, (*path, name))
    elif isinstance(value, list):
        for at, one in enumerate(value):
            found += places(one, (*path, at))
    return found


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8)
    | st.sampled_from(["", "AAAA", "====", "6281:5@s.whatsapp.net", "1" * 30]),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.sampled_from(["type", "data", "buffer", "0", "1", "low", "high", "x"]), inner, max_size=4),
    max_leaves=6,
)  # fmt: skip


def damaged(document: Any, data: st.DataObject) -> Any:
    """The document with one place replaced, removed, or its text cut or twisted."""
    way = data.draw(st.sampled_from(places(document)))
    if not way:
        return data.draw(ANYTHING)
    changed = copy.deepcopy(document)
    at = changed
    for step in way[:-1]:
        at = at[step]
    how = data.draw(st.sampled_from(["replace", "remove", "twist"]))
    old = at[way[-1]]
    if how == "remove":
        del at[way[-1]]
    elif how == "twist" and isinstance(old, str) and old:
        cut = data.draw(st.integers(0, len(old) - 1))
        at[way[-1]] = old[:cut] + data.draw(st.text(max_size=2)) + old[cut + 1 :]
    else:
        at[way[-1]] = data.draw(ANYTHING)
    return changed


def is_whole(converted: Any) -> bool:
    """Every row would be taken by whatsmeow's tables, and goes back."""
    rows = converted.rows
    device = rows.device
    lengths = {
        "noise_key": 32, "identity_key": 32, "signed_pre_key": 32, "signed_pre_key_sig": 64, "adv_key": 32,
        "adv_account_sig": 64, "adv_account_sig_key": 32, "adv_device_sig": 64,
    }  # fmt: skip
    assert all(len(getattr(device, name)) == size for name, size in lengths.items())
    assert all(len(row.identity) == 32 for row in rows.identities)
    assert all(len(row.key) == 32 and 0 < row.key_id < 2**24 for row in rows.pre_keys)
    assert all(len(row.hash) == 128 and row.version > 0 for row in rows.app_state_versions)
    for field, keys in (("sessions", ["their_id"]), ("sender_keys", ["chat_id", "sender_id"]), ("lids", ["pn"]),
                        ("identities", ["their_id"]), ("pre_keys", ["key_id"])):  # fmt: skip
        names = [tuple(getattr(row, key) for key in keys) for row in getattr(rows, field)]
        assert len(names) == len(set(names))
    for session in rows.sessions:
        assert json.loads(session.session)["SessionState"]["SenderChain"]["SenderRatchetKeyPrivate"]
    assert write_login(rows, converted.extra, 1).skipped == ()
    return True


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_any_damage_to_the_creds_has_a_code(data: st.DataObject) -> None:
    """Or does no harm, or there is nothing that was paired: never another exception, never half a login."""
    text = json.dumps(damaged(json.loads(CREDS), data))
    try:
        converted = read_login(text, KEYS)
    except Damaged as damage:
        assert damage.code in get_args(Code)
        assert damage.path.startswith("$")
    else:
        assert converted is None or is_whole(converted)


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_any_damage_to_a_key_costs_that_key_at_most(data: st.DataObject) -> None:
    """And it is named with a code of ours."""
    key = data.draw(st.sampled_from(sorted(KEYS)))
    value = json.dumps(damaged(json.loads(KEYS[key]), data))
    name = (
        key if data.draw(st.booleans()) else key[: data.draw(st.integers(0, len(key)))] + data.draw(st.text(max_size=3))
    )
    kept = {other: text for other, text in KEYS.items() if other != key}
    converted = read_login(CREDS, {**kept, name: value})
    assert converted
    assert is_whole(converted)
    assert all(one.code in (*get_args(Code), *get_args(get_args(Reason)[1])) for one in converted.skipped)
    assert len(converted.skipped) <= 2


@settings(deadline=None, max_examples=100)
@given(st.text(max_size=200) | st.binary(max_size=200), st.dictionaries(st.text(max_size=30), st.text(max_size=30)))
def test_noise_is_refused(creds: str | bytes, keys: dict[str, str]) -> None:
    """Whatever stands in the rows."""
    try:
        assert read_login(creds, keys) is None
    except Damaged as damage:
        assert damage.code in get_args(Code)


# Secrets


def test_no_secret_is_in_any_repr() -> None:
    """Of a login, of its rows, of what goes back."""
    converted = login("b")
    back = write_login(converted.rows, converted.extra, 1)
    told = repr(converted) + repr(back) + "".join(repr(getattr(converted.rows, field)) for field, _ in TABLES.values())
    assert "6281211110007" in told
    assert [secret for secret in secrets() if secret in told] == []


def test_no_row_shows_its_bytes() -> None:
    """Also those that are added to it later."""
    for field, cls in TABLES.values():
        shown = [one.name for one in dataclasses.fields(cls) if one.repr and "bytes" in str(one.type)]
        assert shown == (["key_id"] if field == "app_state_keys" else [])


def test_no_secret_is_in_any_error() -> None:
    """Nor in its traceback: neither of damaged creds nor of damaged keys."""
    told = ""
    for cut in range(0, len(CREDS), 97):
        try:
            read_login(CREDS[:cut], {})
        except Damaged:
            told += traceback.format_exc()
    for key, value in KEYS.items():
        converted = read_login(CREDS, {key: value.replace("A", "!", 1)})
        assert converted
        told += repr(converted.skipped)
    assert [secret for secret in secrets() if secret in told] == []


def test_the_vectors_are_what_the_tests_believe() -> None:
    """The paired one has every kind of key."""
    assert vector("b")["expected_warnings"] == []
    assert len(KEYS) == 28
