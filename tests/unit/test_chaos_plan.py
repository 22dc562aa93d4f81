"""A chaos run's plan: the same for the same seed, and with everything in it that was asked for."""

from collections import Counter

from core.failpoints import NAMES
from tests.chaos.plan import planned


def test_the_seed_is_the_plan() -> None:
    """Equal seeds give equal plans, strike by strike; another seed another one."""
    one, same, other = (planned(seed, messages=200, tenants=4, kills=20) for seed in (7, 7, 8))
    assert one == same
    assert one.strikes != other.strikes


def test_it_holds_what_was_asked_for() -> None:
    """So many SIGKILLs, every message and letter once, every failpoint at least once."""
    plan = planned(1, messages=1000, tenants=5, kills=60)
    assert sum(strike.kills for strike in plan.strikes) == 60
    assert sorted(message.ref for message in plan.messages) == [f"m{number:06}" for number in range(1000)]
    assert sum(len(strike.letters) for strike in plan.strikes) == 250
    killed_at = Counter(strike.point for strike in plan.strikes if strike.action == "kill")
    assert set(killed_at) == set(NAMES)
    assert max(killed_at.values()) - min(killed_at.values()) <= 1


def test_messages_go_to_people_of_their_tenant() -> None:
    """A person belongs to one tenant, so that what is on a phone has one sender."""
    plan = planned(3, messages=300, tenants=3, kills=12)
    assert all(message.to in plan.people[message.tenant] for message in plan.messages)
    numbers = [number for people in plan.people.values() for number in people]
    assert len(set(numbers)) == len(numbers)
    assert not set(numbers) & set(plan.tenants.values())


def test_what_stops_lasts_longer_than_a_lease() -> None:
    """Somebody else has taken over by the time that it wakes; and it is not yet taken for stuck."""
    plan = planned(5, messages=10, tenants=2, kills=100)
    lasting = [strike.lasts for strike in plan.strikes if strike.kind.startswith("stop") or strike.action == "stop"]
    assert lasting
    assert all(15 < seconds < 20 for seconds in lasting)
