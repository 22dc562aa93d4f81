"""whitelist, daily_limit and delay: policy as data."""

import pytest

from core.decisions import Exempt, Listed, Quota, Said, merge
from plugins import daily_limit, delay, whitelist


def test_whitelist_waives_limit_and_delay() -> None:
    """Under the condition that the statement finds the number on the list."""
    assert whitelist.admit(whitelist.Options()) == Exempt(("daily_limit", "delay"), when=Listed.WHITELIST)


def test_whitelist_waives_what_it_is_told() -> None:
    """`exempts` names other plugins or quotas."""
    assert whitelist.admit(whitelist.Options(exempts=("weekly",))).names == ("weekly",)


def test_daily_limit_counts_per_recipient_and_day() -> None:
    """Three by default; its quota has the plugin's name."""
    said = Said("daily_limit", daily_limit.admit(daily_limit.Options()))
    assert merge([said]).quotas == (Quota(3, "daily_limit", period="day", per="recipient"),)


def test_daily_limit_may_be_zero_but_not_less() -> None:
    """0 lets only the exempt through."""
    assert daily_limit.admit(daily_limit.Options(limit=0)) == Quota(0)
    for limit in (-1, 2**31):
        with pytest.raises(ValueError, match="limit must be 0 or more"):
            daily_limit.Options(limit=limit)


def test_delay_stays_within_its_bounds_and_varies() -> None:
    """Between min and max, and not always the same."""
    options = delay.Options(min=1.0, max=4.0)
    gaps = {delay.pace(options) for _ in range(50)}
    assert all(1.0 <= gap <= 4.0 for gap in gaps)
    assert len(gaps) > 1
    assert delay.pace(delay.Options(min=2.0, max=2.0)) == 2.0


@pytest.mark.parametrize(
    ("low", "high"), [(-1.0, 1.0), (3.0, 2.0), (float("nan"), 1.0), (1.0, float("inf")), (1.0, 86_401.0)]
)
def test_delay_refuses_bounds_that_are_none(low: float, high: float) -> None:
    """0 <= min <= max <= a day."""
    with pytest.raises(ValueError, match="expected 0 <= min <= max <= 86400 seconds"):
        delay.Options(min=low, max=high)
