"""The supervisor with children that only listen: who is opened where, who is kept apart, who rests."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TYPE_CHECKING, Any, cast

import pytest

from core.clock import Clock
from core.errors import DatabaseUnavailable
from core.session_rows import Command, TenantSession
from core.sessions.protocol import DATABASE_AWAY, Answered, Close, Closed, Logout, Open, Pair, Reconnect
from core.sessions.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from core.session_rows import CommandKind
    from core.sessions.child import Child
    from core.sessions.protocol import Order
    from db.session_store import SessionStore


class HandClock(Clock):
    """Moved by hand."""

    def __init__(self) -> None:
        self.at = 1000.0

    def monotonic(self) -> float:
        return self.at


class FakeChild:
    """The face of Child; `die` ends it, everything else is told by the test."""

    def __init__(self, number: int) -> None:
        self.number, self.pid, self.status = number, number, -6
        self.tenants: set[str] = set()
        self.opening: set[str] = set()
        self.pairs: str | None = None
        self.leaves = self.was_useful = self.gone = False
        self.opened: deque[str] = deque()
        self.closed: deque[Closed] = deque()
        self.answers: deque[Answered] = deque()
        self.calls: set[int] = set()
        self.told: list[Order] = []

    def is_pairing(self, tenant: str) -> bool:
        return self.pairs == tenant and not self.leaves and not self.gone

    def tell(self, order: Order) -> None:
        self.told.append(order)
        if isinstance(order, Open):
            self.tenants.add(order.tenant)
        elif isinstance(order, Pair):
            self.pairs = order.tenant
        elif isinstance(order, Logout | Reconnect):
            self.calls.add(order.call)

    def kill_if_stuck(self) -> None:
        """Nobody is, here."""

    async def stop(self, within: float) -> None:
        self.gone = True

    # What a test lets happen

    def die(self, *opening: str) -> None:
        self.opening, self.gone = set(opening), True
        self.was_useful = self.was_useful or bool(opening)

    def opens(self, *tenants: str) -> None:
        self.was_useful = True
        self.opened.extend(tenants)

    def closes(self, tenant: str, *, rests: bool = False) -> None:
        self.closed.append(Closed(tenant, rests))


@dataclass
class FakeStore:
    """The rows of `session_tenants`, the commands that wait, and what was written."""

    rows: dict[str, TenantSession] = field(default_factory=dict)
    waiting: list[Command] = field(default_factory=list)
    released: list[tuple[int, tuple[str, ...] | None, str | None]] = field(default_factory=list)
    answered: dict[int, dict[str, Any]] = field(default_factory=dict)
    away: bool = False
    peers: set[int] = field(default_factory=set)

    def _look(self) -> None:
        if self.away:
            raise DatabaseUnavailable("away")

    async def supervisors(self) -> set[int]:
        self._look()
        return set(self.peers)

    async def tenants(self) -> list[TenantSession]:
        self._look()
        return list(self.rows.values())

    async def claim_commands(self, process: int, children: Sequence[int]) -> list[Command]:
        taken, self.waiting = self.waiting, []
        return taken

    async def release(self, process: int, tenants: Collection[str] | None, reason: str | None) -> list[str]:
        self._look()
        self.released.append((process, None if tenants is None else tuple(tenants), reason))
        return []

    async def answer(self, command: int, answer: dict[str, Any]) -> None:
        self._look()
        self.answered[command] = answer


class House:
    """A supervisor, its fakes, and a round at a time."""

    def __init__(self, per_process: int = 50) -> None:
        self.store, self.clock = FakeStore(), HandClock()
        self.children: list[FakeChild] = []
        self._calls = count(1)
        self.supervisor = Supervisor(
            cast("SessionStore", self.store),
            self.clock,
            self._start,
            is_whatsapp=lambda tenant: not tenant.startswith("dry"),
            process=100,
            per_process=per_process,
        )

    async def _start(self, number: int, on_report: Callable[[], None]) -> Child:
        self.children.append(FakeChild(number))
        return cast("Child", self.children[-1])

    def pair(self, *tenants: str, **changes: Any) -> None:
        """These have a device."""
        for tenant in tenants:
            row = TenantSession(tenant, paired=True, state="disconnected", process=None, held=False, sandbox=False)
            self.store.rows[tenant] = replace(row, **changes)

    async def round(self) -> None:
        await self.supervisor._round()

    async def call(self, kind: CommandKind, tenant: str, **arguments: Any) -> int:
        """A command, and the round in which it is carried out."""
        number = next(self._calls)
        self.store.waiting.append(Command(number, tenant, kind, arguments))
        await self.round()
        return number

    def homes(self) -> list[set[str]]:
        """The tenants of each living child."""
        return [child.tenants for child in self.children if not child.gone]


async def test_paired_tenants_are_opened_and_fill_one_process_before_the_next() -> None:
    """`per_process` at most in each; nobody without a device, nobody who sends through something else."""
    house = House(per_process=2)
    house.pair("a", "b", "c", "dry")
    house.pair("unpaired", paired=False)
    await house.round()
    assert house.homes() == [{"a", "b"}, {"c"}]
    await house.round()
    assert house.homes() == [{"a", "b"}, {"c"}]


async def test_what_another_gateway_holds_is_left_alone_until_it_is_free() -> None:
    """A living lease is respected; the next round after its end takes over."""
    house = House()
    house.pair("a", held=True, process=7)
    await house.round()
    assert house.homes() == []
    house.pair("a", process=7)
    await house.round()
    assert house.homes() == [{"a"}]


async def test_a_dead_process_is_buried_and_its_tenants_are_opened_in_another() -> None:
    """Its leases are given back first, with the reason."""
    house = House()
    house.pair("a", "b")
    await house.round()
    house.children[0].opens("a", "b")
    house.children[0].die()
    await house.round()
    assert house.store.released == [(101, None, "its session process died; it is opened again")]
    assert house.homes() == [{"a", "b"}]
    assert house.children[1].number == 102


async def test_a_burial_that_postgresql_missed_is_held_again() -> None:
    """Nothing is forgotten, and nobody counted twice, when the database is away at that moment."""
    house = House()
    house.pair("a", "b")
    await house.round()
    house.children[0].die("a")
    house.store.away = True
    for _ in range(3):
        with pytest.raises(DatabaseUnavailable):
            await house.round()
    house.store.away = False
    await house.round()
    assert house.homes() == [{"a", "b"}]  # one death makes no suspect


async def test_who_was_opening_at_two_deaths_is_opened_alone_and_stays_alone() -> None:
    """The others are together again; nobody joins a suspect, not even one that was opened well."""
    house = House()
    house.pair("bad", "good", "fine")
    await house.round()
    for _ in range(2):
        child = next(child for child in house.children if "bad" in child.tenants and not child.gone)
        child.opens("good")
        child.die("bad")
        await house.round()
    assert sorted(map(sorted, house.homes())) == [["bad"], ["fine", "good"]]
    alone = next(child for child in house.children if child.tenants == {"bad"} and not child.gone)
    alone.opens("bad")
    house.pair("new")
    await house.round()
    assert sorted(map(sorted, house.homes())) == [["bad"], ["fine", "good", "new"]]


async def test_a_process_that_could_not_reach_postgresql_accuses_nobody() -> None:
    """However often that happens, even while a tenant was opening, another is started a second later, and nobody is
    opened alone or given up."""
    house = House()
    house.pair("a", "b")
    for _ in range(5):
        await house.round()
        assert house.homes() == [{"a", "b"}]
        house.children[-1].status = DATABASE_AWAY
        house.children[-1].die("a")
        await house.round()
        assert house.homes() == []
        house.clock.at += 1.0
    await house.round()
    assert house.homes() == [{"a", "b"}]


async def test_one_death_is_forgiven_by_an_opening() -> None:
    """Deaths count one after another: two in a year make no suspect."""
    house = House()
    house.pair("a", "b")
    for _ in range(4):
        await house.round()
        house.children[-1].opens("a", "b")
        await house.round()
        house.children[-1].die("a")
    await house.round()
    assert house.homes() == [{"a", "b"}]


async def test_four_deaths_are_enough_until_somebody_asks_for_it() -> None:
    """Given up with the reason, and left alone; POST /api/reconnect gives all chances back."""
    house = House()
    house.pair("bad")
    for _ in range(4):
        await house.round()
        house.children[-1].die("bad")
    await house.round()
    await house.round()
    assert house.homes() == []
    assert len(house.children) == 4
    number, tenants, why = house.store.released[-2]
    assert (number, tenants) == (104, ("bad",))
    assert "reconnect" in (why or "")
    call = await house.call("reconnect", "bad")
    assert house.store.answered[call] == {}
    assert house.homes() == [{"bad"}]
    house.children[-1].die("bad")
    await house.round()
    assert house.homes() == [{"bad"}]


async def test_processes_that_cannot_even_begin_are_started_more_and_more_rarely() -> None:
    """A library that is missing must not keep the machine busy; one that opened something counts from the start."""
    house = House()
    house.pair("a")
    await house.round()
    house.children[-1].die()
    await house.round()
    assert len(house.children) == 1
    house.clock.at += 1
    await house.round()
    assert len(house.children) == 2
    house.children[-1].die()
    await house.round()
    house.clock.at += 1
    await house.round()
    assert len(house.children) == 2
    house.clock.at += 1
    await house.round()
    assert len(house.children) == 3
    house.children[-1].opens("a")
    house.children[-1].die()
    await house.round()
    assert len(house.children) == 4


async def test_a_session_that_rests_is_not_opened_unasked() -> None:
    """Replaced, banned, outdated: closed with `rests`, or said by a row of another gateway's. A reconnect opens it."""
    house = House()
    house.pair("a")
    await house.round()
    house.children[0].closes("a", rests=True)
    house.pair("b", state="replaced")
    await house.round()
    await house.round()
    assert house.homes() == [set()]
    await house.call("reconnect", "a")
    await house.call("reconnect", "b")
    assert house.homes() == [{"a", "b"}]


