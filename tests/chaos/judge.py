"""What is wrong with a run. Pure: facts in, findings out."""

from __future__ import annotations

from collections import Counter as Tally
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.chaos.facts import Accepted, Arrival, Facts, Row

ARRIVED = frozenset({"sent", "delivered", "read", "played"})
"""What the books say of a message that WhatsApp has."""

OPENLY_NOT = frozenset({"unknown", "failed", "expired"})
"""What the books may say of an accepted message that is on no phone."""

NEVER_LEFT = frozenset({"failed", "expired", "cancelled"})

WITHDRAWN = "answered_503"
"""The cause of messages whose callers were told to try again; they did, with a message of its own."""

WRITTEN_WITHIN = 5.0
"""Seconds after its acknowledgement in which a receipt may still be in its process, and dies with it."""

COPIED_WITHIN = 0.5
"""Seconds after its acknowledgement in which the library may not have sent the copy that a phone has asked for: a
connection that is closed meanwhile, in good order too, takes the wish with it."""

_BEFORE = 0.3
"""Seconds that a strike may be noted late."""

SENT_AGAIN = frozenset({"resend", "asked_again"})
"""Causes in a message's history that say that it was sent again although it had left: by the tenant's wish, or because
its phone could not read it and asked."""

PER_THOUSAND_KILLS = 1
"""How many messages may end as unknown although WhatsApp's acknowledgement could have been had."""


@dataclass(frozen=True, slots=True)
class Finding:
    """`what`: lost, doubled, …; `who`: the message, or whatever it is about; `detail`: the evidence."""

    what: str
    who: str
    detail: str


def judged(facts: Facts) -> list[Finding]:
    """Everything that breaks a promise."""
    return [finding for rule in RULES for finding in rule(facts)]


def _by_text(facts: Facts) -> dict[str, list[Arrival]]:
    """Each text's arrivals. One WhatsApp id on one phone is one message, however often it was sent again to be read."""
    found: defaultdict[str, dict[tuple[str, str], Arrival]] = defaultdict(dict)
    for arrival in facts.arrivals:
        found[arrival.text].setdefault((arrival.person, arrival.id), arrival)
    return {text: list(by_id.values()) for text, by_id in found.items()}


def told(row: Row) -> str:
    """A row's story, for people."""
    steps = " ".join(f"{status}({cause})" if cause else status for status, cause in row.steps)
    return f"{row.tenant} to {row.to}: {row.status}{f' ({row.cause})' if row.cause else ''}; {steps}"


def refused(facts: Facts) -> Iterator[Finding]:
    """Nothing was refused that had to be accepted."""
    return (Finding("refused", what.partition(" ")[0], what) for what in facts.refused)


def unsettled(facts: Facts) -> Iterator[Finding]:
    """Everything comes to rest."""
    return (Finding("never at rest", what.partition(" ")[0], what) for what in facts.unsettled)


def admitted(facts: Facts) -> Iterator[Finding]:
    """One key, one message; what was answered 202 is a row."""
    rows = {row.id for row in facts.rows}
    for accepted in facts.accepted:
        if len(set(accepted.ids)) > 1:
            yield Finding("two ids for one key", accepted.ref, ", ".join(sorted(set(accepted.ids))))
        for missing in set(accepted.ids) - rows:
            yield Finding("lost", accepted.ref, f"answered 202 with {missing}, which is no row")
    texts = Tally(row.text for row in facts.rows if row.cause != WITHDRAWN)
    for text, times in texts.items():
        if times > 1:
            yield Finding("admitted twice", text, f"{times} rows")


def placeholders(facts: Facts) -> list[Row]:
    """Messages that their phone shows as "waiting for this message", and under no id as their text. The phone has
    asked for another copy, and did not get it."""
    arrivals = _by_text(facts)
    return [row for row in facts.rows if row.text not in arrivals and (row.to, row.wa_id) in facts.unreadable]


def asked_in_vain(row: Row, facts: Facts) -> bool:
    """Whether the library acknowledged it when the phone asked for another copy for the last time, which it does before
    anybody else sees that, and was closed, or died with its process, before it had sent one. The phone does not ask
    once more."""
    asked = [receipt for receipt in facts.receipts if receipt.id == row.wa_id and receipt.type == "retry"]
    if not asked or row.wa_id in facts.waiting:
        return False
    last = max(asked, key=lambda receipt: receipt.at)
    closing = last.ended is not None and last.ended - last.at < COPIED_WITHIN
    return closing or _died(last.at, last.ended, facts)


