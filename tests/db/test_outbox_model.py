"""The outbox's SQL in a world of its own: in whatever order processes act, stand still, lose their lease and die,
nothing is lost, nothing arrives twice unmarked, order is kept, and the books are right."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from db.database import Database
from tests.conftest import PATIENT
from tests.db.candidates import KEY, Door, candidate, limited
from tests.db.outbox_world import DEVICE, TENANT, Hand, Process, World, rows
from tests.db.whatsmeow_store import Store as Whatsmeow

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")
PEOPLE = ("62811", "62822", "62833")
RANK = {"urgent": 1, "normal": 2, "bulk": 3}
PICK = st.integers(0, 5)
"""Which of those that there are."""

STEPS = st.integers(0, 4)
SENT = ("sent", "delivered")
NEVER_LEFT = ("failed", "expired", "cancelled")

EMPTY = """
  TRUNCATE messages, attempts, lines, daily_limits, quota_counters, events, event_heads, idempotency_keys,
           whatsmeow_message_secrets, whatsmeow_sessions;
  UPDATE sessions SET process = NULL, leased_until = NULL, fence = 0
"""
TRIGGERS = """
  SELECT wa_attend_v1('message_secrets'), wa_attend_v1('sessions'), wa_attend_v1('sender_keys'),
         wa_install_fence_v1('sessions'), wa_install_fence_v1('sender_keys')
"""
BEFORE = """
  SELECT e.id FROM messages m JOIN messages e ON e.recipient = m.recipient AND e.id <> m.id
   WHERE m.id = %s AND (e.status = 'sending' OR e.status = 'queued' AND e.priority <= m.priority AND e.seq < m.seq)