async def test_a_gateway_that_starts_tries_what_rests_once() -> None:
    """Perhaps the ban is over, or this is the newer version."""
    house = House()
    house.pair("a", state="client_outdated")
    await house.round()
    assert house.homes() == [{"a"}]
    house.children[0].closes("a", rests=True)
    await house.round()
    await house.round()
    assert house.homes() == [set()]


async def test_what_rested_here_and_was_woken_elsewhere_is_taken_over_like_any_other() -> None:
    """Otherwise a gateway would never help where it once gave up."""
    house = House()
    house.pair("a")
    await house.round()
    house.children[0].closes("a", rests=True)
    await house.round()
    house.pair("a", held=True, process=7, state="connected")
    await house.round()
    house.pair("a", state="disconnected")
    await house.round()
    assert house.homes() == [{"a"}]


async def test_a_lease_that_somebody_else_took_is_no_reason_to_rest() -> None:
    """Closed without `rests`: opened again as soon as it is free."""
    house = House()
    house.pair("a")
    await house.round()
    house.children[0].closes("a")
    house.pair("a", held=True, process=7)
    await house.round()
    assert house.homes() == [set()]
    house.pair("a")
    await house.round()
    assert house.homes() == [{"a"}]


async def test_a_removed_tenant_is_closed() -> None:
    """Its key is gone: its session is not held any longer."""
    house = House()
    house.pair("a", "b")
    await house.round()
    del house.store.rows["b"]
    await house.round()
    assert house.children[0].told[-1] == Close("b")


