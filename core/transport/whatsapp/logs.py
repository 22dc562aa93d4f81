"""What of the library's own log lines is kept, and how: warnings and errors, without anything secret or private."""

from __future__ import annotations

import logging
import re

from core.transport.wire import Unreadable

log = logging.getLogger("core.transport.whatsapp.library")

LONGEST = 300

_LEVELS = {"WARN": logging.WARNING, "WARNING": logging.WARNING, "ERROR": logging.ERROR, "CRITICAL": logging.ERROR}
# Stanzas carry ciphertext, QR references and keys; a quoted Go text may be what somebody wrote.
_STANZA = re.compile(r"<.*>", re.DOTALL)
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"|`[^`]*`', re.DOTALL)
_LONG = re.compile(r"[A-Za-z0-9+/=_,@-]{33,}")
# whatsmeow's decryptMessages, when the message's own key was used up: the one thing of which no event tells.
_UNREADABLE = re.compile(r"Ignoring message (?P<id>\S+) from (?P<sender>\S+?)(?: in (?P<chat>\S+))?: .*\bold counter\b")
_PAIRING = re.compile(r"\b(?:QR|pair(?:ing)?[ -]code)\b", re.IGNORECASE)


def keep(name: str, level: str, message: str, *, tenant: str) -> None:
    """Log one line of the library's, if it is one that we keep."""
    ours = _LEVELS.get(level.upper())
    if ours is not None:
        log.log(
            ours,
            "%s: %s: %s",
            tenant,
            name,
            redact(message),
            extra={"action": "whatsapp_library", "tenant": tenant},
        )


def unreadable(message: str) -> Unreadable | None:
    """What such a line says of a message that came once more after it had been opened."""
    told = _UNREADABLE.match(message)
    return Unreadable(told["id"], told["sender"], told["chat"] or told["sender"]) if told else None


def redact(message: str) -> str:
    """`message` without stanzas, quoted texts, anything that looks like a key, and whatever speaks of pairing."""
    if _PAIRING.search(message):
        return "[about pairing]"
    for pattern, instead in ((_STANZA, "<…>"), (_QUOTED, '"…"'), (_LONG, "[…]")):
        message = pattern.sub(instead, message)
    return " ".join(message[:LONGEST].split())
