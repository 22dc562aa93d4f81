"""What is promised, and whether a measurement keeps it. Ratios are taken within each round; the median decides."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from benchmarks.measuring import BARE, HOT, KEYED, NAIVE, PACED, SPREAD

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.measuring import Round, Workload

Measurement = TypeVar("Measurement")


@dataclass(frozen=True, slots=True)
class Promise(Generic[Measurement]):
    """`figure` of a measurement, such as a round, is at least `bound`, or, where `below`, less than it."""

    text: str
    unit: str
    bound: float
    figure: Callable[[Measurement], float]
    below: bool = False

    def kept_by(self, figure: float) -> bool:
        """Whether this figure is good enough."""
        return figure < self.bound if self.below else figure >= self.bound


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A name for the command line, what has to run, in this order, and what is promised of it. `apart`: it is the
    module benchmarks.<name>, which has its own way to run and its own promises."""

    name: str
    workloads: tuple[Workload, ...] = ()
    promises: tuple[Promise[Round], ...] = ()
    apart: bool = False


@dataclass(frozen=True, slots=True)
class Judged:
    """A promise with its figures: of all rounds the median, the least and the largest."""

    promise: Promise[Any]
    median: float
    low: float
    high: float

    @property
    def kept(self) -> bool:
        """Whether the median keeps it."""
        return self.promise.kept_by(self.median)


def _ratio(ours: Workload, other: Workload) -> Callable[[Round], float]:
    return lambda round_: round_[ours].load.per_second / max(round_[other].load.per_second, 1e-9)


BENCHMARKS: tuple[Benchmark, ...] = (
    Benchmark(
        "sends",
        (BARE, SPREAD, NAIVE),
        (
            Promise("sends per second, of a bare aiohttp handler's", "x", 0.35, _ratio(SPREAD, BARE)),
            Promise("sends per second, of six round trips'", "x", 6.0, _ratio(SPREAD, NAIVE)),
        ),
    ),
    Benchmark(
        "hot",
        (SPREAD, HOT),
        (Promise("sends per second to one number, of those to many", "x", 0.5, _ratio(HOT, SPREAD)),),
    ),
    Benchmark(
        "latency",
        (PACED,),
        (Promise("99th percentile at 1,000 sends a second", "ms", 20.0, lambda r: r[PACED].load.p99, below=True),),
    ),
    Benchmark("wire", apart=True),
    Benchmark("mirror", apart=True),
    Benchmark("sessions", apart=True),
    Benchmark("keys", (SPREAD, KEYED)),
)


def chosen(names: Sequence[str]) -> list[Benchmark]:
    """Those with these names, or all that promise something. LookupError for a name that there is not."""
    known = {benchmark.name: benchmark for benchmark in BENCHMARKS}
    if unknown := [name for name in names if name not in known]:
        raise LookupError(f"there is no benchmark {unknown[0]!r}; there are: {', '.join(known)}")
    return [one for one in BENCHMARKS if (one.name in names if names else one.promises or one.apart)]


def workloads_of(benchmarks: Sequence[Benchmark]) -> list[Workload]:
    """Each once, in the order in which they take turns."""
    return list(dict.fromkeys(workload for benchmark in benchmarks for workload in benchmark.workloads))


def judge(benchmarks: Sequence[Benchmark], rounds: Sequence[Round]) -> list[Judged]:
    """Every promise of these benchmarks."""
    judged = []
    for promise in (promise for benchmark in benchmarks for promise in benchmark.promises):
        figures = [promise.figure(round_) for round_ in rounds]
        judged.append(Judged(promise, statistics.median(figures), min(figures), max(figures)))
    return judged
