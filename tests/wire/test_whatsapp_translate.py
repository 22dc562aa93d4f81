"""The library's events as ours. They are built and translated in a child: this process never loads neonize."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = """
import dataclasses, json, sys
from datetime import UTC, datetime
from google.protobuf.json_format import ParseDict
from core.transport.whatsapp.process import load
load()
from core.transport.whatsapp.messages import own_address, text_message
from core.transport.whatsapp.translate import SUBSCRIBED, _EVENTS, translate
from core.transport.wire import Quote

def told(code, fields):
    raw = ParseDict(fields, _EVENTS[code][0]()).SerializeToString()
    event = translate(code, raw, datetime(2026, 1, 2, tzinfo=UTC))
    return event and {"event": type(event).__name__, **dataclasses.asdict(event)}

cases = json.load(sys.stdin)
extended = text_message("isi", Quote("ID", "100@lid", "asal"), ("62811", "7@lid"), b"s" * 32)
print(json.dumps({
    "events": {name: told(*case) for name, case in cases.items()},
    "subscribed": SUBSCRIBED,
    "own": [own_address("628:7@s.whatsapp.net").User, own_address("628:7@s.whatsapp.net").Device],
    "plain": str(text_message("isi", None, (), None)).split(),
    "extended": str(extended),
}, default=str))
"""


def jid(user: str, server: str = "s.whatsapp.net", device: int = 0) -> dict[str, Any]:
    return {"User": user, "Server": server, "Device": device, "RawAgent": 0, "Integrator": 0, "IsEmpty": not user}


NOBODY = jid("", "")
PN, LID, GROUP = jid("62877", device=3), jid("100", "lid", 3), jid("12036300", "g.us")


def source(chat: dict[str, Any] = LID, sender: dict[str, Any] = LID, alt: dict[str, Any] = PN, **more: Any) -> Any:
    return {
        "Chat": chat, "Sender": sender, "SenderAlt": alt, "RecipientAlt": NOBODY, "BroadcastListOwner": NOBODY,
        "IsFromMe": False, "IsGroup": False, **more,
    }  # fmt: skip


def message(content: dict[str, Any], category: str = "", edit: bool = False, **more: Any) -> Any:
    info = {
        "MessageSource": source(**more), "ID": "M1", "ServerID": 0, "Type": "text", "Pushname": "Carol",
        "Timestamp": 1767312000123, "Category": category, "Multicast": False, "MediaType": "", "Edit": "",
    }  # fmt: skip
    flags = ("IsEphemeral", "IsViewOnce", "IsViewOnceV2", "IsViewOnceV2Extension", "IsDocumentWithCaption")
    return 17, {
        "Info": info, "Message": content, "Raw": content, "IsEdit": edit, "UnavailableRequestID": "", "RetryCount": 0,
        **dict.fromkeys((*flags, "IsLottieSticker"), False),
    }  # fmt: skip


def receipt(kind: str, **more: Any) -> Any:
    return 18, {"MessageSource": source(**more), "MessageIDs": ["A", "B"], "Timestamp": 1767312000, "Type": kind}


HAI = {"conversation": "hai"}
CASES: dict[str, Any] = {
    "person": message(HAI),
    "person without a number": message(HAI, alt=NOBODY),
    "person by number": message(HAI, chat=PN, sender=PN, alt=LID),
    "group": message(HAI, chat=GROUP, IsGroup=True),
    "from me": message(HAI, chat=LID, sender=jid("1", "lid"), alt=NOBODY, IsFromMe=True, RecipientAlt=PN),
    "status": message(HAI, chat=jid("status", "broadcast")),
    "channel": message(HAI, chat=jid("1203", "newsletter"), sender=jid("1203", "newsletter"), alt=NOBODY),
    "reply": message({"extendedTextMessage": {"text": "ya", "contextInfo": {
        "stanzaID": "Q1", "mentionedJID": ["62811@s.whatsapp.net", "7@lid"]}}}),
    "link": message({"extendedTextMessage": {"text": "https://example.org"}}),
    "image": message({"imageMessage": {"caption": "lihat"}}),
    "key share": message({"protocolMessage": {"type": "APP_STATE_SYNC_KEY_SHARE"}}),
    "group keys only": message({"senderKeyDistributionMessage": {"groupID": "x"}}),
    "voice": message({"audioMessage": {"PTT": True, "contextInfo": {"stanzaID": "Q2"}}}),
    "file": message({"messageContextInfo": {"messageSecret": "c2VjcmV0"}, "documentMessage": {"caption": "nota"}}),
    "sticker": message({"stickerMessage": {}}),
    "contact": message({"contactMessage": {"displayName": "Budi"}}),
    "poll": message({"pollCreationMessageV3": {"name": "Kapan?"}}),
    "reaction": message({"reactionMessage": {"text": "👍", "key": {"ID": "R1"}}}),
    "something new": message({"eventMessage": {"name": "Pesta"}}),
    "peer": message(HAI, category="peer"),
    "edit": message(HAI, edit=True),
    "empty": message({}),
    **{kind: receipt(kind) for kind in (
        "DELIVERED", "INACTIVE", "READ", "PLAYED", "SENDER", "RETRY", "READ_SELF", "PLAYED_SELF", "SERVER_ERROR",
        "PEER_MSG", "HISTORY_SYNC")},
    "asked again": receipt("RETRY", sender=jid("100", "lid")),
    "asked again in a group": receipt("RETRY", sender=jid("100", "lid"), chat=GROUP, IsGroup=True),
    "own receipt": receipt("READ", IsFromMe=True),
    "own phone's receipt": receipt("SENDER", sender=jid("1", "lid"), IsFromMe=True),
    "group receipt": receipt("READ", chat=GROUP, IsGroup=True),
    "ban": (8, {"Code": "SENT_TOO_MANY_SAME_MESSAGE", "Expire": 60}),
    "ban without end": (8, {"Code": "BLOCKED_BY_USERS", "Expire": 0}),
    "pair error": (2, {"ID": PN, "BusinessName": "", "Platform": "", "Status": "ERROR", "Error": "bad hmac"}),
    "paired": (2, {"ID": PN, "BusinessName": "", "Platform": "", "Status": "SUCCESS"}),
    "logged out": (6, {"OnConnect": True, "Reason": "UNKNOWN_LOGOUT"}),
    "stream": (11, {"Code": "516", "Raw": {"Tag": "stream:error", "Nil": True}}),
    "replaced": (7, {}),
    "outdated": (10, {}),
    "disconnected": (12, {"status": True}),
}  # fmt: skip


@pytest.fixture(scope="module")
def told() -> Any:
    """What the child says of all cases."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], input=json.dumps(CASES), capture_output=True, text=True,
        check=False, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("person", {"chat": "62877", "sender": "62877", "phone": "62877", "lid": "100@lid", "content": "hai"}),
        ("person", {"id": "M1", "push_name": "Carol", "kind": "text", "from_me": False, "reply_to": None}),
        ("person", {"at": "2026-01-02 00:00:00.123000+00:00"}),
        ("person without a number", {"chat": "100@lid", "sender": "100@lid", "phone": None, "lid": "100@lid"}),
        ("person by number", {"chat": "62877", "sender": "62877", "phone": "62877", "lid": "100@lid"}),
        ("group", {"chat": "12036300@g.us", "sender": "62877", "is_group": True}),
        ("from me", {"chat": "62877", "sender": "1@lid", "from_me": True}),
        ("reply", {"content": "ya", "reply_to": "Q1", "mentions": ["62811", "7@lid"]}),
        ("link", {"content": "https://example.org", "reply_to": None, "mentions": []}),
        ("image", {"kind": "image", "content": "lihat"}),
        ("voice", {"kind": "audio", "content": "", "reply_to": "Q2"}),
        ("file", {"kind": "document", "content": "nota"}),
        ("sticker", {"kind": "sticker", "content": "", "reply_to": None, "mentions": []}),
        ("contact", {"kind": "contact", "content": "Budi"}),
        ("poll", {"kind": "poll", "content": "Kapan?"}),
        ("reaction", {"kind": "reaction", "content": "👍", "reply_to": "R1"}),
        ("something new", {"kind": "unsupported", "content": ""}),
        ("edit", {"event": "Signal", "id": "M1"}),
        ("key share", {"event": "Signal"}),
        ("group keys only", {"event": "Signal"}),
        ("empty", {"event": "Signal"}),
        ("ban", {"event": "TemporaryBan", "code": 104, "expires_at": "2026-01-02 00:01:00+00:00"}),
        ("ban without end", {"code": 102, "expires_at": None}),
        ("pair error", {"event": "PairingFailed", "reason": "refused", "detail": "bad hmac"}),
        ("paired", {"event": "Paired", "jid": "62877:3@s.whatsapp.net"}),
        ("logged out", {"event": "LoggedOut", "code": 406, "on_connect": True}),
        ("stream", {"event": "StreamFailed", "code": "516"}),
        ("replaced", {"event": "Replaced"}),
        ("outdated", {"event": "ClientOutdated"}),
        ("disconnected", {"event": "Disconnected"}),
        ("DELIVERED", {"status": "delivered", "ids": ["A", "B"], "at": "2026-01-02 00:00:00+00:00"}),
        ("INACTIVE", {"status": "delivered", "sender": "62877", "chat": "62877"}),
        ("READ", {"status": "read"}),
        ("PLAYED", {"status": "played"}),
        ("group receipt", {"chat": "12036300@g.us", "sender": "62877"}),
    ],
)
def test_an_event_is_told_in_our_words(told: Any, name: str, fields: dict[str, Any]) -> None:
    """Addresses are recipient keys, times are UTC, codes are WhatsApp's."""
    assert told["events"][name].items() >= fields.items()


