"""A session process is killed at each step of a message's way: it arrives once, and what is told of it is true."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tests.wire.failpoints import arm
from tests.wire.processes import is_running
from tests.wire.town import until

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from tests.wire.town import Town

SHOP, BUDI, SITI = "628111111111", "628222222222", "628333333333"


async def opened(town: Town, points: Path) -> None:
    """A linked tenant whose processes strike where a file in `points` says so."""
    await town.add("shop")
    town.installation = replace(town.installation, environment={"GAPURA_FAILPOINT": f"armed:{points}"})
    await town.serve()
    await town.pair("shop", SHOP)


async def killed_at(point: str, points: Path, town: Town, to: str) -> dict[str, Any]:
    """A message whose process was killed there; as it was accepted. The phone is off until nothing is left of the
    process: a receipt that the library confirms in the moment before the kill is never seen by anybody."""
    phone = town.sandbox.phone(to)
    phone.online = False
    arm(points, point, "kill")
    message = await town.send("shop", to, point)
    [struck] = await until(lambda: list(points.glob(f"{point}.*")), bool)
    await until(lambda: is_running(int(struck.suffix[1:])), lambda running: not running)
    phone.online = True
    return message


def story(told: dict[str, Any]) -> list[tuple[str, str | None]]:
    return [(event["status"], event["cause"]) for event in told["history"]]


async def test_killed_at_each_step_it_arrives_once(town: Town, tmp_path: Path) -> None:
    """Before the library has it: it goes again, and its history says why. After it: its receipt tells that it arrived,
    and it is not sent again. What was queued behind it follows in order."""
    points = tmp_path / "points"
    points.mkdir()
    await opened(town, points)
    budi = town.sandbox.phone(BUDI, "Budi")
    again = [("queued", None), ("sending", None), ("queued", "gateway_died"), ("sending", None), ("sent", None)]
    steps = {"claimed": again, "handing_over": again, "answered": [], "recorded": []}
    for number, (point, begins) in enumerate(steps.items()):
        message = await killed_at(point, points, town, BUDI)
        behind = await town.send("shop", BUDI, f"behind {point}")
        told = await town.until_status("shop", message["id"], "delivered")
        await town.until_status("shop", behind["id"], "delivered")
        expected = begins or [("queued", None), ("sending", None), ("sent", None)]
        assert story(told) == [*expected, ("delivered", None)], point
        assert [got.text for got in budi.received][2 * number :] == [point, f"behind {point}"]


async def test_without_an_answer_and_a_receipt_it_waits_and_keeps_only_its_recipient_waiting(town: Town) -> None:
    """Killed while WhatsApp has it and has not answered, and the phone is off: nothing else goes to that number before
    its receipt; another number's goes at once. The receipt comes when the phone is on again, and the rest follows."""
    await town.add("shop")
    await town.serve()
    await town.pair("shop", SHOP)
    budi, siti = town.sandbox.phone(BUDI, "Budi"), town.sandbox.phone(SITI, "Siti")
    budi.online = False
    town.sandbox.hold_acks(SHOP, True)
    message = await town.send("shop", BUDI, "one")
    await until(lambda: town.sandbox.waiting(BUDI, 0), bool)
    await town.kill_sessions()
    town.sandbox.hold_acks(SHOP, False)
    behind = await town.send("shop", BUDI, "two")
    other = await town.send("shop", SITI, "three")
    await town.until_status("shop", other["id"], "sent", "delivered")
    assert (await town.status_of("shop", message["id"]))["status"] == "sending"
    assert (await town.status_of("shop", behind["id"]))["status"] == "queued"
    budi.online = True
    for each in (message, behind):
        await town.until_status("shop", each["id"], "delivered")
    assert [got.text for got in budi.received] == ["one", "two"]
    await until(lambda: [got.text for got in siti.received], lambda texts: texts == ["three"])
