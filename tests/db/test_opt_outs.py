"""Who opted out is refused inside the admission statement; what the list keeps, and when it changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import structs

from core.decisions import Deny, Listed, Quota
from core.paths.batch import encode
from db.opt_out_store import OptOutStore
from tests.db.candidates import KEY, Door, candidate, limited, says
from tests.plugin_kit import incoming

if TYPE_CHECKING:
    from core.model import Incoming
    from db.database import Database

OPTED_OUT = Deny("opted_out", "asked for no more", when=Listed.OPT_OUT)
PHONE, LID = "628111", "1234567890@lid"
NOON = datetime(2026, 1, 5, 5, tzinfo=UTC)


@pytest.fixture
async def door(db: Database) -> Door:
    door = Door(db)
    await door.store.add_tenant("shop", KEY)
    return door


@pytest.fixture
def list_(db: Database) -> OptOutStore:
    return OptOutStore(db)


def wrote(message_id: str, text: str = "STOP", sender: str = PHONE, minutes: float = 0, **more: Any) -> Incoming:
    """A message of the person, so many minutes after noon."""
    at = NOON + timedelta(minutes=minutes)
    return incoming(id=message_id, content=text, sender=sender, chat=sender, at=at, **more)


def wary(to: str = PHONE, **more: Any) -> Any:
    """A message under the usual limit and the condition that nobody opted out."""
    return candidate(to, said=(*limited(3), *says("opt_out", OPTED_OUT)), **more)


async def outs(list_: OptOutStore, tenant: str = "shop") -> list[str]:
    return [one.to for one in await list_.page(tenant, "", 100)]


async def is_out(door: Door, to: str) -> bool:
    [outcome] = await door.store.preview(encode([wary(to)]))
    return outcome.outcome == "denied"


async def test_who_opted_out_is_denied_and_nothing_stays(door: Door, list_: OptOutStore) -> None:
    """Not stored, not counted, the key given back, though the number is on the whitelist; the others in the batch
    pass."""
    await door.store.whitelist_add("shop", PHONE)
    await list_.add("shop", wrote("A"))
    batch = [wary(), wary("628222", client_ref="k2"), wary(client_ref="k1"), wary(client_ref="k1")]
    outcomes = await door.admit(*batch)
    assert [(o.outcome, o.denied) for o in outcomes] == [("denied", 1), ("queued", None), ("denied", 1), ("denied", 1)]
    assert await door.statuses() == {"queued": 1}
    assert (await door.counted(PHONE), await door.counted("628222")) == (0, 1)
    assert await door.db.fetch("SELECT client_ref FROM idempotency_keys") == [("k2",)]
    await door.check_books()


async def test_only_who_says_so_is_refused(door: Door, list_: OptOutStore) -> None:
    """Without the conditional Deny the list means nothing: a message that may pass, passes."""
    await list_.add("shop", wrote("A"))
    [passed] = await door.admit(candidate(said=limited(3)))
    assert passed.outcome == "queued"


async def test_the_first_deny_that_holds_is_told(door: Door, list_: OptOutStore) -> None:
    """A Deny on another list does not hold, and the answer says which one does."""
    await list_.add("shop", wrote("A"))
    listed = Deny("a_first", "whitelisted", when=Listed.WHITELIST)
    either = Deny("c_third", "either", when=Listed.WHITELIST | Listed.OPT_OUT)
    said = says("x", Quota(0), either, OPTED_OUT, listed)
    [outcome] = await door.admit(candidate(said=said))
    assert (outcome.outcome, outcome.denied) == ("denied", 2)
    await door.store.whitelist_add("shop", PHONE)
    [outcome] = await door.admit(candidate(said=said))
    assert (outcome.outcome, outcome.denied) == ("denied", 1)


async def test_what_was_accepted_before_is_still_replayed(door: Door, list_: OptOutStore) -> None:
    """Its key answers with the message, also when its recipient is out by now; the batch itself may be repeated."""
    batch = encode([wary(client_ref="k")])
    [first] = await door.store.admit(batch)
    await list_.add("shop", wrote("A"))
    [again], [repeated] = await door.admit(wary(client_ref="k")), await door.store.admit(batch)
    assert (again.outcome, repeated.outcome) == ("replayed", "replayed")
    assert again.message_id == repeated.message_id == first.message_id
    assert again.status == "cancelled"


async def test_what_was_queued_is_cancelled_and_gives_back_what_it_counted(door: Door, list_: OptOutStore) -> None:
    """By every address of the person; not what has no such condition, not another's, not another tenant's."""
    key = "sha256:" + "1" * 64
    await door.store.add_tenant("bank", key)
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    mine = [wary(), wary(LID), wary(send_at=tomorrow, lifetime=2 * 86400)]
    others = [candidate(PHONE), wary("628222"), structs.replace(wary(tenant="bank"), key=key)]
    outcomes = await door.admit(*mine, *others)
    _, dropped = await list_.add("shop", wrote("A", phone=PHONE, lid=LID))
    assert sorted(change.message_id for change in dropped) == sorted(o.message_id for o in outcomes[:3])
    assert {(change.status, change.cause, change.tenant) for change in dropped} == {("cancelled", "opted_out", "shop")}
    assert await door.statuses() == {"cancelled": 3, "queued": 3}
    assert await door.counted(PHONE) == 0
    await door.check_books()
    assert await list_.add("shop", wrote("A", phone=PHONE, lid=LID)) == (True, [])


async def test_one_message_brings_it_about_however_often_it_is_shown(list_: OptOutStore) -> None:
    """True again for the same message, so that a confirmation lost in a crash still goes; false for the next STOP,
    which changes no proof."""
    assert [(await list_.add("shop", wrote(i, minutes=n)))[0] for n, i in enumerate("AABA")] == [
        True,
        True,
        False,
        True,
    ]
    [proof] = await list_.page("shop", "", 10)
    assert (proof.to, proof.message_id, proof.content, proof.chat, proof.since) == (PHONE, "A", "STOP", PHONE, NOON)


async def test_back_and_out_again(door: Door, list_: OptOutStore) -> None:
    """START is true once per stay; the next STOP counts anew, with its own proof."""
    assert not await list_.remove("shop", wrote("Z", "START"))
    await list_.add("shop", wrote("A"))
    assert [await list_.remove("shop", wrote(i, "START", minutes=1)) for i in "BBC"] == [True, True, False]
    assert (await outs(list_), await is_out(door, PHONE)) == ([], False)
    assert (await list_.add("shop", wrote("D", minutes=2)))[0]
    assert [one.message_id for one in await list_.page("shop", "", 10)] == ["D"]
    assert not await list_.remove("shop", wrote("B", "START", minutes=1))
    assert await is_out(door, PHONE)


async def test_what_was_written_later_holds(door: Door, list_: OptOutStore) -> None:
    """A STOP that is shown again, or late, after its writer came back changes nothing; nor does a START from before."""
    await list_.add("shop", wrote("A"))
    assert not await list_.remove("shop", wrote("Y", "START", minutes=-1))
    await list_.remove("shop", wrote("B", "START", minutes=2))
    for late in (wrote("A"), wrote("X", minutes=1)):
        assert not (await list_.add("shop", late))[0]
    assert not await is_out(door, PHONE)


async def test_the_proof_of_both_stays_when_somebody_is_back(list_: OptOutStore, db: Database) -> None:
    """Which messages said so, and with which words."""
    await list_.add("shop", wrote("A", "Berhenti!"))
    await list_.remove("shop", wrote("B", "Mulai", minutes=1))
    assert await db.fetch("SELECT message_id, content, back_message_id, back_content FROM opt_outs") == [
        ("A", "Berhenti!", "B", "Mulai")
    ]


async def test_a_person_is_out_by_number_and_by_lid(door: Door, list_: OptOutStore) -> None:
    """Both addresses are refused, the list shows the person once, and either brings them back from both."""
    for number, back in enumerate((PHONE, LID)):
        stop = wrote(f"A{number}", minutes=10 * number, phone=PHONE, lid=LID)
        assert (await list_.add("shop", stop))[0]
        assert await outs(list_) == [PHONE]
        assert [await is_out(door, to) for to in (PHONE, LID)] == [True, True]
        assert await list_.remove("shop", wrote(f"B{number}", "START", sender=back, minutes=10 * number + 1))
        assert [await is_out(door, to) for to in (PHONE, LID)] == [False, False]


async def test_an_address_that_is_learnt_later_belongs_to_the_same_person(door: Door, list_: OptOutStore) -> None:
    """The second STOP tells the number; no second confirmation, one entry, out by both, back by either."""
    await list_.add("shop", wrote("A", sender=LID, lid=LID))
    assert await outs(list_) == [LID]
    assert not (await list_.add("shop", wrote("B", sender=PHONE, phone=PHONE, lid=LID, minutes=1)))[0]
    assert await outs(list_) == [PHONE]
    assert [await is_out(door, to) for to in (PHONE, LID)] == [True, True]
    await list_.remove("shop", wrote("C", "START", sender=LID, minutes=2))
    assert [await is_out(door, to) for to in (PHONE, LID)] == [False, False]


async def test_another_tenants_list_means_nothing_here(door: Door, list_: OptOutStore) -> None:
    """Out of one shop is not out of all; and nobody comes back by a word to another."""
    await list_.add("bank", wrote("A"))
    assert not await is_out(door, PHONE)
    assert not await list_.remove("shop", wrote("B", "START", minutes=1))
    assert (await outs(list_), await outs(list_, "bank")) == ([], [PHONE])


async def test_no_group_is_ever_out(list_: OptOutStore, db: Database) -> None:
    """Whatever a plugin hands in: the list is of people."""
    await list_.add("shop", wrote("A", sender="120363@g.us"))
    assert await db.fetch("SELECT * FROM opt_outs") == []


async def test_pages(list_: OptOutStore) -> None:
    """By address, going on behind the last."""
    for n in range(5):
        await list_.add("shop", wrote(f"A{n}", sender=f"62811{n}"))
    first = [one.to for one in await list_.page("shop", "", 3)]
    assert first == ["628110", "628111", "628112"]
    assert [one.to for one in await list_.page("shop", first[-1], 3)] == ["628113", "628114"]


async def test_a_removed_tenants_list_stays(door: Door, list_: OptOutStore) -> None:
    """A person's no outlives a key: whoever makes the tenant anew must not write to them."""
    await list_.add("shop", wrote("A"))
    await door.store.remove_tenant("shop")
    assert await outs(list_) == [PHONE]