async def test_pairing_has_a_process_of_its_own_which_is_left_when_it_is_done() -> None:
    """A second question goes to the same one, also with a number for a code; the tenant is opened elsewhere then, and
    its end is no death."""
    house = House()
    house.pair("a", paired=False)
    await house.call("pair", "a")
    await house.call("pair", "a", number="628111")
    [child] = house.children
    assert child.told == [Pair("a"), Pair("a", "628111")]
    house.pair("a", state="connecting")
    child.closes("a")
    await house.round()
    assert [c.tenants for c in house.children] == [set(), {"a"}]
    child.gone = True
    await house.round()
    assert house.homes() == [{"a"}]


async def test_a_pairing_that_dies_is_told_as_such_and_can_begin_anew() -> None:
    """The reason says what to do; the next question gets a new process."""
    house = House()
    house.pair("a", paired=False)
    await house.call("pair", "a")
    house.children[0].die()
    await house.round()
    assert house.store.released == [(101, None, "the process that was pairing died; ask for a new code")]
    await house.call("pair", "a")
    assert house.children[1].told == [Pair("a")]


async def test_commands_that_cannot_be_carried_out_are_refused_by_name() -> None:
    """Each with its own code."""
    house = House()
    house.pair("paired", state="replaced", held=True, process=7)
    house.pair("unpaired", paired=False)
    refused = {
        await house.call("reconnect", "nobody"): "no_such_session",
        await house.call("reconnect", "unpaired"): "not_paired",
        await house.call("pair", "paired"): "already_paired",
        await house.call("logout", "paired"): "not_connected",
    }
    assert {call: house.store.answered[call]["refused"] for call in refused} == refused


async def test_a_call_to_a_process_that_dies_is_answered_all_the_same() -> None:
    """Whoever waits is told, and does not wait for the end of his patience."""
    house = House()
    house.pair("a")
    await house.round()
    house.children[0].opens("a")
    answered, lost = await house.call("reconnect", "a"), await house.call("logout", "a")
    child = house.children[0]
    assert child.told[-2:] == [Reconnect("a", answered), Logout("a", lost)]
    child.calls.discard(answered)
    child.answers.append(Answered(answered))
    child.die()
    await house.round()
    assert house.store.answered[answered] == {}
    assert house.store.answered[lost]["refused"] == "session_process_died"


