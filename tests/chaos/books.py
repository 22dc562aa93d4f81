"""Reads the facts: the database, the phones, what callers and people remember."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from tests.chaos.facts import Arrival, Counter, Event, Facts, LineOf, Login, Receipt, Row
from tests.chaos.hearer import TYPES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.chaos.plan import Plan
    from tests.chaos.stage import Stage
    from tests.chaos.strikes import Striker
    from tests.chaos.traffic import Callers, People

_ROWS = """
  SELECT m.id::text, m.tenant_id, m.recipient, m.content, m.status, m.cause, m.wa_id,
         (SELECT coalesce(jsonb_agg(jsonb_build_array(h ->> 'status', h ->> 'cause')), '[]')
            FROM jsonb_array_elements(m.history) h),
         (SELECT coalesce(sum((c ->> 3)::integer), 0)
            FROM jsonb_array_elements(m.counted) c WHERE jsonb_array_length(c) = 4),
         m.answers
    FROM messages m ORDER BY m.seq
"""
_LINES = """
  SELECT l.tenant_id, (SELECT sum(w) FROM unnest(l.waiting) w),
         (SELECT count(*) FROM messages m WHERE m.tenant_id = l.tenant_id AND m.status = 'queued' AND m.in_line)
    FROM lines l
"""
_UNSETTLED = """
  SELECT content || ' is ' || status FROM messages
   WHERE status IN ('queued', 'sending')
   UNION ALL SELECT content || ' is not dispatched' FROM incoming_messages WHERE dispatched_at IS NULL
   UNION ALL SELECT type || ' of ' || tenant_id || ' is not posted' FROM callback_deliveries WHERE status = 'pending'
   UNION ALL SELECT c.tenant_id || ' has news for its callback'
               FROM callback_cursors c JOIN event_heads h USING (tenant_id) WHERE c.seq < h.last
   UNION ALL SELECT id || ' of ' || tenant_id || ' is neither kept nor named' FROM arrivals WHERE id = ANY (%s)
"""
_EVENTS = (
    "SELECT tenant_id, seq, type, coalesce(outgoing::text, incoming, data ->> 'id'),"
    " extract(epoch FROM at)::double precision FROM events ORDER BY tenant_id, seq"
)


def unsettled(stage: Stage, people: People) -> list[str]:
    """What has not come to rest. Raises psycopg2.Error."""
    return [row[0] for row in stage.query(_UNSETTLED, [letter.id for letter in people.written])]


async def facts(stage: Stage, plan: Plan, callers: Callers, people: People, striker: Striker) -> Facts:
    """As everything is now."""
    rows = tuple(_row(row) for row in stage.query(_ROWS))
    arrivals = tuple(await _arrivals(stage, plan))
    unreadable = await _unreadable(stage, plan)
    unsure = {row.text for row in rows if row.status in ("unknown", "sent")}
    ids = {arrival.id for arrival in arrivals if arrival.text in unsure} | {id for _, id in unreadable}
    receipts, waiting = await _receipts(stage, ids)
    return Facts(
        accepted=tuple(callers.accepted),
        refused=tuple(callers.refused),
        rows=rows,
        arrivals=arrivals,
        receipts=tuple(receipts),
        waiting=frozenset(waiting),
        logins=tuple(await _logins(stage, plan)),
        unreadable=frozenset(unreadable),
        written=tuple(people.written),
        kept=tuple((row[0], row[1]) for row in stage.query("SELECT tenant_id, id FROM incoming_messages")),
        events=tuple(Event(*row) for row in stage.query(_EVENTS)),
        posted=tuple(stage.heard),
        counters=tuple(Counter(*row) for row in stage.query(
            "SELECT tenant_id, phone_number, sum(count)::integer FROM daily_limits GROUP BY 1, 2"
        )),
        lines=tuple(LineOf(*row) for row in stage.query(_LINES)),
        kills=tuple(striker.kills),
        blows=tuple(striker.blows),
        called_back=frozenset(TYPES),
        unsettled=tuple(unsettled(stage, people)),
    )  # fmt: skip


def _row(values: Sequence[Any]) -> Row:
    id, tenant, to, text, status, cause, wa_id, steps, cost, answers = values
    pairs = tuple((step, why) for step, why in steps)
    return Row(id, tenant, to, text, status, cause, wa_id, pairs, cost, answers)


def seconds(at: str) -> float:
    """Since 1970, of an ISO time."""
    return datetime.fromisoformat(at).timestamp()


async def _receipts(stage: Stage, ids: Iterable[str]) -> tuple[list[Receipt], set[str]]:
    """What became of the receipts for these, and for which of them some wait."""
    found, waiting = [], set()
    for id in ids:
        told = await stage.ask_sandbox("GET", f"/receipts/{id}")
        found += [Receipt(id, done["type"], done["at"], done["login"]["ended"]) for done in told["acknowledged"]]
        if told["waiting"]:
            waiting.add(id)
    return found, waiting


async def _logins(stage: Stage, plan: Plan) -> list[Login]:
    names = {number: name for name, number in plan.tenants.items()}
    told = (await stage.ask_sandbox("GET", "/logins"))["logins"]
    return [Login(names[login["number"]], login["began"], login["ended"]) for login in told if login["number"] in names]


async def _unreadable(stage: Stage, plan: Plan) -> list[tuple[str, str]]:
    """A phone's failures begin with the message's id."""
    found = []
    for people in plan.people.values():
        for person in people:
            failures = (await stage.ask_sandbox("GET", f"/phones/{person}"))["failures"]
            found += [(person, what.partition(" ")[0]) for what in failures]
    return found


async def _arrivals(stage: Stage, plan: Plan) -> list[Arrival]:
    """What is on people's phones, phone by phone, in the order in which it came."""
    names = {number: name for name, number in plan.tenants.items()}
    found = []
    for people in plan.people.values():
        for person in people:
            inbox = await stage.ask_sandbox("GET", f"/phones/{person}/inbox")
            found += [
                Arrival(person, names.get(got["sender"], got["sender"]), got["id"], got["text"], seconds(got["at"]))
                for got in inbox["messages"]
            ]
    return found
