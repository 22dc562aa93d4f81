"""`python -m benchmarks [NAME…] [--seconds N] [--rounds N] [--json]`: exit status 0 when every promise is kept, 1 when
one is not, 2 for a wrong command line."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from rich.console import Console

from benchmarks import mirror, sessions, wire
from benchmarks.measuring import measure, stored
from benchmarks.processes import resident_megabytes
from benchmarks.promises import BENCHMARKS, chosen, judge, workloads_of
from benchmarks.report import Conditions, Report, as_json, show
from benchmarks.servers import running

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.measuring import Round
    from benchmarks.promises import Benchmark


APART: Mapping[str, Any] = {"wire": wire, "mirror": mirror, "sessions": sessions}
"""Modules with a way of their own to `measure`, to `show` it and to tell it `as_json`."""


def main(arguments: Sequence[str]) -> int:
    """Measure, tell, and say by the exit status whether the promises are kept."""
    options = _options(arguments)
    try:
        benchmarks = chosen(options.names)
    except LookupError as error:
        print(f"benchmarks: {error.args[0]}", file=sys.stderr)
        return 2
    over_http = [benchmark for benchmark in benchmarks if not benchmark.apart]
    apart = [benchmark.name for benchmark in benchmarks if benchmark.apart]
    signal.signal(signal.SIGTERM, _stop)
    with Console(stderr=True).status("starting") as status:
        report = _measured(over_http, options.rounds, options.seconds, status.update) if over_http else None
        measured = {name: APART[name].measure(status.update) for name in apart}
    return _tell(report, measured, in_json=options.json)


def _tell(report: Report | None, measured: Mapping[str, Any], *, in_json: bool) -> int:
    """`measured`: benchmark that runs apart -> what its module has measured."""
    parts = [*([report] if report else []), *measured.values()]
    kept = all(part.kept for part in parts)
    if in_json:
        answer = as_json(report) if report else {}
        answer |= {name: APART[name].as_json(part) for name, part in measured.items()}
        print(json.dumps({**answer, "kept": kept}, indent=2))
        return 0 if kept else 1
    console = Console(width=None if sys.stdout.isatty() else 140)
    if report:
        show(report, console)
    for name, part in measured.items():
        APART[name].show(part, console)
    return 0 if kept else 1


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Whether the gateway is as quick as promised."
    )
    names = ", ".join(benchmark.name for benchmark in BENCHMARKS)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"which: {names} (default: all that promise something)"
    )
    parser.add_argument("--seconds", type=_positive(float), default=1.5, help="of each run (default: %(default)s)")
    parser.add_argument(
        "--rounds", type=_positive(int), default=7, help="how often they take turns (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="answer with JSON")
    return parser.parse_args(arguments)


def _positive(kind: type[int] | type[float]) -> Callable[[str], float]:
    def number(text: str) -> float:
        value = kind(text)
        if not 0 < value <= 600:
            raise argparse.ArgumentTypeError("more than 0 and at most 600")
        return value

    return number


def _measured(benchmarks: Sequence[Benchmark], rounds: int, seconds: float, tell: Callable[[str], None]) -> Report:
    load = os.getloadavg()[0]
    with running() as servers:
        memory = resident_megabytes(servers.gateway.pid)
        everything = measure(servers, workloads_of(benchmarks), rounds, seconds, tell)
        memories = memory, resident_megabytes(servers.gateway.pid)
        messages, counted = stored(servers)
    counting = everything[1:]
    conditions = Conditions(
        processors=len(os.sched_getaffinity(0)),
        load=(load, os.getloadavg()[0]),
        memory=memories,
        messages=messages,
        rounds=rounds,
        seconds=seconds,
    )
    return Report(counting, judge(benchmarks, counting), faults(everything, messages, counted), conditions)


def faults(rounds: Sequence[Round], messages: int, counted: int) -> list[str]:
    """What was not answered 202, and what was answered 202 and is not there."""
    runs = [(workload, run) for round_ in rounds for workload, run in round_.items()]
    wrong = [
        f"{workload.name}: {run.refused} answers were not 202: {run.load.statuses}"
        for workload, run in runs
        if run.refused
    ]
    accepted = sum(run.accepted for workload, run in runs if workload.server == "gateway")
    for what, number in (("messages are stored", messages), ("messages are counted", counted)):
        if number != accepted:
            wrong.append(f"the gateway accepted {accepted}, but {number} {what}")
    return wrong


def _stop(*_: object) -> NoReturn:
    raise SystemExit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
