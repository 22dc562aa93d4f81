"""The library's error texts: cause, whether the message left, whether to try again."""

import pytest

from core.transport.whatsapp.errors import explain_open, explain_request, explain_send

# Texts of goneonize and whatsmeow, as they were seen on the wire or stand in the sources.
SENDS = [
    ("server returned error 463", "reach_out_timelock", False, False),
    ("server returned error 479", "refused_by_whatsapp", False, False),
    ("server returned error 429", "rate_limited", False, True),
    ("timed out waiting for message send response", "no_answer", True, False),
    ("websocket disconnected before message send returned response", "disconnected", True, False),
    ("websocket disconnected before message send (retry) returned response", "disconnected", True, False),
    ("websocket not connected", "disconnected", True, False),
    ("frame socket is closed", "disconnected", True, False),
    ("failed to send message node: websocket not connected", "disconnected", False, True),
    ("failed to send message node: frame socket is closed", "disconnected", False, True),
    ("failed to send message node: write tcp: broken pipe", "disconnected", True, False),
    ("no LID found for 628999999999@s.whatsapp.net from server", "not_on_whatsapp", False, False),
    ("the store doesn't contain a device JID", "not_logged_in", False, True),
    ("failed to get LID for PN 62@s.whatsapp.net: invalid use of deleted device", "not_logged_in", False, True),
    (
        "failed to get user info for 62@s.whatsapp.net to fill LID cache: failed to send usync query: "
        "websocket not connected",
        "disconnected",
        False,
        True,
    ),
    ("failed to get device list: info query timed out", "no_answer", False, True),
    ("failed to get device list: info query returned status 429: rate-overlimit", "rate_limited", False, True),
    ("failed to get group members: info query returned status 501: feature", "refused_by_whatsapp", False, False),
    ("failed to get group members: you're not participating in that group", "not_in_group", False, False),
    ("failed to get group members: that group does not exist", "no_such_group", False, False),
    ("failed to get LID for PN 62@s.whatsapp.net: pq: out of memory", "database", False, True),
    ("failed to prefetch sessions: pq: deadlock detected", "database", False, True),
    ("can't send message to unknown server example", "bad_address", False, False),
    ("can't encrypt message for device: no signal session established with 62:1", "not_encrypted", False, False),
    ("something quite new", "unknown_error", True, False),
]

OPENINGS = [
    ("failed to dial whatsapp web websocket: failed to WebSocket dial: connection refused", "unreachable"),
    ("failed to dial whatsapp web websocket: x509: certificate signed by unknown authority", "untrusted_certificate"),
    ("noise handshake failed: timed out waiting for handshake response", "handshake_failed"),
    ("noise handshake failed: failed to verify server cert: expired", "untrusted_certificate"),
    ("failed to upgrade database: failed to check if version table is up to date: dial tcp: refused", "database"),
    ("pq: password authentication failed", "database"),
    ("something quite new", "unknown_error"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "cause", "left", "retry"), SENDS)
def test_a_send_error_has_a_cause(text: str, cause: str, left: bool, retry: bool) -> None:
    """Each text is one cause; `left` whenever the message may have left, `retry` only when it certainly did not."""
    error = explain_send(text)
    assert (error.cause, error.left, error.retry, error.detail) == (cause, left, retry, text)
    assert not (error.left and error.retry)


@pytest.mark.parametrize(("text", "cause"), OPENINGS)
def test_an_open_error_has_a_cause(text: str, cause: str) -> None:
    """Each text is one cause; what is unknown says so and keeps the text."""
    error = explain_open(text)
    assert (error.cause, error.detail) == (cause, text)


def test_a_request_other_than_a_send_never_lets_a_message_leave() -> None:
    """Typing or a question may be repeated whatever happened to it; 463 and its like may not."""
    assert (explain_request("websocket not connected").left, explain_request("websocket not connected").retry) == (
        False,
        True,
    )
    assert explain_request("server returned error 463").retry is False


def test_a_long_text_is_cut() -> None:
    """The library's texts may carry whole stanzas."""
    assert len(explain_send("x" * 5000).detail) == 300
