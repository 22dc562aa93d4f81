"""The judge of chaos runs finds what is wrong, and nothing in a run where nothing is: with made-up faults."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.chaos.facts import Accepted, Arrival, Blow, Counter, Event, Facts, LineOf, Posted, Receipt, Row, Written
from tests.chaos.judge import judged, knowable

SENT = (("sending", None), ("sent", None), ("delivered", None))
RESENT = (("sending", None), ("unknown", "gateway_died"), ("queued", "resend"), *SENT)
BUDI = "62851"


def accepted(number: int) -> Accepted:
    return Accepted(f"m{number}", "shop", BUDI, (f"id{number}",), number)


def row(number: int, status: str = "delivered", **fields: object) -> Row:
    made = Row(f"id{number}", "shop", BUDI, f"m{number}", status, None, f"W{number}", SENT, cost=1)
    return replace(made, **fields)  # type: ignore[arg-type]


def arrival(number: int, id: str = "", person: str = BUDI) -> Arrival:
    return Arrival(person, "shop", id or f"W{number}", f"m{number}")


def good(**fields: object) -> Facts:
    """Two messages arrived, one letter came; `fields` are what is different."""
    facts = Facts(
        accepted=(accepted(1), accepted(2)),
        rows=(row(1), row(2)),
        arrivals=(arrival(1), arrival(2)),
        written=(Written("L1", "shop", BUDI, "p1"),),
        kept=(("shop", "L1"),),
        events=(
            Event("shop", 1, "message.queued", "id1"),
            Event("shop", 2, "message.received", "L1"),
            Event("shop", 3, "session.connected", None),
        ),
        posted=(Posted("E1", "shop", 1), Posted("E2", "shop", 2), Posted("E1", "shop", 1)),
        counters=(Counter("shop", BUDI, 2),),
        lines=(LineOf("shop", 0, 0),),
        kills=(100.0,) * 10,
        called_back=frozenset({"message.queued", "message.received"}),
    )
    return replace(facts, **fields)  # type: ignore[arg-type]


def found(**fields: object) -> list[str]:
    """What the judge says of `good` with these differences."""
    return [finding.what for finding in judged(good(**fields))]


def test_a_good_run_has_no_findings() -> None:
    """Everything arrived, is counted, told and posted (once more than needed)."""
    assert found() == []


def test_a_message_on_no_phone_is_lost_unless_the_books_say_so() -> None:
    """`delivered` and nowhere is a loss; `unknown` is honest; `queued` at the end is no final word."""
    one = (arrival(1),)
    assert found(arrivals=one) == ["lost"]
    assert found(arrivals=one, rows=(row(1), row(2, "unknown"))) == []
    assert found(arrivals=one, rows=(row(1), row(2, "failed", cost=0)), counters=(Counter("shop", BUDI, 1),)) == []
    assert found(arrivals=one, rows=(row(1), row(2, "sending"))) == ["no final word"]


def test_a_placeholder_is_lost() -> None:
    """The phone cannot read it: neither `sent` nor `delivered` is true for the person. When it asked, and got the text
    under another id, there is no loss; both on the phone is a double that the history explains."""
    one, unreadable = (arrival(1),), frozenset({(BUDI, "W2")})
    assert found(arrivals=one, rows=(row(1), row(2, "sent")), unreadable=unreadable) == ["lost"]
    assert found(arrivals=one, unreadable=unreadable) == ["lost"]
    assert found(arrivals=(*one, arrival(2, id="W9")), unreadable=unreadable) == []
    asked = (("sending", None), ("sent", None), ("queued", "asked_again"), *SENT)
    twice = (*one, arrival(2), arrival(2, id="W9"))
    assert found(arrivals=twice, rows=(row(1), row(2, steps=asked))) == []


def test_an_accepted_message_without_a_row_is_lost() -> None:
    """Whoever was told 202 finds the message."""
    assert "lost" in found(accepted=(accepted(1), replace(accepted(2), ids=("gone",))))


def test_one_key_is_one_message() -> None:
    """Two ids for one key, or one text in two rows, are told; a withdrawn row is none."""
    twice = replace(accepted(1), ids=("id1", "id2"))
    assert found(accepted=(twice, accepted(2))) == ["two ids for one key"]
    again = replace(row(1), id="id9", cost=0, answers="L1")
    assert found(rows=(row(1), row(2), again)) == ["admitted twice"]
    withdrawn = replace(again, status="expired", cause="answered_503")
    assert "admitted twice" not in found(rows=(row(1), row(2), withdrawn))


def test_a_double_has_to_be_marked() -> None:
    """Twice on the phone under two ids: only a history that went through `unknown` and was sent again
    explains it, or one that its phone asked to have again."""
    twice = (arrival(1), arrival(2), arrival(2, id="W9"))
    assert found(arrivals=twice) == ["doubled, unmarked"]
    assert found(arrivals=twice, rows=(row(1), row(2, steps=RESENT))) == []
    asked_again = (*SENT, ("queued", "asked_again"), *SENT)
    assert found(arrivals=twice, rows=(row(1), row(2, steps=asked_again))) == []
    requeued = (("sending", None), ("queued", "gateway_died"), *SENT)
    assert found(arrivals=twice, rows=(row(1), row(2, steps=requeued))) == ["doubled, unmarked"]
    only_unknown = (("sending", None), ("unknown", "gateway_died"), ("delivered", None))
    assert found(arrivals=twice, rows=(row(1), row(2, steps=only_unknown))) == ["doubled, unmarked"]


def test_one_whatsapp_id_is_one_message() -> None:
    """A copy that the phone asked for because it could not read the first is no double."""
    assert found(arrivals=(arrival(1), arrival(2), arrival(2))) == []


def test_astray_and_from_nowhere() -> None:
    """A message on another's phone, and one that nobody sent."""
    assert found(arrivals=(arrival(1), arrival(2, person="62999"))) == ["astray"]
    assert found(arrivals=(arrival(1), arrival(2), arrival(7))) == ["from nowhere"]


