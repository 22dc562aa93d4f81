"""However many plugins speak in whatever order, one verdict comes of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.decisions import Decision, Deny, Exempt, Listed, Quota, Said, merge

names = st.sampled_from(["daily_limit", "delay", "weekly"])
whens = st.sampled_from([None, Listed.WHITELIST, Listed.REPLY, Listed.OPT_OUT, Listed.WHITELIST | Listed.REPLY])
denies = st.builds(
    Deny,
    st.sampled_from(["closed", "opted_out"]),
    st.sampled_from(["a", "b"]),
    st.sampled_from([None, 5.0, 7.0]),
    whens,
)
quotas = st.builds(
    Quota, st.integers(0, 3), names | st.just(""), st.sampled_from(["day", "week"]), cost=st.integers(1, 2), when=whens
)
exempts = st.builds(Exempt, st.lists(names, max_size=2).map(tuple), whens)
said = st.lists(st.builds(Said, names, st.one_of(denies, quotas, exempts)), max_size=8)


@given(said, st.randoms())
def test_order_does_not_matter(everything: list[Said], random: object) -> None:
    """The same decisions in another order are the same verdict, but for the record of who said what."""
    shuffled = list(everything)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = merge(everything), merge(shuffled)
    assert (one.deny, one.denied_when, one.quotas, one.waived, one.waived_when) == (
        other.deny,
        other.denied_when,
        other.quotas,
        other.waived,
        other.waived_when,
    )
    assert one.said == tuple(everything)


@given(said)
def test_deny_beats_all(everything: list[Said]) -> None:
    """One Deny is enough, whoever else exempts; a final one beats one that says when to come back."""
    verdict = merge(everything)
    denied = [one.decision for one in everything if isinstance(one.decision, Deny) and one.decision.when is None]
    assert (verdict.deny is None) == (not denied)
    if any(deny.retry_after is None for deny in denied):
        assert verdict.deny is not None
        assert verdict.deny.retry_after is None


@given(said)
def test_a_deny_on_a_list_is_decided_by_the_statement(everything: list[Said]) -> None:
    """Each once; the one without a way back is asked about first."""
    verdict = merge(everything)
    conditional = [one.decision for one in everything if isinstance(one.decision, Deny) and one.decision.when]
    assert set(verdict.denied_when) == set(conditional)
    assert len(verdict.denied_when) == len(set(conditional))
    assert [deny.retry_after is not None for deny in verdict.denied_when] == sorted(
        deny.retry_after is not None for deny in verdict.denied_when
    )


@given(said)
def test_exempt_beats_quota(everything: list[Said]) -> None:
    """What is waived without condition is not counted; what is waived under a condition is decided by the statement."""
    verdict = merge(everything)
    waived = {
        name
        for one in everything
        if isinstance(one.decision, Exempt) and one.decision.when is None
        for name in one.decision.names
    }
    assert verdict.waived == waived
    kept = {q.name for q in verdict.quotas}
    wanted = {one.decision.name or one.plugin for one in everything if isinstance(one.decision, Quota)}
    assert kept == wanted - waived
    assert all(exempt.when is not None for exempt in verdict.waived_when)


@given(said)
def test_saying_it_twice_changes_nothing(everything: list[Said]) -> None:
    """Equal decisions count once."""
    once, twice = merge(everything), merge(everything + everything)
    assert (once.deny, once.denied_when, once.quotas, once.waived, once.waived_when) == (
        twice.deny,
        twice.denied_when,
        twice.quotas,
        twice.waived,
        twice.waived_when,
    )


def test_quota_is_named_after_its_plugin() -> None:
    """So that Exempt can name it without knowing more."""
    assert [q.name for q in merge([Said("weekly", Quota(1)), Said("a", Quota(1, "b"))]).quotas] == ["b", "weekly"]


@pytest.mark.parametrize(
    "nonsense", [lambda: Quota(-1), lambda: Quota(1, cost=0), lambda: Exempt("daily_limit")]
)  # fmt: skip
def test_nonsense_is_refused_where_it_is_written(nonsense: object) -> None:
    """A negative limit, a message that costs nothing, and the classic tuple that is none."""
    with pytest.raises((ValueError, TypeError)):
        nonsense()  # type: ignore[operator]


def test_a_decision_is_a_value() -> None:
    """Equal decisions are equal, and none can be changed behind our back."""
    decision: Decision = Quota(3)
    assert decision == Quota(3)
    with pytest.raises(AttributeError):
        decision.limit = 4  # type: ignore[misc]
