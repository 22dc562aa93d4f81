"""What the library's error texts mean: their cause, whether the message may have left, whether to try again.

Go hands its errors over as texts, so this table is the only place that reads them. Texts of whatsmeow are those of
commit e277b766ab33 (the one that neonize 0.5.2 is built on); the file they stand in is named beside them. The first
pattern that is found decides. A text that nobody here knows counts as "may have left": a message is rather held as
unknown than sent twice.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from core.errors import OpenFailed, SendFailed

LONGEST_DETAIL = 300


@dataclass(frozen=True, slots=True)
class Meaning:
    """One kind of error text. `left`: the message may have left; `retry`: it did not, try again when connected."""

    pattern: re.Pattern[str]
    cause: str
    left: bool = False
    retry: bool = False


def _means(pattern: str, cause: str, *, left: bool = False, retry: bool = False) -> Meaning:
    return Meaning(re.compile(pattern), cause, left=left, retry=retry)


SENDING: tuple[Meaning, ...] = (
    # db/migrations/0012_workers.sql, before anything leaves: the session has another holder by now
    _means(r"gapura fence:", "lease_lost", retry=True),
    # lib/pq, wherever whatsmeow asked: PostgreSQL has no connection left. What can fail a send is asked before its
    # frame is made
    _means(r"\(53300\)", "database", retry=True),
    # store/store.go ErrDeviceDeleted: what every table says after a logout
    _means(r"invalid use of deleted device", "not_logged_in", retry=True),
    # send.go, SendMessage: ErrServerReturnedError with the ack's error code
    _means(r"^server returned error 463\b", "reach_out_timelock"),
    _means(r"^server returned error 429\b", "rate_limited", retry=True),
    _means(r"^server returned error \d+", "refused_by_whatsapp"),
    # send.go, SendMessage: the frame is out, the answer did not come
    _means(r"^timed out waiting for message send response", "no_answer", left=True),
    # errors.go DisconnectedError, through request.go retryFrame: the frame went out once or twice on a lost socket
    _means(r"^websocket disconnected before message send", "disconnected", left=True),
    # request.go retryFrame hands these over without a prefix, and only after the frame went out once
    _means(r"^(?:websocket not connected|frame socket is closed)", "disconnected", left=True),
    # send.go, SendMessage: before anything is encrypted
    _means(r"^no LID found for .* from server", "not_on_whatsapp"),
    _means(r"^the store doesn't contain a device JID", "not_logged_in", retry=True),
    _means(r"^client is nil", "not_open", retry=True),
    _means(r"^can't send message to unknown server", "bad_address"),
    _means(r"^message recipient must be a user JID", "bad_address"),
    _means(r"^sending to non-status broadcast lists", "bad_address"),
    # errors.go, wrapped by "failed to get group members" in send.go
    _means(r"you're not participating in that group", "not_in_group"),
    _means(r"that group does not exist", "no_such_group"),
    # socket/framesocket.go and client.go sendNodeAndGetData: no socket, so nothing was written
    _means(
        r"^failed to send message node: (?:websocket not connected|frame socket is closed)", "disconnected", retry=True
    ),
    _means(r"^failed to send message node", "disconnected", left=True),
    # Questions to WhatsApp before the message is encrypted: user info, devices, keys, group members
    _means(r"info query returned status 429", "rate_limited", retry=True),
    _means(r"info query timed out", "no_answer", retry=True),
    _means(r"websocket (?:not connected|disconnected before)|frame socket is closed", "disconnected", retry=True),
    _means(r"info query returned", "refused_by_whatsapp"),
    # send.go, encryptMessageForDevices
    _means(r"no signal session established|cipher encryption failed|failed to process prekey bundle", "not_encrypted"),
    # store/sqlstore: before the frame is made
    _means(
        r"failed to (?:get LID for PN|fetch LID mappings|prefetch sessions|save cached sessions)",
        "database",
        retry=True,
    ),
)

OPENING: tuple[Meaning, ...] = (
    # socket/framesocket.go ErrDialFailed: proxy, name, TLS or HTTP
    _means(r"certificate signed by unknown authority|x509:", "untrusted_certificate"),
    _means(r"failed to dial whatsapp web websocket", "unreachable"),
    # client.go unlockedConnect around handshake.go
    _means(r"noise handshake failed: .*(?:cert|signature)", "untrusted_certificate"),
    _means(r"noise handshake failed", "handshake_failed"),
    _means(r"websocket is already connected", "already_open"),
    # goneonize getDB around store/sqlstore and lib/pq
    _means(r"failed to (?:open|upgrade) database|^pq: |dial tcp|connection refused|database", "database"),
)


def explain_send(text: str) -> SendFailed:
    """The error that a send ended with."""
    for meaning in SENDING:
        if meaning.pattern.search(text):
            return SendFailed(meaning.cause, left=meaning.left, retry=meaning.retry, detail=text[:LONGEST_DETAIL])
    return SendFailed("unknown_error", left=True, detail=text[:LONGEST_DETAIL])


def explain_request(text: str) -> SendFailed:
    """The error that a call other than a send ended with: no message left, so that it may be repeated."""
    meant = explain_send(text)
    return SendFailed(meant.cause, retry=meant.left or meant.retry, detail=meant.detail)


def explain_open(text: str) -> OpenFailed:
    """The error that a connect ended with."""
    for meaning in OPENING:
        if meaning.pattern.search(text):
            return OpenFailed(meaning.cause, text[:LONGEST_DETAIL])
    return OpenFailed("unknown_error", text[:LONGEST_DETAIL])
