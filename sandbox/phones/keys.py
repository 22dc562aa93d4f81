"""A phone's Signal keys, and its sessions with other devices."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sandbox.server.accounts import PreKey
from sandbox.wire.keys import KeyPair
from sandbox.wire.ratchet import KEY_TYPE, Bundle, FirstMessage, Session, Undecryptable

if TYPE_CHECKING:
    from sandbox.server.accounts import Endpoint

Who = tuple[str, int]
"""A device: the LID of its account, its number."""

SESSIONS_KEPT = 4
"""Older sessions with a device are kept, as both sides may begin one at the same time."""
_SIGNED_ID = 1


@dataclass(slots=True)
class PhoneKeys:
    """Plain data, so that it can be kept over a restart. `identity` is the account's key pair."""

    identity: KeyPair
    registration: bytes = field(default_factory=lambda: secrets.token_bytes(4))
    signed: KeyPair = field(default_factory=KeyPair.new)
    one_time: dict[int, KeyPair] = field(default_factory=dict)
    last_id: int = _SIGNED_ID
    sessions: dict[str, list[Session]] = field(default_factory=dict)  # by "LID:device", the newest first

    def signed_key(self) -> PreKey:
        signature = self.identity.sign(KEY_TYPE + self.signed.public)
        return PreKey(_SIGNED_ID.to_bytes(3, "big"), self.signed.public, signature)

    def new_one_time_key(self) -> PreKey:
        self.last_id += 1
        pair = self.one_time[self.last_id] = KeyPair.new()
        return PreKey(self.last_id.to_bytes(3, "big"), pair.public)

    def encrypt(self, target: Endpoint, body: bytes, anew: bool = False) -> tuple[str, bytes]:
        """(type of enc, bytes) for one device; `anew` begins a new session, as the old one was of no use."""
        sessions = self.sessions.setdefault(f"{target.account.lid}:{target.id}", [])
        if anew or not sessions:
            once = target.take_one_time_key()
            bundle = Bundle(
                target.identity,
                target.signed.number,
                target.signed.public,
                once.number if once else None,
                once.public if once else None,
            )
            self._prepend(sessions, Session.start(self.identity, int.from_bytes(self.registration, "big"), bundle))
        return sessions[0].encrypt(body)

    def decrypt(self, sender: Who, kind: str, data: bytes) -> bytes:
        """Raises Undecryptable, Malformed, or ValueError for what is no message."""
        sessions = self.sessions.setdefault(f"{sender[0]}:{sender[1]}", [])
        if kind == "pkmsg":
            return self._decrypt_first(sessions, FirstMessage.read(data))
        for session in list(sessions):
            try:
                plain = session.decrypt(data)
            except Undecryptable:
                continue
            self._prepend(sessions, session)
            return plain
        raise Undecryptable("no session with this device reads the message")

    def _decrypt_first(self, sessions: list[Session], first: FirstMessage) -> bytes:
        """A message that says how its session begins; it may have begun already."""
        session = next((known for known in sessions if known.base == first.base), None)
        if session is None:
            once = None if first.once_id is None else self.one_time.get(first.once_id)
            if first.signed_id != _SIGNED_ID or (first.once_id is not None and once is None):
                raise Undecryptable("the session was begun with keys that this phone does not have")
            session = Session.accept(self.identity, self.signed, once, first)
        plain = session.decrypt(first.inner)
        if first.once_id is not None:
            self.one_time.pop(first.once_id, None)
        self._prepend(sessions, session)
        return plain

    @staticmethod
    def _prepend(sessions: list[Session], session: Session) -> None:
        sessions[:] = [session, *(other for other in sessions if other is not session)][:SESSIONS_KEPT]
