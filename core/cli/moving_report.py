"""What came of moving many things, one by one: told while it happens, and at the end."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from core.cli.output import note, say, say_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

T = TypeVar("T")

Outcome = Literal["done", "present", "skipped", "refused"]
"""`present`: it was there already; `skipped`: left out, and the rest goes on; `refused`: somebody must look at it."""


@dataclass(frozen=True, slots=True)
class Line:
    """One thing. `tenant` as it is called here, `what` within it; `code` and `path` say why."""

    outcome: Outcome
    tenant: str
    what: str | None = None
    code: str | None = None
    detail: str | None = None
    path: str | None = None
    told: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        named = {"tenant": self.tenant, "what": self.what, "code": self.code, "path": self.path, "detail": self.detail}
        return {name: value for name, value in named.items() if value is not None} | self.told

    def __str__(self) -> str:
        subject = self.tenant if self.what is None else f"{self.tenant}: {self.what}"
        reason = "".join(f": {part}" for part in (self.path, self.detail) if part)
        return f"{self.outcome:<8} {subject}{reason}" + (f" [{self.code}]" if self.code else "")


@dataclass(slots=True)
class Report:
    """All lines of one command. `dry_run`: nothing was changed."""

    dry_run: bool
    lines: list[Line] = field(default_factory=list)

    def add(self, outcome: Outcome, tenant: str, what: str | None = None, **more: Any) -> None:
        self.lines.append(Line(outcome, tenant, what, **more))

    @property
    def counts(self) -> Counter[str]:
        return Counter(line.outcome for line in self.lines)

    def tell(self, *, as_json: bool) -> None:
        """Everything, in the order in which it happened."""
        if as_json:
            by_outcome = {
                outcome: [line.as_json() for line in self.lines if line.outcome == outcome]
                for outcome in ("done", "present", "skipped", "refused")
            }
            say_json({"dry_run": self.dry_run, **by_outcome})
            return
        for line in self.lines:
            say(str(line))
        told = ", ".join(f"{self.counts[outcome]} {outcome}" for outcome in ("done", "present", "skipped", "refused"))
        say(f"{told}{' (dry run: nothing was changed)' if self.dry_run else ''}")


def watched(things: Sequence[T], title: str, *, as_json: bool) -> Iterator[T]:
    """The things one by one, with a bar on stderr where somebody watches."""
    if as_json or not sys.stderr.isatty():
        yield from things
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        yield from progress.track(things, description=title)


def hint(text: str, *, as_json: bool) -> None:
    """What to do next, for people."""
    if not as_json:
        note(text)