"""


@dataclass
class Ground:
    """What all examples share: a database, and a loop for the door to it."""

    url: str
    runner: asyncio.Runner
    door: Door


class Outbox(RuleBasedStateMachine):
    """One tenant, three people, up to three processes."""

    ground: Ground

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.ground.url)
        self.world.ask(EMPTY)
        self.messages: list[str] = []
        self.secrets = 0
        self.lease(self.world.begin())

    def teardown(self) -> None:
        """Whatever has happened: one last process brings everything to its end."""
        try:
            self.bring_to_rest()
            self.check_the_end()
        finally:
            self.world.close()

    # Who is there

    @precondition(lambda self: len(self.world.processes) < 3)
    @rule()
    def a_process_begins(self) -> None:
        self.world.begin()

    @precondition(lambda self: self.world.processes)
    @rule(pick=PICK)
    def a_process_dies(self, pick: int) -> None:
        self.world.end(self.one(pick, self.world.processes))

    @precondition(lambda self: self.world.processes)
    @rule(pick=PICK)
    def takes_the_lease(self, pick: int) -> None:
        """Only a lease that is free is given; whoever gets it anew has lost its old clients."""
        process = self.one(pick, self.world.processes)
        self.lease(process)

    @rule()
    def the_lease_runs_out(self) -> None:
        self.world.ask("UPDATE sessions SET leased_until = clock_timestamp() - interval '1 second'")

    @precondition(lambda self: self.idle())
    @rule(pick=PICK)
    def lets_go(self, pick: int) -> None:
        process = self.one(pick, self.idle())
        self.world.ask("SELECT release_v1(%s, %s, 'leaves')", process.number, [TENANT])

    # Messages

    @rule(to=st.sampled_from(PEOPLE), priority=st.sampled_from(sorted(RANK)), paced=st.booleans())
    def admit(self, to: str, priority: str, paced: bool) -> None:
        made = candidate(to, said=limited(6), priority=priority, gap=0.001 if paced else 0.0)
        [outcome] = self.wait(self.ground.door.admit(made))
        if outcome.outcome == "queued":
            self.messages.append(outcome.message_id)

    @precondition(lambda self: self.idle())
    @rule(pick=PICK, hears=st.booleans())
    def claim(self, pick: int, hears: bool) -> None:
        """Sometimes the answer is lost on its way."""
        process = self.one(pick, self.idle())
        hand = self.claimed(process)
        process.hand = hand if hears else None

    @precondition(lambda self: self.messages)
    @rule(pick=PICK)
    def cancel(self, pick: int) -> None:
        self.world.ask("SELECT drop_v1(ARRAY[%s::uuid], 'cancelled', NULL)", self.one(pick, self.messages))

    @precondition(lambda self: self.messages)
    @rule(pick=PICK)
    def expire(self, pick: int) -> None:
        message = self.one(pick, self.messages)
        self.world.ask("UPDATE messages SET expires_at = now() WHERE id = %s AND status = 'queued'", message)
        self.wait(self.ground.door.store.expire())

    # What the library does for a process, and what the process writes down

    @rule(to=st.sampled_from(PEOPLE), priority=st.sampled_from(sorted(RANK)), steps=STEPS, is_written=st.booleans())
    def one_is_sent_some_way(self, to: str, priority: str, steps: int, is_written: bool) -> None:
        """By whoever holds the lease and has nothing else in hand."""
        self.admit(to, priority, paced=False)
        for process in self.idle():
            if process.hand is None and (hand := self.claimed(process)) is not None:
                process.hand = hand
                self.go_on(process, steps, is_written=is_written)
                return

    @precondition(lambda self: self.holding())
    @rule(pick=PICK, steps=STEPS, is_written=st.booleans())
    def one_goes_on(self, pick: int, steps: int, is_written: bool) -> None:
        """Also one whose lease is long lost."""
        self.go_on(self.one(pick, self.holding()), steps, is_written=is_written)

    @precondition(lambda self: self.holding())
    @rule(pick=PICK, dies=st.booleans(), steps=STEPS)
    def another_takes_over(self, pick: int, dies: bool, steps: int) -> None:
        """From one that is dead, or only asleep and goes on when it wakes; and settles what that had in hand."""
        process = self.one(pick, self.holding())
        if dies:
            self.world.end(process)
        elif len(self.world.processes) == 3:
            return
        self.the_lease_runs_out()
        assert self.lease(self.world.begin())
        self.settle()
        if not dies:
            self.go_on(process, steps, is_written=True)

    @precondition(lambda self: self.holding(sealed=True))
    @rule(pick=PICK)
    def whatsapp_does_not_answer(self, pick: int) -> None:
        process = self.one(pick, self.holding(sealed=True))
        self.record(process, "unknown", "timeout")

    @precondition(lambda self: self.holding(sealed=False))
    @rule(pick=PICK, for_good=st.booleans(), is_own=st.booleans())
    def it_cannot_be_sent(self, pick: int, for_good: bool, is_own: bool) -> None:
        """It fails, or stands in line again."""
        process = self.one(pick, self.holding(sealed=False))
        if for_good:
            self.record(process, "failed", "refused")
        else:
            self.requeue(process, is_own=is_own)

    @precondition(lambda self: self.world.arrived)
    @rule(pick=PICK, status=st.sampled_from(SENT))
    def a_receipt(self, pick: int, status: str) -> None:
        ids = self.world.arrived[self.one(pick, sorted(self.world.arrived))]
        self.world.ask("SELECT acked_v2(%s, %s, %s)", TENANT, [self.one(pick, ids)], status)

    @rule(pick=PICK)
    def a_phone_asks_again(self, pick: int) -> None:
        """It cannot read what it got, and whoever sent that is gone. What goes once more is as if it had not come."""
        told = self.world.ask("SELECT id::text, wa_id FROM messages WHERE status = ANY (%s) ORDER BY seq", list(SENT))
        if told:
            message, asked = self.one(pick, told)
            again = self.world.ask("SELECT id::text FROM asked_again_v1(%s, %s, '{}')", TENANT, [asked])
            if again:
                assert again == [(message,)]
                self.world.is_unreadable(message, asked)

    # What gateways do about it

    @rule()
    def settle(self) -> None:
        self.world.ask("SELECT settle_v1(interval '0', NULL)")

    @rule()
    def resend(self) -> None:
        self.world.ask("SELECT resend_v1(%s)", [TENANT])

    @rule()
    def minutes_pass(self) -> None:
        """For what waits for a receipt or for its next try."""
        self.world.ask("""
          UPDATE messages SET settled_at = settled_at - interval '11 minutes', retry_at = NULL
           WHERE status = 'sending' AND process IS NULL OR status = 'queued'
        """)

    @rule()
    def postgres_was_away(self) -> None:
        """Since every claim that there is."""
        self.world.ask("""
          UPDATE attempts SET began_at = began_at - interval '1 year';
          UPDATE messages SET claimed_at = claimed_at - interval '1 year'
        """)

    # What always holds

    @invariant()
    def every_promise_is_kept(self) -> None:
        self.nothing_arrives_twice_unmarked()
        self.the_books_do_not_say_more_than_is_true()
        self.one_at_a_time_for_each_person()
        self.counters_lines_and_events_are_right()

    def nothing_arrives_twice_unmarked(self) -> None:
        for message, ids in self.world.arrived.items():
            if len(ids) > 1:
                [(steps,)] = self.world.ask("SELECT history FROM messages WHERE id = %s", message)
                told = [step["status"] for step in steps]
                assert "unknown" in told, (ids, steps)
                assert "sending" in told[told.index("unknown") :], (ids, steps)

    def the_books_do_not_say_more_than_is_true(self) -> None:
        for message, status, steps in self.world.ask("SELECT id::text, status, history FROM messages"):
            if status in NEVER_LEFT:
                assert message not in self.world.arrived, steps
            if status in SENT:
                assert message in self.world.arrived, steps

    def one_at_a_time_for_each_person(self) -> None:
        many = "SELECT recipient FROM messages WHERE status = 'sending' GROUP BY 1 HAVING count(*) > 1"
        assert self.world.ask(many) == []

    def counters_lines_and_events_are_right(self) -> None:
        self.wait(self.ground.door.check_books())
        assert self.world.ask("SELECT FROM events HAVING count(*) <> coalesce(max(seq), 0)") == []

    # How it ends

    def bring_to_rest(self) -> None:
        """Everybody dies; a new process takes over, settles, and sends all that is queued."""
        for process in list(self.world.processes):
            self.world.end(process)
        last = self.world.begin()
        assert self.lease(last)
        for _ in range(2):
            self.settle()
            self.minutes_pass()
        while hand := self.claimed(last):
            last.hand = hand
            self.world.give_id(last, is_written=True)
            self.world.seal(last)
            self.world.let_out(last)
            self.record(last, "sent", None)
        for ids in self.world.arrived.values():
            self.world.ask("SELECT acked_v2(%s, %s, 'delivered')", TENANT, ids)

    def check_the_end(self) -> None:
        """Every message has its last word, and only what says so is on no phone. What could be known, is."""
        self.every_promise_is_kept()
        left = self.world.ask("SELECT id::text, status, wa_id, history FROM messages")
        assert {message for message, *_ in left} == set(self.messages)
        for message, status, wa_id, steps in left:
            assert status in ("unknown", *SENT, *NEVER_LEFT), steps
            if status == "unknown":
                assert message not in self.world.arrived or wa_id not in self.world.arrived[message], steps
        waiting = self.world.ask("SELECT FROM lines WHERE 0 <> ANY (waiting)")
        assert waiting == []

    # What the rules are made of

    def one(self, pick: int, among: Sequence[T]) -> T:
        return among[pick % len(among)]

    def wait(self, work: Any) -> Any:
        return self.ground.runner.run(work)

    def idle(self) -> list[Process]:
        return [process for process in self.world.processes if process.hand is None]

    def holding(self, **facts: Any) -> list[Process]:
        """Processes that have a message in hand of which all this is true."""
        return [
            process
            for process in self.world.processes
            if process.hand is not None and all(getattr(process.hand, name) == fact for name, fact in facts.items())
        ]

    def go_on(self, process: Process, steps: int, *, is_written: bool) -> None:
        """What the library does, so many steps of it: an id, a ciphertext, the frame, WhatsApp's answer."""
        for _ in range(steps):
            hand = process.hand
            if hand is None or hand.refused:
                return
            if hand.wa_id is None:
                self.world.give_id(process, is_written=is_written)
            elif not hand.sealed:
                self.seal(process)
            elif not hand.left:
                self.world.let_out(process)
            else:
                self.record(process, "sent", None)

    def seal(self, process: Process) -> None:
        """Who has lost the lease is stopped, and nobody else."""
        [(fence,)] = self.world.ask("SELECT fence FROM sessions")
        self.world.seal(process)
        assert process.hand is not None
        assert process.hand.sealed == (process.fence == fence)

    def lease(self, process: Process) -> bool:
        asked = self.world.ask("SELECT fence FROM lease_v2(%s, %s, interval '1 hour')", process.number, [TENANT])
        if asked and asked[0][0] != process.fence:
            process.fence = asked[0][0]
            rows(process.library, "SELECT set_config('wa.fence', %s, false)", str(process.fence))
            if process.hand is not None and not process.hand.sealed:
                process.hand.refused = True
        return bool(asked)

    def claimed(self, process: Process) -> Hand | None:
        """Only the holder gets something; only what nothing for the same person goes before."""
        self.secrets += 1
        secret = hashlib.sha256(str(self.secrets).encode()).digest()
        self.world.ask("UPDATE lines SET paced_at = '-infinity'")
        got = self.world.ask("SELECT id::text, secret FROM claim_v3(%s, %s, %s, false)", TENANT, process.number, secret)
        if not got or got[0][0] is None:
            return None
        [(message, given)] = got
        assert self.world.ask("SELECT process FROM sessions") == [(process.number,)]
        assert self.world.ask(BEFORE, message) == []
        return Hand(message, bytes(given))

    def record(self, process: Process, status: str, why: str | None) -> None:
        hand, process.hand = process.hand, None
        assert hand is not None
        wa_id = hand.wa_id if status == "sent" else None
        self.world.ask(
            "SELECT record_v2(%s, %s, %s, %s, %s, %s, %s)",
            hand.message, process.number, hand.secret, status, why, wa_id, status == "failed",
        )  # fmt: skip

    def requeue(self, process: Process, *, is_own: bool) -> None:
        hand, process.hand = process.hand, None
        assert hand is not None
        self.world.ask(
            "SELECT requeue_v2(%s, %s, %s, 'disconnected', %s, interval '0')",
            hand.message, process.number, hand.secret, is_own,
        )  # fmt: skip