@pytest.mark.parametrize(
    "name",
    ["status", "channel", "peer", "SENDER", "RETRY", "READ_SELF", "PLAYED_SELF", "SERVER_ERROR", "PEER_MSG",
     "HISTORY_SYNC", "own receipt", "asked again in a group"],
)  # fmt: skip
def test_what_is_no_message_and_no_news_of_ours_is_left_out(told: Any, name: str) -> None:
    """Status and channels, receipts of our own devices, and what linked devices or members of a group cannot read,
    reach nobody."""
    assert told["events"][name] is None


def test_what_somebody_s_own_phone_cannot_read_is_told(told: Any) -> None:
    """With the ids that it asks for once more."""
    assert told["events"]["asked again"] == {"event": "AskedAgain", "ids": ["A", "B"]}


def test_our_own_phone_s_receipts_are_a_sign_of_it(told: Any) -> None:
    """Whatever it confirms; another linked device of ours is no phone."""
    assert told["events"]["own phone's receipt"] == {"event": "PhoneSeen"}


def test_history_is_not_subscribed_to_and_refusals_are(told: Any) -> None:
    """13 is history; 6 to 12 are the ends of a session, 402 and 405 among them."""
    assert set(told["subscribed"]) == {2, 3, 6, 7, 8, 9, 10, 11, 12, 17, 18}


def test_a_stored_device_is_opened_under_a_key_of_its_own(told: Any) -> None:
    """Go keys its state by JID.User: the device's number stands in there."""
    assert told["own"] == ["628:7", 0]


def test_a_plain_text_is_a_conversation_and_a_reply_an_extended_text(told: Any) -> None:
    """As phones send them; the secret stands where whatsmeow keeps it."""
    assert told["plain"] == ["conversation:", '"isi"']
    for part in ('stanzaID: "ID"', 'participant: "100@lid"', 'conversation: "asal"', "62811@s.whatsapp.net", "7@lid"):
        assert part in told["extended"]
    assert "messageSecret" in told["extended"]
