"""One run: everything is set up, struck, brought to rest, and judged."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import Counter as Tally
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import aiohttp
import msgspec
import psycopg2

from tests.chaos.books import facts, unsettled
from tests.chaos.judge import Finding, doubled, judged, knowable, placeholders, there
from tests.chaos.stage import staged, until_connected
from tests.chaos.strikes import Striker
from tests.chaos.takeover import absences, figures, takeovers
from tests.chaos.traffic import Callers, People

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.chaos.facts import Facts, Row
    from tests.chaos.plan import Plan, Strike
    from tests.chaos.stage import Stage

REST_WITHIN = 240.0
"""Seconds after the last strike in which everything has to come to rest."""

MOST_WAITING = 150
"""So many messages may wait for their answer or their turn before the next strike brings more."""

ROOM_WITHIN = 12.0
IN_PEACE = 12
"""Of so many kills of session processes one is made in peace: its take-over is measured undisturbed."""

NOTICED_WITHIN, PEACE_WITHIN = 3.0, 25.0
_LOOK = 0.25
_OPERATOR = 3.0
# Those behind a message whose receipt is awaited, for up to ten minutes, do not count: the others go on.
_WAITING = """
  SELECT count(*) FROM messages m
   WHERE m.status IN ('queued', 'sending')
     AND NOT EXISTS (SELECT FROM messages s WHERE s.tenant_id = m.tenant_id AND s.recipient = m.recipient
                                              AND s.status = 'sending' AND s.process IS NULL)
"""
_GIVEN_UP = """
  SELECT tenant_id FROM sessions
   WHERE process IS NULL AND state <> 'connected' AND now() - since > interval '20 seconds'
"""


class Progress(Protocol):
    """What is told while a run goes on."""

    def say(self, text: str) -> None:
        """What is being done."""

    def struck(self, strike: Strike, hit: bool) -> None:
        """A strike was made, or missed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """`findings` are broken promises; `reconnected`: tenants that an operator had to reconnect by hand; `seconds`: from
    the first strike to rest."""

    plan: Plan
    facts: Facts
    findings: list[Finding]
    hits: list[Strike]
    missed: list[Strike]
    reconnected: list[str]
    deaths: int
    seconds: float

    def summary(self) -> dict[str, Any]:
        """The run in figures."""
        rows = self.facts.rows
        return {
            "seed": self.plan.seed,
            "seconds": round(self.seconds),
            "strikes": dict(sorted(Tally(strike.name for strike in self.hits).items())),
            "kills": sum(strike.kills for strike in self.hits),
            "missed": dict(sorted(Tally(strike.name for strike in self.missed).items())),
            "gateways started again": self.deaths,
            "accepted": len(self.facts.accepted),
            "arrived": len({arrival.text for arrival in self.facts.arrivals}),
            "statuses": dict(Tally(row.status for row in rows)),
            "causes": dict(Tally(f"{row.status}: {row.cause}" for row in rows if row.cause)),
            "struck on their way": sum(cause == "gateway_died" for row in rows for _, cause in row.steps),
            "doubled and marked": _marked(self.facts),
            "unknown that arrived": len(there(self.facts, "unknown")),
            "unknown that arrived, no strike took the receipt": len(knowable(self.facts)),
            "never more than sent": sum(row.status == "sent" for row in rows),
            "no more than sent, no strike took the receipt": len(knowable(self.facts, "sent")),
            "on the phone, but not readable": len(placeholders(self.facts)),
            "sent again because the phone asked": sum(_asked_again(row) for row in rows),
            "letters": len(self.facts.written),
            "letters called lost": sum(event.type == "message.lost" for event in self.facts.events),
            "callbacks": len(self.facts.posted),
            "callbacks posted again": len(self.facts.posted) - len({posted.id for posted in self.facts.posted}),
            "reconnected by hand": len(self.reconnected),
            "take-over after the kill of a session process": figures(takeovers(self.facts)),
            "take-over while nothing else struck": figures(takeovers(self.facts, undisturbed=True)),
            "tenants without a connection": figures(absences(self.facts)),
            "findings": dict(Tally(finding.what for finding in self.findings)),
        }


def _asked_again(row: Row) -> bool:
    return any(cause == "asked_again" for _, cause in row.steps)


def _marked(facts: Facts) -> int:
    times = Tally({(arrival.text, arrival.id) for arrival in facts.arrivals})
    texts = Tally(text for text, _ in times)
    return sum(n > 1 for n in texts.values()) - len(list(doubled(facts)))


