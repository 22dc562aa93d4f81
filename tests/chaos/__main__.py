"""The command line: `python -m tests.chaos --seed N --messages 10000 --tenants 20 --kills 300`."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from tests.chaos.plan import planned
from tests.chaos.run import run

if TYPE_CHECKING:
    from tests.chaos.plan import Plan, Strike
    from tests.chaos.run import Outcome

MOST_FINDINGS = 40


class Told:
    """Progress, a line for each strike."""

    def __init__(self, console: Console, strikes: int) -> None:
        self._console, self._strikes, self._begun = console, strikes, time.monotonic()
        self._last = ""

    def say(self, text: str) -> None:
        """Each thing once."""
        if text != self._last:
            self._last = text
            self._console.print(f"[dim]{self._seconds()}[/] {text}")

    def struck(self, strike: Strike, hit: bool) -> None:
        """With its number, so that a run can be followed in the plan."""
        what = f"[bold]{strike.name}[/]" if hit else f"[dim]{strike.name}: nothing to strike[/]"
        self._console.print(f"[dim]{self._seconds()}[/] {strike.number + 1}/{self._strikes} {what}")

    def _seconds(self) -> str:
        return f"{time.monotonic() - self._begun:6.1f} s"


def main() -> int:
    """0 when every promise was kept."""
    asked = _arguments()
    plan = planned(asked.seed, messages=asked.messages, tenants=asked.tenants, kills=asked.kills)
    console = Console()
    home = asked.home or Path(tempfile.mkdtemp(prefix="gapura-chaos-"))
    home.mkdir(parents=True, exist_ok=True)
    console.print(f"seed {plan.seed}: {len(plan.strikes)} strikes, {asked.messages} messages; logs below {home}")
    outcome = asyncio.run(run(plan, home, Told(console, len(plan.strikes))))
    _tell(console, plan, outcome)
    return 1 if outcome.findings else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 100_000, help="repeats a run's plan")
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--tenants", type=int, default=20)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--home", type=Path, help="an empty directory for logs and databases, which are kept")
    return parser.parse_args()


def _tell(console: Console, plan: Plan, outcome: Outcome) -> None:
    table = Table(title=f"chaos, seed {plan.seed}")
    table.add_column("what")
    table.add_column("how many")
    for name, value in outcome.summary().items():
        text = ", ".join(f"{key} {count}" for key, count in value.items()) if isinstance(value, dict) else str(value)
        table.add_row(name, text or "none")
    console.print(table)
    for finding in outcome.findings[:MOST_FINDINGS]:
        console.print(f"[red]{finding.what}[/] {finding.who}: {finding.detail}", highlight=False)
    if not outcome.findings:
        console.print("[green]every promise was kept[/]")
    else:
        console.print(f"{len(outcome.findings)} findings; again with: python -m tests.chaos --seed {plan.seed}")


if __name__ == "__main__":
    sys.exit(main())