@pytest.mark.timeout(600)
def test_whatever_happens_nothing_is_lost_and_nothing_doubled(database_url: str) -> None:
    """Random histories of 40 steps, the same in every run: claims, answers, deaths, take-overs, sleepers that wake,
    receipts, cancellations, and one more process that finishes it all."""
    world = World(database_url)
    world.ask((Path(__file__).parents[2] / "db" / "whatsmeow" / "v15.sql").read_text("utf-8"))
    Whatsmeow(database_url, None).link(DEVICE)
    world.ask(TRIGGERS)
    world.ask("INSERT INTO api_keys (tenant_id, api_key) VALUES (%s, %s)", TENANT, KEY)
    world.ask("INSERT INTO sessions (tenant_id, state, jid) VALUES (%s, 'connected', %s)", TENANT, DEVICE)
    world.close()
    with asyncio.Runner() as runner:
        database = runner.run(Database.open(database_url, size=1, **PATIENT))
        try:
            Outbox.ground = Ground(database_url, runner, Door(database))
            run_state_machine_as_test(Outbox, settings=SETTINGS)
        finally:
            runner.run(database.close())


SETTINGS = settings(
    max_examples=15,
    stateful_step_count=40,
    derandomize=True,
    database=None,
    phases=(Phase.generate,),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
