"""The examples of docs/api.md have the members that the gateway answers with, and its table names every code."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.plugin_kit import incoming
from tests.service.conftest import ALPHA, BETA, NUMBER, SLOW
from tests.service.fake_sessions import fake_sessions
from tests.service.receiver import always

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.service.conftest import House
    from tests.service.receiver import Receiver

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs" / "api.md").read_text("utf-8")
EXAMPLES = {name: json.loads(text) for name, text in re.findall(r"^```json (\S+)\n(.*?)^```$", DOCS, re.M | re.S)}

REFUSALS = (
    r"(?:Refused|BadRequest|Unauthorized|Forbidden|NotFound|Conflict|Gone|TooLarge|WrongContentType|Unprocessable|OverLimit)"
    r'\(\s*"(\w+)"',
    r'_refuse\(\s*"(\w+)"',
    r'(?:_answer|Answered)\([\w.]+,\s*"(\w+)"',
    r'Problem\(\s*(?:\d+|status), "(\w+)"',
    r'\d+: \("(\w+)", "',
    r'(?:code = |else )"(field_\w+)"',
)
"""How the sources write a code."""


async def pairing_answers(house: House) -> dict[str, Any]:
    """The answers about linking a phone, which only a tenant of WhatsApp gets."""
    async with fake_sessions(house.database_url):
        return {
            "qr": (await house.call("GET", "/api/qr", key=BETA)).body,
            "pair-link": (await house.call("POST", "/api/pair-link", key=BETA)).body,
            "pair-code": (await house.call("POST", "/api/pair-code", key=BETA, json={"number": NUMBER})).body,
        }


async def failed_callback(house: House) -> dict[str, Any]:
    """The answer about an event that could not be delivered at once."""
    async with asyncio.timeout(60):
        while True:
            told: dict[str, Any] = (await house.call("GET", "/api/callbacks?status=pending&limit=1")).body
            if told["deliveries"] and told["deliveries"][0]["last_status"]:
                return told
            await asyncio.sleep(0.01)


async def answers(house: House) -> dict[str, Any]:
    """What the gateway really says, by the names of the examples."""
    sent = await house.send("0812-3456-789", client_ref="order-7-paid")
    story = await house.until(sent, "sent")
    callbacks = await failed_callback(house)
    quota = await house.call("GET", f"/api/quota/{NUMBER}")
    for _ in range(2):
        await house.send()
    await house.gateway.opt_outs.add(ALPHA, incoming(tenant=ALPHA, sender=NUMBER, chat=NUMBER, content="STOP"))
    listed = await house.call("POST", "/api/whitelist", json={"number": "62811111111"})
    return {
        **await pairing_answers(house),
        "send-message": sent.body,
        "dry-run": (await house.send(params={"dry_run": "1"})).body,
        "message": story.body,
        "events": (await house.call("GET", "/api/events", params={"after": 1, "limit": 1})).body,
        "callbacks": callbacks,
        "status": (await house.call("GET", "/api/status")).body,
        "whitelist": (await house.call("GET", "/api/whitelist")).body,
        "listed": listed.body,
        "unlisted": (await house.call("DELETE", "/api/whitelist", json={"number": "62811111111"})).body,
        "opt-outs": (await house.call("GET", "/api/opt-outs")).body,
        "quota": quota.body,
        "problem": (await house.call("POST", "/api/send-message", json={"number": NUMBER})).body,
    }


def shape(value: Any) -> Any:
    """Which members there are, in which order, down to the values, of which only what a reader relies on is kept."""
    if isinstance(value, dict):
        return [(name, shape(item)) for name, item in value.items() if name not in ("explanation", "gaps")]
    if isinstance(value, list):
        return [shape(item) for item in value]
    return type(value).__name__


@pytest.fixture
async def told(open_house: Callable[..., Awaitable[House]], receiver: Receiver) -> dict[str, Any]:
    """The answers of a gateway with the four built-in plugins, to whose callbacks somebody answers 500."""
    receiver.answer = always(500, text="out of order")
    callbacks = [receiver.endpoint(events=("message.sent",))]
    return await answers(
        await open_house(alpha={"plugins": SLOW, "callbacks": callbacks}, beta={"transport": "whatsapp"})
    )


async def test_examples(told: dict[str, Any]) -> None:
    """Every example has the members, their order and their types of a real answer; the order of a plugin's say is
    free."""
    assert {name: shape(body) for name, body in EXAMPLES.items()} == {name: shape(body) for name, body in told.items()}
    for name in ("dry-run", "message"):
        pairs = zip(EXAMPLES[name]["explanation"], told[name]["explanation"], strict=True)
        assert all(example == said for example, said in pairs)
    assert EXAMPLES["problem"] == told["problem"]


def test_codes() -> None:
    """Every code that the program answers with stands in the table, and the table names no other."""
    folders = [ROOT / "core" / "web", ROOT / "core" / "paths", ROOT / "core" / "sessions"]
    files = [*(file for folder in folders for file in folder.glob("*.py")), ROOT / "core" / "jid.py"]
    text = "".join(file.read_text("utf-8") for file in [*files, ROOT / "plugins" / "api_key.py"])
    used = {code for pattern in REFUSALS for code in re.findall(pattern, text)}
    table = DOCS[DOCS.index("| status | code |") : DOCS.index("## Coming from")]
    named = {code for row in table.splitlines()[2:] if row for code in re.findall(r"`(\w+)`", row.split("|")[2])}
    assert named - used == {"number_too_short", "number_too_long"} - used
    assert used - named == set()