async def test_close_ends_all_processes_and_gives_back_their_leases() -> None:
    """Also when a process was killed before it could do so itself; nobody is opened meanwhile."""
    house = House(per_process=1)
    house.pair("a", "b")
    await house.round()
    await house.supervisor.close(1)
    await house.round()
    assert house.homes() == []
    assert len(house.children) == 2
    assert (101, None, "the gateway was stopped") in house.store.released


HANDED_OVER = "handed over to another process, which opens it"


async def test_each_of_two_takes_its_share_at_once_and_the_rest_when_nobody_else_does() -> None:
    """Half of five, rounded up; what the other one has not taken after four seconds is taken as well."""
    house = House()
    house.store.peers.add(70_000)
    house.pair("a", "b", "c", "d", "e")
    await house.round()
    assert house.homes() == [{"a", "b", "c"}]
    house.clock.at += 3.9
    await house.round()
    assert house.homes() == [{"a", "b", "c"}]
    house.clock.at += 0.1
    await house.round()
    assert house.homes() == [{"a", "b", "c", "d", "e"}]


async def test_who_joins_is_handed_one_session_after_the_other() -> None:
    """One at a time, the next when the one before is closed, until each has its share."""
    house = House()
    house.pair("a", "b", "c", "d")
    await house.round()
    [child] = house.children
    house.store.peers.add(70_000)
    await house.round()
    assert not any(isinstance(order, Close) for order in child.told)
    house.clock.at += 5  # it may have come to stay
    for given in ("d", "c"):
        house.pair("a", "b", "c", "d", held=True, process=101)
        await house.round()
        await house.round()
        assert [order for order in child.told if isinstance(order, Close)][-1] == Close(given, HANDED_OVER)
        child.closes(given)
        house.pair(given, held=True, process=70_001)
        await house.round()
    await house.round()
    assert child.tenants == {"a", "b"}
    assert len([order for order in child.told if isinstance(order, Close)]) == 2


async def test_what_nobody_takes_is_taken_back_and_there_is_peace() -> None:
    """Another supervisor that cannot open anything does not cost sessions their connection again and again: half a
    minute, a minute and so on; until somebody else joins."""
    house = House()
    house.pair("a", "b")
    await house.round()
    [child] = house.children
    house.store.peers.add(70_000)

    async def closed(times: int) -> None:
        await house.round()
        assert len([order for order in child.told if isinstance(order, Close)]) == times

    await house.round()
    house.clock.at += 5
    for times, peace in ((1, 30), (2, 60), (3, 120)):
        await closed(times)
        child.closes("b")
        await closed(times)
        house.clock.at += 19
        await closed(times)
        assert house.homes() == [{"a"}]
        house.clock.at += 1
        await closed(times)
        assert house.homes() == [{"a", "b"}]
        house.clock.at += peace - 1
        await closed(times)
        house.clock.at += 1
    house.store.peers.add(900_000)  # who joins now may be able to
    await closed(3)
    house.clock.at += 5
    await closed(4)


async def test_what_was_handed_over_has_its_time_also_when_it_is_closed_late() -> None:
    """It is left to the other one for twenty seconds, though a look round came before it was free."""
    house = House()
    house.pair("a", "b")
    await house.round()
    [child] = house.children
    house.store.peers.add(70_000)
    await house.round()
    house.clock.at += 5
    house.pair("a", "b", held=True, process=101)
    await house.round()
    assert child.told[-1] == Close("b", HANDED_OVER)
    await house.round()
    child.closes("b")
    house.pair("b")
    await house.round()
    house.clock.at += 19
    await house.round()
    assert house.homes() == [{"a"}]
    house.clock.at += 1
    await house.round()
    assert house.homes() == [{"a", "b"}]


async def test_who_has_less_than_its_share_has_a_process_ready() -> None:
    """What is handed over is opened at once, and not when a process has started; one that has nobody is enough."""
    house = House()
    house.store.peers.add(70_000)
    house.pair("a", "b", held=True, process=70_001)
    for _ in range(3):
        await house.round()
    assert house.homes() == [set()]
    house.pair("a")
    await house.round()
    assert house.homes() == [{"a"}]


async def test_a_few_more_than_its_share_are_kept() -> None:
    """Twelve of twenty-two: a hand-over costs a connection, and is not worth the last one."""
    house = House()
    tenants = [f"t{number:02}" for number in range(22)]
    house.pair(*tenants)
    house.store.peers.add(70_000)
    await house.round()
    house.clock.at += 5
    await house.round()
    assert house.homes() == [set(tenants)]
    for _ in range(15):
        await house.round()
        closing = [order.tenant for order in house.children[0].told if isinstance(order, Close)]
        if closing:
            house.children[0].closes(closing[-1])
            house.pair(closing[-1], held=True, process=70_001)
    assert len(house.children[0].tenants) == 12
