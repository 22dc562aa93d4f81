"""A short chaos run, always the same one: two machines are struck while they work, and the phones are the judge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from core.failpoints import NAMES
from tests.chaos.plan import planned
from tests.chaos.run import run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.chaos.plan import Strike

SEED = 5
STRIKES = 12
"""SIGKILLs; others are added."""


class Told:
    """What a failed run shows."""

    def say(self, text: str) -> None:
        """To stdout, which pytest shows of a test that fails."""
        print(text)  # noqa: T201

    def struck(self, strike: Strike, hit: bool) -> None:
        """The same."""
        print(strike.number, strike.name, "" if hit else "missed")  # noqa: T201


@pytest.mark.timeout(900)
async def test_a_seeded_run_keeps_every_promise(tmp_path: Path) -> None:
    """Nothing lost, nothing doubled unmarked, order kept, every letter told, counters right, whatever was killed."""
    plan = planned(SEED, messages=300, tenants=4, kills=max(STRIKES, len(NAMES)))
    outcome = await run(plan, tmp_path, Told())
    assert outcome.findings == [], outcome.summary()
    assert len(outcome.facts.accepted) == 300
    struck = {strike.point for strike in outcome.hits}
    assert len(outcome.hits) > len(plan.strikes) * 0.8, outcome.missed
    assert {"claimed", "handing_over", "answered", "recorded"} <= struck