@pytest.mark.parametrize("status", ["failed", "expired", "cancelled"])
def test_what_never_left_is_on_no_phone(status: str) -> None:
    """The books may not say so of a message that arrived, even though they give back what it counted."""
    rows = (row(1), row(2, status, cost=0))
    assert found(rows=rows, counters=(Counter("shop", BUDI, 1),)) == ["arrived although it never left"]


def test_order_per_recipient() -> None:
    """Later ones may not arrive first, but for those that were ever unknown, or unreadable at first, and other
    people's."""
    swapped = (arrival(2), arrival(1))
    assert found(arrivals=swapped) == ["out of order"]
    assert found(arrivals=swapped, rows=(row(1, steps=RESENT), row(2))) == []
    assert found(arrivals=swapped, unreadable=frozenset({(BUDI, "W1")})) == []
    elsewhere = replace(accepted(1), to="62999"), replace(row(1), to="62999"), arrival(1, person="62999")
    counters = (Counter("shop", BUDI, 1), Counter("shop", "62999", 1))
    assert found(accepted=(elsewhere[0], accepted(2)), rows=(elsewhere[1], row(2)),
                 arrivals=(arrival(2), elsewhere[2]), counters=counters) == []  # fmt: skip


UNKNOWN = (row(1), row(2, "unknown"))
KILLED = (Blow(100.0, "kill session process", takes=2.0), Blow(200.0, "kill gateway"))


def receipt(at: float, ended: float | None, kind: str = "delivered") -> Receipt:
    return Receipt("W2", kind, at, ended)


def test_unknown_although_the_ack_could_have_been_had() -> None:
    """One in a thousand kills is allowed. A message that is on no phone is none of these."""
    assert found(rows=UNKNOWN) == ["needlessly unknown"]
    assert found(rows=UNKNOWN, kills=(100.0,) * 1000) == []
    assert found(rows=UNKNOWN, arrivals=(arrival(1),)) == []


@pytest.mark.parametrize(
    ("receipts", "excused"),
    [
        ((receipt(99.9, 100.2),), True),
        ((receipt(97.0, 101.0), receipt(99.9, 100.1, "read")), True),
        ((receipt(99.9, 100.2), receipt(150.0, None, "read")), False),  # that one could have been written
        ((receipt(50.0, 100.1),), False),  # there was time to write it
        ((receipt(99.9, 103.0),), False),  # its connection ended, but not with the process that was struck
        ((receipt(199.9, 200.1),), False),  # a gateway dies, and its session processes end in order
        ((receipt(99.9, None),), False),
        ((receipt(99.9, 100.2, "retry"),), False),  # that it arrived says no other
        ((), False),  # never acknowledged: it has to come again
    ],
)
def test_a_receipt_that_died_with_its_process(receipts: tuple[Receipt, ...], excused: bool) -> None:
    """The library acknowledged each of them, and a strike ended that process within seconds: nobody could know."""
    facts = good(rows=UNKNOWN, receipts=receipts, blows=KILLED)
    assert knowable(facts) == ([] if excused else [(UNKNOWN[1], arrival(2))])
    assert len(knowable(replace(facts, waiting=frozenset({"W2"})))) == 1


