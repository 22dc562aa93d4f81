"""What of the library's log lines is kept."""

import logging

import pytest

from core.transport.whatsapp import logs
from core.transport.wire import Unreadable

KEY = "dGhpcyBpcyBhIGtleSBvZiAzMiBieXRlcyBsb25nISE="


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        ("Failed to send receipt: websocket not connected", "Failed to send receipt: websocket not connected"),
        ('Unknown stream error: <stream:error code="516"><ref>2@abc</ref></stream:error>', "Unknown stream error: <…>"),
        (f"bad key {KEY}!", "bad key […]!"),
        ('can\'t parse "rahasia \\" sekali" here', 'can\'t parse "…" here'),
        ("Emitting QR code 2@abc,def", "[about pairing]"),
        ("Failed to handle pair code notification: 1234-ABCD", "[about pairing]"),
        ("two\nlines", "two lines"),
    ],
)
def test_nothing_secret_is_left_in_a_line(message: str, kept: str) -> None:
    """Stanzas, quoted texts, long runs that may be keys, and all about pairing are taken out."""
    assert logs.redact(message) == kept


def test_only_warnings_and_errors_are_kept_with_their_tenant(caplog: pytest.LogCaptureFixture) -> None:
    """DEBUG and INFO show stanzas and codes: they are not kept at any level of ours."""
    caplog.set_level(logging.DEBUG)
    for level in ("DEBUG", "INFO", "WARN", "ERROR", "", "TRACE"):
        logs.keep("Client", level, f"at {level}", tenant="shop")
    assert [(r.levelname, r.getMessage()) for r in caplog.records] == [
        ("WARNING", "shop: Client: at WARN"),
        ("ERROR", "shop: Client: at ERROR"),
    ]
    assert {(r.action, r.tenant) for r in caplog.records} == {("whatsapp_library", "shop")}  # type: ignore[attr-defined]


def test_a_line_has_an_end() -> None:
    """A stack or a list may be long."""
    assert len(logs.redact("ab " * 5000)) <= logs.LONGEST


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (
            "Ignoring message 3A2A from 100@lid: failed to decrypt: received message with old counter (1)",
            Unreadable("3A2A", "100@lid", "100@lid"),
        ),
        (
            "Ignoring message 3A2A from 100:3@lid in 1203@g.us: received message with old counter (index: 4, count: 1)",
            Unreadable("3A2A", "100:3@lid", "1203@g.us"),
        ),
        ("Ignoring message 3A2A from 100@lid: event was already processed", None),
        ("Error decrypting message 3A2A from 100@lid: received message with old counter", None),
    ],
)
def test_a_message_that_was_opened_before_is_recognised(message: str, told: Unreadable | None) -> None:
    """The library tells of it in its log alone. Where there is another way, a retry, nothing is lost yet."""
    assert logs.unreadable(message) == told
