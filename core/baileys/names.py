"""What Baileys calls its keys: the names of rows, of files, and of devices inside them."""

from __future__ import annotations

import re
from dataclasses import dataclass

KINDS = (
    "app-state-sync-version",
    "app-state-sync-key",
    "sender-key-memory",
    "identity-key",
    "lid-mapping",
    "device-list",
    "sender-key",
    "pre-key",
    "session",
    "tctoken",
)
"""Every kind of key; one that begins with another stands before it."""

CREDS_FILE = "creds.json"
HOSTED, LID, HOSTED_LID = "128", "1", "129"
"""What Signal addresses carry after the user's digits: `123_1:7` is a device of a hidden user."""

_AGENTS = {"s.whatsapp.net": None, "c.us": None, "lid": LID, "hosted": HOSTED, "hosted.lid": HOSTED_LID}
_SIGNAL = re.compile(r"([0-9]{1,20})(?:_([0-9]{1,3}))?\.([0-9]{1,5})", re.ASCII)
_JID = re.compile(r"([0-9]{1,20})(?:[._][0-9]{1,3})?(?::([0-9]{1,5}))?@([a-z.]+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class SignalAddress:
    """A device as Signal's tables name it. `agent`: None for a phone number."""

    user: str
    agent: str | None
    device: int

    def __str__(self) -> str:
        """As whatsmeow writes it: `628…:5`, `123_1:7`."""
        return f"{self.user}{'_' + self.agent if self.agent else ''}:{self.device}"

    @classmethod
    def parse(cls, text: str) -> SignalAddress | None:
        """Of `628….5`, `123_1.7`, or a JID; None for anything else."""
        if match := _SIGNAL.fullmatch(text):
            return cls(match[1], match[2], int(match[3]))
        match = _JID.fullmatch(text)
        if match and match[3] in _AGENTS:
            return cls(match[1], _AGENTS[match[3]], int(match[2] or 0))
        return None


@dataclass(frozen=True, slots=True)
class Jid:
    """A JID in its parts; what `.0` or `_1` stood after the user is gone, and c.us is s.whatsapp.net."""

    user: str
    device: int | None
    server: str

    @classmethod
    def parse(cls, text: str) -> Jid | None:
        match = _JID.fullmatch(text)
        if match is None:
            return None
        server = "s.whatsapp.net" if match[3] == "c.us" else match[3]
        return cls(match[1], int(match[2]) if match[2] else None, server)

    @property
    def person(self) -> str:
        """Without the device."""
        return f"{self.user}@{self.server}"


def split(key: str) -> tuple[str | None, str]:
    """(kind, what follows it) of a key's name; the kind is None when nobody knows it."""
    for kind in KINDS:
        if key.startswith(f"{kind}-"):
            return kind, key[len(kind) + 1 :]
    return None, key


def key_of_file(name: str) -> str | None:
    """The key that a file holds; None for the creds, and for what is no such file. The old gateway wrote / as __ and :
    as -, which cannot be undone without knowing the kind."""
    if name == CREDS_FILE or not name.endswith(".json"):
        return None
    key = name.removesuffix(".json")
    kind, rest = split(key)
    if kind == "app-state-sync-key":
        rest = rest.replace("__", "/")
    elif kind == "sender-key":
        rest = rest.replace("--", "::")  # a single dash belongs to a group's own id
    elif kind in ("session", "identity-key"):
        rest = re.sub(r"-([0-9]+)@", r":\1@", rest)
    return f"{kind}-{rest}" if kind else key


def file_of_key(key: str) -> str:
    """The file that holds a key."""
    return f"{key.replace('/', '__').replace(':', '-')}.json"