def lost(facts: Facts) -> Iterator[Finding]:
    """What the books say has arrived is on its phone; nothing is forgotten on the way. A phone that could not read a
    message, and whose wish for another copy was lost with a process, shows that it waits for one."""
    arrivals, waiting = _by_text(facts), {row.id for row in placeholders(facts)}
    for row in facts.rows:
        if row.id in waiting and asked_in_vain(row, facts):
            continue
        if row.status in ARRIVED and row.text not in arrivals:
            how = f"; its phone cannot read it; {evidence(row.wa_id, facts)}" if row.wa_id and row.id in waiting else ""
            yield Finding("lost", row.text, told(row) + how)
        elif row.status not in ARRIVED | OPENLY_NOT | {"cancelled"}:
            yield Finding("no final word", row.text, told(row))


def misjudged(facts: Facts) -> Iterator[Finding]:
    """What the books say never left is on no phone."""
    arrivals = _by_text(facts)
    for row in facts.rows:
        if row.status in NEVER_LEFT and row.text in arrivals:
            yield Finding("arrived although it never left", row.text, told(row))


def is_marked(row: Row) -> bool:
    """Whether its history says that it may have been sent before it was sent again."""
    steps = [status for status, _ in row.steps]
    again = "unknown" in steps and "sending" in steps[steps.index("unknown") :]
    return again or any(cause in SENT_AGAIN for _, cause in row.steps)


def doubled(facts: Facts) -> Iterator[Finding]:
    """Nothing is on its phone twice, unless its history says why; nothing is on another's phone."""
    rows = {row.text: row for row in sorted(facts.rows, key=lambda row: row.cause != WITHDRAWN)}
    for text, arrivals in _by_text(facts).items():
        row = rows.get(text)
        if row is None:
            yield Finding("from nowhere", text, f"on the phone {arrivals[0].person}, and no row")
            continue
        if len(arrivals) > 1 and not is_marked(row):
            yield Finding("doubled, unmarked", text, f"{len(arrivals)} times; {told(row)}")
        for arrival in arrivals:
            if (arrival.person, arrival.tenant) != (row.to, row.tenant):
                yield Finding("astray", text, f"{arrival.tenant} to {arrival.person}; {told(row)}")


def out_of_order(facts: Facts) -> Iterator[Finding]:
    """Of one caller's messages to one person, those that arrived did so in the order in which they were accepted. Of
    one that was ever unknown, or that its phone could not read and asked for once more, nobody promises when it
    arrives: the books say so only when another process sent it again than the one that had sent it."""
    turns = {accepted.ref: accepted for accepted in facts.accepted}
    unsure = {
        row.text
        for row in facts.rows
        if any(status == "unknown" or cause in SENT_AGAIN for status, cause in row.steps)
        or (row.to, row.wa_id) in facts.unreadable
    }
    latest: dict[tuple[str, str], Accepted] = {}
    for text, arrivals in _by_text(facts).items():
        accepted = turns.get(text)
        if accepted is None or text in unsure or len(arrivals) > 1:
            continue
        chat = accepted.tenant, accepted.to
        before = latest.get(chat)
        if before is not None and before.turn > accepted.turn:
            yield Finding("out of order", text, f"{chat}: after {before.ref}")
        else:
            latest[chat] = accepted


def there(facts: Facts, status: str) -> list[tuple[Row, Arrival]]:
    """Messages whose last word is `status`, although they are on their phone."""
    arrivals = _by_text(facts)
    return [(row, arrivals[row.text][0]) for row in facts.rows if row.status == status and row.text in arrivals]


def knowable(facts: Facts, status: str = "unknown") -> list[tuple[Row, Arrival]]:
    """Those of them whose receipt could have been had: it was acknowledged by a process that was not struck soon, or
    was never acknowledged, so that WhatsApp brings it again."""
    return [(row, arrival) for row, arrival in there(facts, status) if not _was_taken(arrival, facts)]


def _was_taken(arrival: Arrival, facts: Facts) -> bool:
    """Whether each receipt for it was acknowledged by the library, which does so before anybody else sees it, and died
    with its process before it could be written."""
    receipts = [receipt for receipt in facts.receipts if receipt.id == arrival.id and receipt.type != "retry"]
    return (
        arrival.id not in facts.waiting
        and bool(receipts)
        and all(_died(receipt.at, receipt.ended, facts) for receipt in receipts)
    )


def _died(at: float, ended: float | None, facts: Facts) -> bool:
    if ended is None or ended - at > WRITTEN_WITHIN:
        return False
    return any(blow.takes and -_BEFORE < ended - blow.at < blow.takes for blow in facts.blows)