async def run(plan: Plan, home: Path, progress: Progress) -> Outcome:
    """Carry the plan out below `home`, an empty directory. To be called in the main thread."""
    async with staged(plan, home, progress.say) as stage:
        callers, people = Callers(stage), People(stage, plan)
        striker = Striker(stage, plan, callers)
        reconnected: list[str] = []
        begun = time.monotonic()
        async with _beside(callers.run(), _operate(stage, reconnected)):
            await _strike_all(stage, plan, callers, people, striker, progress)
            progress.say("no more strikes; everything comes to rest")
            await striker.finish()
            await people.finish()
            await _rest(stage, callers, people, progress)
        seen = await facts(stage, plan, callers, people, striker)
        deaths = sum(machine.deaths for machine in stage.machines)
        seconds = time.monotonic() - begun
    findings = judged(seen)
    outcome = Outcome(plan, seen, findings, striker.done, striker.missed, reconnected, deaths, seconds)
    _write(home, outcome)
    return outcome


async def _strike_all(  # noqa: PLR0917 - the run's parts
    stage: Stage, plan: Plan, callers: Callers, people: People, striker: Striker, progress: Progress
) -> None:
    in_peace = [strike for strike in plan.strikes if strike.kind == "kill session process"][::IN_PEACE]
    for strike in plan.strikes:
        await _room(stage, callers)
        if strike in in_peace:
            await _peace(stage)

        def feed(strike: Strike = strike) -> None:
            callers.give(strike.messages)
            people.give(strike.letters)

        progress.struck(strike, await striker.strike(strike, feed))
        if strike in in_peace:
            await asyncio.sleep(NOTICED_WITHIN)
            await _peace(stage)


async def _peace(stage: Stage) -> None:
    """Until every tenant is connected, so that a take-over is seen that nothing disturbs; not for ever."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PEACE_WITHIN):
            while True:
                with contextlib.suppress(psycopg2.Error):
                    return await until_connected(stage)
                await asyncio.sleep(_LOOK)


async def _room(stage: Stage, callers: Callers) -> None:
    """Until not too much waits, for a while: the messages shall be there for all strikes."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(ROOM_WITHIN):
            while callers.open + _waiting(stage) > MOST_WAITING:
                await asyncio.sleep(_LOOK)


def _waiting(stage: Stage) -> int:
    with contextlib.suppress(psycopg2.Error):
        return int(stage.query(_WAITING)[0][0])
    return MOST_WAITING


async def _rest(stage: Stage, callers: Callers, people: People, progress: Progress) -> None:
    """Until nothing is on its way any more, REST_WITHIN at most."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(REST_WITHIN):
            while True:
                await asyncio.sleep(_LOOK)
                with contextlib.suppress(psycopg2.Error):
                    left = unsettled(stage, people)
                    progress.say(f"coming to rest: {callers.open} unanswered, {len(left)} on their way")
                    if not callers.open and not left:
                        # Some phone may have asked a tenant for another copy that is not back yet.
                        await until_connected(stage)
                        await asyncio.sleep(4 * _LOOK)  # receipts, and replies that are being stored
                        if not unsettled(stage, people):
                            return


async def _operate(stage: Stage, reconnected: list[str]) -> None:
    """As an operator would: a session that rests, because its opening ended processes again and again or because it
    was replaced, is reconnected by hand. For ever."""
    while True:
        await asyncio.sleep(_OPERATOR)
        with contextlib.suppress(psycopg2.Error, aiohttp.ClientError, TimeoutError):
            for (tenant,) in stage.query(_GIVEN_UP):
                machine = next((machine for machine in stage.machines if machine.url), stage.machines[0])
                status, _ = await stage.ask(machine, tenant, "POST", "/api/reconnect")
                if status < 300:
                    reconnected.append(tenant)


@contextlib.asynccontextmanager
async def _beside(*works: Any) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _write(home: Path, outcome: Outcome) -> None:
    """The evidence, for whoever looks for causes."""
    text = json.dumps(outcome.summary(), indent=1)
    lines = [f"{finding.what} | {finding.who} | {finding.detail}" for finding in outcome.findings]
    (home / "outcome.txt").write_text("\n".join([text, *lines, ""]), "utf-8")
    (home / "facts.json").write_bytes(msgspec.json.encode(outcome.facts))
