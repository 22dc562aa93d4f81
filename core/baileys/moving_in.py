"""A whole login: its creds and all its keys become the rows of whatsmeow's store.

Damaged creds are an error. A damaged key is left out and named: the conversation begins afresh, by itself.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from core.baileys.app_state import app_state_key, app_state_version
from core.baileys.creds import LARGEST_KEY_ID, device_row, is_paired, left_over
from core.baileys.keys import private_key, public_of
from core.baileys.names import LID, Jid, SignalAddress, split
from core.baileys.people import People
from core.baileys.places import Code, Damaged, Place, is_storable, parse_json
from core.baileys.sender_keys import sender_key_record
from core.baileys.sessions import Own, session_record
from core.whatsmeow_rows import (
    AppStateKeyRow,
    AppStateMacRow,
    AppStateVersionRow,
    DeviceRow,
    IdentityRow,
    PreKeyRow,
    PrivacyTokenRow,
    Rows,
    SenderKeyRow,
    SessionRow,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Reason = Code | Literal["unknown_kind", "superseded", "empty"]


@dataclass(frozen=True, slots=True)
class Skipped:
    """A key that was left out. `superseded`: another row is of the same person, or says otherwise; `empty`: it holds
    nothing; `unknown_kind`: its name says nothing."""

    key: str
    code: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Extra:
    """What whatsmeow has no place for, as JSON, for the way back: fields of the creds, and whole keys."""

    creds: Mapping[str, Any] = field(default_factory=dict, repr=False)
    keys: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Login:
    """All of one login."""

    rows: Rows
    extra: Extra
    skipped: tuple[Skipped, ...] = ()


def read_login(creds: str | bytes | None, keys: Mapping[str, str | bytes | None]) -> Login | None:
    """Convert; None when the login was never paired. `keys`: name -> JSON. Raises Damaged for creds of no use."""
    document = parse_json(creds)
    if not is_paired(document):
        return None
    extra = left_over(document.value)
    reading = _Reading(document, device_row(document))
    reading.read(keys)
    rows = reading.rows()
    return Login(rows, Extra(_writable(extra), reading.caches), tuple(reading.skipped))


def _writable(value: dict[str, Any]) -> dict[str, Any]:
    """JSON that can be read may still be nested too deeply to be written."""
    try:
        json.dumps(value)
    except RecursionError:
        raise Damaged("bad_json", "$", "is nested too deeply") from None
    return value


class _Reading:
    """One login under conversion."""

    def __init__(self, creds: Place, device: DeviceRow) -> None:
        self.device, self.creds = device, creds
        self.own = Own(public_of(device.identity_key), device.registration_id)
        self.people = People(own_number=device.number)
        self.skipped: list[Skipped] = []
        self.caches: dict[str, Any] = {}
        first = creds.get("firstUnuploadedPreKeyId")
        self.uploaded_before = first.value if first and type(first.value) is int else 0
        self.pre_keys: dict[int, PreKeyRow] = {}
        self.sessions: dict[SignalAddress, tuple[str, SessionRow, bytes]] = {}
        self.identities: dict[SignalAddress, tuple[str, bytes]] = {}
        self.sender_keys: dict[tuple[str, SignalAddress], tuple[str, SenderKeyRow]] = {}
        self.app_keys: dict[bytes, AppStateKeyRow] = {}
        self.versions: dict[str, tuple[AppStateVersionRow, list[AppStateMacRow]]] = {}
        self.tokens: dict[str, PrivacyTokenRow] = {}

    def read(self, keys: Mapping[str, str | bytes | None]) -> None:
        """Who is who first: it decides what the other names mean."""
        if self.device.lid:
            self.people.add(self.device.lid.partition(":")[0], self.device.number)
        readers: dict[str | None, Callable[[str, str, Place], None]] = {
            "pre-key": self.pre_key,
            "session": self.session,
            "identity-key": self.identity,
            "sender-key": self.sender_key,
            "app-state-sync-key": self.app_state_key,
            "app-state-sync-version": self.app_state_version,
            "tctoken": self.token,
            "sender-key-memory": self.cache,
            "device-list": self.cache,
        }
        ordered = sorted(keys, key=lambda name: (split(name)[0] != "lid-mapping", name.endswith("_reverse"), name))
        for key in ordered:
            kind, name = split(key)
            reader = self.lid if kind == "lid-mapping" else readers.get(kind)
            if reader is None:
                self.skip(key, "unknown_kind", "no key of Baileys is called so")
                continue
            try:
                if not is_storable(key):
                    raise Damaged("bad_json", "$", "has a name that cannot be stored")
                reader(key, name, parse_json(keys[key]))
            except Damaged as damage:
                self.skip(key, damage.code, str(damage))
        self.drop_numbers_of_hidden_users()

    def skip(self, key: str, code: Reason, detail: str) -> None:
        self.skipped.append(Skipped(key, code, detail))

    # One method for each kind of key: its whole name, what follows the kind, its value.

    def lid(self, key: str, name: str, place: Place) -> None:
        other, first = place.text(), name.removesuffix("_reverse")
        lid, number = (first, other) if name.endswith("_reverse") else (other, first)
        if not (_is_digits(lid) and _is_digits(number)):
            place.refuse("bad_json", "is not a pair of a number and a hidden id")
        if not self.people.add(lid, number):
            self.skip(key, "superseded", "another row says otherwise of this person")

    def pre_key(self, key: str, name: str, place: Place) -> None:
        if not _is_digits(name) or not 0 < int(name) <= LARGEST_KEY_ID:
            place.refuse("bad_json", "is not kept under the number of a pre-key")
        private = private_key(place["private"], place["public"])
        self.pre_keys[int(name)] = PreKeyRow(int(name), private, int(name) < self.uploaded_before)

    def session(self, key: str, name: str, place: Place) -> None:
        address = self.address(name, place)
        session = session_record(place, self.own)
        if session is None:
            self.skip(key, "empty", "it holds no session")
        elif address in self.sessions:
            self.skip(key, "superseded", "another row is of the same device")
        else:
            row = SessionRow(str(address), session.record)
            self.sessions[address] = (key, row, session.their_identity)

    def identity(self, key: str, name: str, place: Place) -> None:
        address = self.address(name, place)
        if address in self.identities:
            self.skip(key, "superseded", "another row is of the same device")
        else:
            self.identities[address] = (key, place.public_key())

    def sender_key(self, key: str, name: str, place: Place) -> None:
        chat, _, rest = name.partition("::")
        if not chat.endswith("@g.us"):
            place.refuse("bad_json", "is not kept under a group and a sender")
        address, record = self.address(rest.replace("::", "."), place), sender_key_record(place)
        if record is None:
            self.skip(key, "empty", "it holds no key")
        elif (chat, address) in self.sender_keys:
            self.skip(key, "superseded", "another row is of the same device")
        else:
            self.sender_keys[chat, address] = (key, SenderKeyRow(chat, str(address), record))

    def app_state_key(self, key: str, name: str, place: Place) -> None:
        row = app_state_key(name, place)
        self.app_keys[row.key_id] = row

    def app_state_version(self, key: str, name: str, place: Place) -> None:
        if (rows := app_state_version(name, place)) is not None:
            self.versions[name] = rows

    def token(self, key: str, name: str, place: Place) -> None:
        if name == "__index":
            return
        jid, stamp, sent = Jid.parse(name), place.get("timestamp"), place.get("senderTimestamp")
        if jid is None:
            place.refuse("bad_json", "is not kept under an address")
        token = place.get("token")
        if token is None or not token.data():
            self.skip(key, "empty", "it holds no token")
            return
        row = PrivacyTokenRow(jid.person, token.data(), stamp.long() if stamp else 0, sent.long() if sent else None)
        self.tokens[row.their_jid] = row

    def cache(self, key: str, name: str, place: Place) -> None:
        """whatsmeow keeps no such thing: it asks again."""
        self.caches[key] = _writable({key: place.value})[key]

    def address(self, name: str, place: Place) -> SignalAddress:
        found = SignalAddress.parse(name)
        if found is None:
            place.refuse("bad_json", "is not kept under the address of a device")
        return self.people.settled(found)

    def drop_numbers_of_hidden_users(self) -> None:
        """whatsmeow moves rows of a number to the hidden id, over what it finds there: what is under the hidden id is
        fresher."""
        for address in [one for one in self.sessions if self.people.hidden(one) in self.sessions]:
            self.supersede(self.sessions.pop(address)[0])
        for address in [one for one in self.identities if self.people.hidden(one) in self.identities]:
            self.supersede(self.identities.pop(address)[0])
        for chat, address in list(self.sender_keys):
            hidden = self.people.hidden(address)
            if hidden and (chat, hidden) in self.sender_keys:
                self.supersede(self.sender_keys.pop((chat, address))[0])

    def supersede(self, key: str) -> None:
        self.skip(key, "superseded", "the same device has a row under its hidden id")

    def rows(self) -> Rows:
        versions = [self.versions[name] for name in sorted(self.versions)]
        return Rows(
            device=self.device,
            pre_keys=tuple(self.pre_keys[number] for number in sorted(self.pre_keys)),
            sessions=tuple(sorted((row for _, row, _ in self.sessions.values()), key=lambda row: row.their_id)),
            identities=self.all_identities(),
            sender_keys=tuple(
                sorted((row for _, row in self.sender_keys.values()), key=lambda row: (row.chat_id, row.sender_id))
            ),
            app_state_keys=tuple(sorted(self.app_keys.values(), key=lambda row: row.key_id)),
            app_state_versions=tuple(row for row, _ in versions),
            app_state_macs=tuple(mac for _, macs in versions for mac in macs),
            privacy_tokens=tuple(self.tokens[jid] for jid in sorted(self.tokens)),
            lids=self.people.rows(),
        )

    def all_identities(self) -> tuple[IdentityRow, ...]:
        """Those that have a row, our own phone's, and for Baileys 6, which kept none, those of the sessions."""
        found = {str(address): identity for address, (_, identity) in self.identities.items()}
        for address, (_, _, identity) in self.sessions.items():
            hidden = self.people.hidden(address)
            if hidden is None or hidden not in self.identities:
                found.setdefault(str(address), identity)
        found |= self.own_identities()
        return tuple(IdentityRow(their_id, found[their_id]) for their_id in sorted(found))

    def own_identities(self) -> dict[str, bytes]:
        """`identifier.name` is the linked device, the key that of the phone."""
        found: dict[str, bytes] = {}
        places = self.creds.get("signalIdentities")
        for place in places.elements() if places and isinstance(places.value, list) else ():
            try:
                jid = Jid.parse(place["identifier"]["name"].text())
                if jid is None or (address := SignalAddress.parse(jid.person)) is None:
                    place.refuse("bad_json", "is not of a device")
                found[str(address)] = place["identifierKey"].public_key()
            except Damaged as damage:
                self.skip("creds", damage.code, str(damage))
        if self.device.lid:
            phone = SignalAddress(self.device.lid.partition(":")[0], LID, 0)
            found[str(phone)] = self.device.adv_account_sig_key
        return found


def _is_digits(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 20