def evidence(id: str, facts: Facts) -> str:
    """What happened to the receipts for what has this id of WhatsApp, for people."""
    found = [
        f"{receipt.type} acknowledged at {receipt.at:.1f}, connection ended "
        + (f"{receipt.ended - receipt.at:.1f} s later" if receipt.ended else "never")
        for receipt in facts.receipts
        if receipt.id == id
    ]
    waits = ["receipts wait"] if id in facts.waiting else []
    return f"{id}: " + (", ".join([*found, *waits]) or "no receipt was acknowledged")


def needlessly_unknown(facts: Facts) -> Iterator[Finding]:
    """At most one in a thousand kills ends like that."""
    rows = knowable(facts)
    if len(rows) * 1000 > len(facts.kills) * PER_THOUSAND_KILLS:
        for row, arrival in rows:
            yield Finding(
                "needlessly unknown",
                row.text,
                f"{told(row)}; arrived at {arrival.at:.1f}; {evidence(arrival.id, facts)}",
            )


def incoming(facts: Facts) -> Iterator[Finding]:
    """Each letter is told once, as received or as lost; what is kept is told."""
    received = Tally((event.tenant, event.about) for event in facts.events if event.type == "message.received")
    named = {(event.tenant, event.about) for event in facts.events if event.type == "message.lost"}
    for letter in facts.written:
        key = letter.tenant, letter.id
        if received[key] > 1:
            yield Finding("incoming doubled", letter.text, f"{received[key]} events")
        if not received[key] and key not in named:
            yield Finding("incoming lost", letter.text, f"{letter.id} of {letter.person} to {letter.tenant}")
        if received[key] and key in named:
            yield Finding("incoming called lost", letter.text, f"{letter.id} was received, and is said to be lost")
    known = {(letter.tenant, letter.id) for letter in facts.written}
    for key in facts.kept:
        if key not in known:
            yield Finding("incoming from nowhere", key[1], f"to {key[0]}")


def sequence(facts: Facts) -> Iterator[Finding]:
    """Each tenant's events are numbered from 1 without a gap."""
    seqs: defaultdict[str, list[int]] = defaultdict(list)
    for event in facts.events:
        seqs[event.tenant].append(event.seq)
    for tenant, found in seqs.items():
        if sorted(found) != list(range(1, len(found) + 1)):
            yield Finding("events with a gap", tenant, f"{len(found)} events, the last is {max(found)}")


def callbacks(facts: Facts) -> Iterator[Finding]:
    """Each event that somebody asked for is posted at least once, always with the same id."""
    ids: defaultdict[tuple[str, int], set[str]] = defaultdict(set)
    for posted in facts.posted:
        ids[posted.tenant, posted.seq].add(posted.id)
    for event in facts.events:
        found = ids.get((event.tenant, event.seq), set())
        if event.type in facts.called_back and len(found) != 1:
            what = "never posted" if not found else "posted with several ids"
            yield Finding(what, f"{event.tenant}/{event.seq}", f"{event.type} of {event.about}; {sorted(found)}")
    events: defaultdict[str, set[tuple[str, int]]] = defaultdict(set)
    for posted in facts.posted:
        events[posted.id].add((posted.tenant, posted.seq))
    for id, several in events.items():
        if len(several) > 1:
            yield Finding("one id for several events", id, str(sorted(several)))


def counters(facts: Facts) -> Iterator[Finding]:
    """Counters are what was accepted, less what was given back; what never left gives back."""
    spent: Tally[tuple[str, str]] = Tally()
    for row in facts.rows:
        spent[row.tenant, row.to] += row.cost
        if row.status in NEVER_LEFT and row.cost:
            yield Finding("not given back", row.text, told(row))
        if row.status in ARRIVED and not row.cost and row.answers is None:
            yield Finding("not counted", row.text, told(row))
    counted: Tally[tuple[str, str]] = Tally({(c.tenant, c.to): c.count for c in facts.counters})
    for key in sorted(spent.keys() | counted.keys()):
        if spent[key] != counted[key]:
            yield Finding("counter wrong", " to ".join(key), f"it says {counted[key]}, its messages say {spent[key]}")


def lines(facts: Facts) -> Iterator[Finding]:
    """A line says how many wait."""
    for line in facts.lines:
        if line.waiting != line.rows:
            yield Finding("line wrong", line.tenant, f"it says {line.waiting}, there are {line.rows}")


RULES: tuple[Callable[[Facts], Iterator[Finding]], ...] = (
    refused, unsettled, admitted, lost, misjudged, doubled, out_of_order, needlessly_unknown, incoming, sequence,
    callbacks, counters, lines,
)  # fmt: skip