def test_sent_and_no_more_is_looked_at_in_the_same_way() -> None:
    """For information: the message is on its phone, and the books never heard of it."""
    facts = good(rows=(row(1), row(2, "sent")), blows=KILLED)
    assert judged(facts) == []
    assert len(knowable(facts, "sent")) == 1
    assert knowable(replace(facts, receipts=(receipt(99.9, 100.2),)), "sent") == []


def test_letters_are_told_once() -> None:
    """As received or as lost, and not as both."""
    received, lost = Event("shop", 2, "message.received", "L1"), Event("shop", 2, "message.lost", "L1")
    first = Event("shop", 1, "message.queued", "id1")
    posted = (Posted("E1", "shop", 1), Posted("E2", "shop", 2), Posted("E3", "shop", 3))
    assert found(events=(first,)) == ["incoming lost"]
    assert found(events=(first, lost)) == []
    assert found(events=(first, received, replace(received, seq=3)), posted=posted) == ["incoming doubled"]
    assert found(events=(first, received, replace(lost, seq=3)), posted=posted) == ["incoming called lost"]
    assert found(kept=(("shop", "L1"), ("shop", "L7"))) == ["incoming from nowhere"]


def test_events_have_no_gap() -> None:
    """Numbers from 1 on, none missing."""
    events = (Event("shop", 1, "message.queued", "id1"), Event("shop", 3, "message.received", "L1"))
    posted = (Posted("E1", "shop", 1), Posted("E3", "shop", 3))
    assert found(events=events, posted=posted) == ["events with a gap"]


def test_callbacks_come_at_least_once_with_one_id() -> None:
    """Never, with two ids, and one id for two events are told; of what nobody asked for, nothing."""
    one, two = Posted("E1", "shop", 1), Posted("E2", "shop", 2)
    assert found(posted=(one,)) == ["never posted"]
    assert found(posted=(), called_back=frozenset()) == []
    assert found(posted=(one, two, Posted("E9", "shop", 1))) == ["posted with several ids"]
    assert found(posted=(one, Posted("E1", "shop", 2))) == ["one id for several events"]


def test_counters_are_what_was_accepted_less_what_came_back() -> None:
    """A counter that says more or less, a failed message that still counts, and an arrived one that does not."""
    assert found(counters=(Counter("shop", BUDI, 3),)) == ["counter wrong"]
    assert found(counters=()) == ["counter wrong"]
    assert "not given back" in found(rows=(row(1), row(2, "failed")), arrivals=(arrival(1),))
    assert found(rows=(row(1), row(2, cost=0)), counters=(Counter("shop", BUDI, 1),)) == ["not counted"]


def test_lines_agree_with_rows() -> None:
    """A line that says that one waits when nobody does."""
    assert found(lines=(LineOf("shop", 1, 0),)) == ["line wrong"]


def test_what_was_refused_or_never_rested_is_told() -> None:
    """A caller who got neither 202 nor "try again", and what was still on its way when time was up."""
    assert found(refused=("m3 422 {}",)) == ["refused"]
    assert found(unsettled=("m2 is sending",)) == ["never at rest"]


@pytest.mark.parametrize(("ended", "findings"), [(100.5, []), (150.0, ["lost"]), (None, ["lost"])])
def test_a_phone_that_asked_in_vain(ended: float | None, findings: list[str]) -> None:
    """Its wish for another copy died with the process that had acknowledged it: nobody can know of it. One that lived
    on had to send the copy."""
    asked = (receipt(99.0, ended, "retry"),)
    unreadable = frozenset({(BUDI, "W2")})
    assert found(arrivals=(arrival(1),), rows=(row(1), row(2, "sent")), unreadable=unreadable,
                 receipts=asked, blows=KILLED) == findings  # fmt: skip


@pytest.mark.parametrize(("ended", "findings"), [(99.1, []), (100.5, ["lost"])])
def test_a_phone_that_asked_a_connection_which_was_closing(ended: float, findings: list[str]) -> None:
    """Nobody was killed: the library had acknowledged the wish a moment before its connection was closed in good order.
    With more time than that it had to send the copy."""
    asked = (receipt(99.0, ended, "retry"),)
    unreadable = frozenset({(BUDI, "W2")})
    assert found(arrivals=(arrival(1),), rows=(row(1), row(2, "sent")), unreadable=unreadable,
                 receipts=asked, blows=()) == findings  # fmt: skip
