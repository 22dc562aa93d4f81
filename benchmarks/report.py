"""What was measured, as tables for people and as JSON for programs."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console

    from benchmarks.measuring import Round, Run, Workload
    from benchmarks.promises import Judged


@dataclass(frozen=True, slots=True)
class Conditions:
    """Under which it was measured. `load` is the machine's load average before and after, `memory` the megabytes that
    the gateway's process held before and after, `messages` how many it had stored in between."""

    processors: int
    load: tuple[float, float]
    memory: tuple[float, float]
    messages: int
    rounds: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Report:
    """`rounds` are those that count; `wrong` tells of answers and rows that should not be, or are missing."""

    rounds: Sequence[Round]
    judged: Sequence[Judged]
    wrong: Sequence[str]
    conditions: Conditions

    @property
    def kept(self) -> bool:
        """Whether all is well."""
        return not self.wrong and all(judged.kept for judged in self.judged)


_FIGURES: dict[str, Callable[[Run], float]] = {
    "per_second": lambda run: run.load.per_second,
    "p50_ms": lambda run: run.load.p50,
    "p99_ms": lambda run: run.load.p99,
    "p999_ms": lambda run: run.load.p999,
    "worst_ms": lambda run: run.load.worst,
    "server_us": lambda run: run.server_cpu,
    "postgres_us": lambda run: run.postgres_cpu,
    "generator_cpu": lambda run: run.load.cpu,
    "others_cpu": lambda run: run.others,
}
"""Of each, the median of all rounds is told."""


def as_json(report: Report) -> dict[str, Any]:
    """Everything; figures are [median, least, largest] of the rounds."""
    return {
        "kept": report.kept,
        "promises": promises_as_json(report.judged),
        "workloads": {workload.name: _figures(report, workload) for workload in report.rounds[0]},
        "wrong": list(report.wrong),
        "conditions": asdict(report.conditions),
    }


def promises_as_json(judged: Sequence[Judged]) -> list[dict[str, Any]]:
    """Each with its figures."""
    return [
        {"promise": j.promise.text, "unit": j.promise.unit, "bound": j.promise.bound, "below": j.promise.below,
         "median": j.median, "low": j.low, "high": j.high, "kept": j.kept}
        for j in judged
    ]  # fmt: skip


def _figures(report: Report, workload: Workload) -> dict[str, list[float]]:
    found = {}
    for name, figure in _FIGURES.items():
        values = [figure(round_[workload]) for round_ in report.rounds]
        found[name] = [round(value, 3) for value in (statistics.median(values), min(values), max(values))]
    return found


def show(report: Report, console: Console) -> None:
    """Two tables, the conditions, the verdict."""
    console.print(_measured(report), promised(report.judged))
    told = report.conditions
    console.print(
        f"{told.rounds} rounds of {told.seconds:g} s on {told.processors} processors; load average"
        f" {told.load[0]:.1f} before, {told.load[1]:.1f} after; the gateway's memory {told.memory[0]:.0f} MB before,"
        f" {told.memory[1]:.0f} MB after {told.messages:,} messages",
        highlight=False,
    )
    show_verdict(report.wrong, report.kept, console)


def show_verdict(wrong: Sequence[str], kept: bool, console: Console) -> None:
    """What should not be, and whether all is well."""
    for what in wrong:
        console.print(f"[bold red]wrong:[/] {what}")
    console.print("[bold green]every promise is kept[/]" if kept else "[bold red]NOT KEPT[/]")


def _measured(report: Report) -> Table:
    table = Table(title="Measured: medians (least to largest)")
    for heading in (
        "",
        "per second",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "server µs",
        "PostgreSQL µs",
        "generator",
        "others",
    ):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for workload in report.rounds[0]:
        figures = _figures(report, workload)
        rate, low, high = figures["per_second"]
        table.add_row(
            workload.name,
            f"{rate:,.0f} ({low:,.0f} to {high:,.0f})",
            *(f"{figures[name][0]:,.1f}" for name in ("p50_ms", "p99_ms", "p999_ms")),
            *(f"{figures[name][0]:,.0f}" for name in ("server_us", "postgres_us")),
            *(f"{figures[name][0]:.0%}" for name in ("generator_cpu", "others_cpu")),
        )
    return table


def promised(judged: Sequence[Judged]) -> Table:
    """What was promised and whether it is kept."""
    table = Table(title="Promised")
    for heading in ("", "promise", "measured", "spread", "kept"):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for one in judged:
        promise, digits = one.promise, 1 if one.promise.unit == "ms" else 2
        table.add_row(
            promise.text,
            f"{'<' if promise.below else '≥'} {promise.bound:g} {promise.unit}",
            f"{one.median:.{digits}f} {promise.unit}",
            f"{one.low:.{digits}f} to {one.high:.{digits}f}",
            "[green]yes[/]" if one.kept else "[bold red]NO[/]",
        )
    return table
