"""How long tenants were away is measured from strikes, connections and events."""

from __future__ import annotations

from tests.chaos.facts import Blow, Event, Facts, Login
from tests.chaos.takeover import absences, figures, takeovers


def connected(tenant: str, at: float) -> Event:
    return Event(tenant, 1, "session.connected", None, at)


LOGINS = (
    Login("a", 50.0, 100.2),
    Login("b", 50.0, 100.3),
    Login("c", 50.0, 160.0),
    Login("a", 104.0, None),
    Login("b", 107.0, None),
)
EVENTS = (connected("a", 50.0), connected("a", 104.0), connected("b", 107.0), connected("c", 161.5))
KILL = Blow(100.0, "kill session process", takes=2.0)


def test_a_takeover_lasts_until_all_tenants_of_the_process_are_connected() -> None:
    """Seven seconds: the second of the two came back last. The third was another process's."""
    facts = Facts(logins=LOGINS, events=EVENTS, blows=(KILL, Blow(159.9, "leave")))
    assert takeovers(facts) == [7.0]
    assert takeovers(facts, undisturbed=True) == [7.0]
    assert sorted(round(seconds, 1) for seconds in absences(facts)) == [1.5, 3.8, 6.7]


def test_a_takeover_is_disturbed_by_what_strikes_meanwhile() -> None:
    """It counts among all, and not among the undisturbed."""
    facts = Facts(logins=LOGINS, events=EVENTS, blows=(KILL, Blow(103.0, "kill postgres")))
    assert takeovers(facts) == [7.0]
    assert takeovers(facts, undisturbed=True) == []


def test_a_process_without_tenants_is_no_takeover() -> None:
    """Nothing to measure."""
    assert takeovers(Facts(logins=LOGINS, events=EVENTS, blows=(Blow(120.0, "kill session process", 2.0),))) == []
    assert (figures([]), figures([1.0, 2.0, 6.0])) == ("none", "median 2.0 s, at most 6.0 s, of 3")
