"""What a run will do, chosen from its seed: the same seed gives the same plan. Its timing is the machine's."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.failpoints import NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PEOPLE_PER_TENANT = 5
LETTERS_PER_MESSAGE = 0.25
"""How many messages people write for each that a caller sends."""

MACHINES = 2

AT_GATEWAYS = frozenset({"replied", "callback_posting", "callback_answered"})
"""Failpoints in the process that serves HTTP. The others are in session processes."""

_OTHERS = (
    "stop session process",
    "stop machine",
    "restart postgres",
    "drop sockets",
    "cut database",
    "stall database",
    "leave",
)


@dataclass(frozen=True, slots=True)
class Message:
    """What a caller sends. `ref` is its idempotency key and its text; `machine`: whom it asks first."""

    ref: str
    tenant: str
    to: str
    machine: int


@dataclass(frozen=True, slots=True)
class Letter:
    """What a person writes to a tenant; `text` is unique."""

    text: str
    person: str
    tenant: str


@dataclass(frozen=True, slots=True)
class Strike:
    """`kind`: see tests.chaos.strikes; of a failpoint, `point` and `action`. `pick` (0 to 1) chooses among the
    processes there are; `after`: seconds between something being in flight and the strike; `lasts`: seconds, of what
    ends by itself. `messages` and `letters` are sent just before."""

    number: int
    kind: str
    machine: int
    pick: float
    after: float
    lasts: float
    messages: tuple[Message, ...]
    letters: tuple[Letter, ...]
    point: str = ""
    action: str = ""

    @property
    def kills(self) -> bool:
        """Whether a process gets SIGKILL."""
        return self.kind.startswith("kill") or self.action == "kill"

    @property
    def name(self) -> str:
        """As reports call it."""
        return f"{self.point}={self.action}" if self.point else self.kind


@dataclass(frozen=True, slots=True)
class Plan:
    """`tenants` and `people`: name or number of each tenant -> its number, and of whom it writes to."""

    seed: int
    tenants: dict[str, str]
    people: dict[str, tuple[str, ...]]
    strikes: tuple[Strike, ...]

    @property
    def messages(self) -> Iterator[Message]:
        """All that callers send."""
        return (message for strike in self.strikes for message in strike.messages)


def planned(seed: int, *, messages: int, tenants: int, kills: int) -> Plan:
    """`kills` strikes are SIGKILLs, others an eighth of that number; every failpoint is among them if there is room."""
    chance = random.Random(seed)
    names = {f"t{number:02}": f"6281000{number:05}" for number in range(tenants)}
    people = {
        name: tuple(f"6285{number:02}0{person:05}" for person in range(PEOPLE_PER_TENANT))
        for number, name in enumerate(names)
    }
    kinds = [*_killing(chance, kills), *_disturbing(chance, max(kills // 8, len(_OTHERS)))]
    chance.shuffle(kinds)
    kinds.sort(key=lambda kind: kind not in _EARLY)
    callers = _callers(chance, people, messages)
    letters = _letters(chance, people, round(messages * LETTERS_PER_MESSAGE))
    strikes = tuple(
        _strike(chance, number, *kind, messages=callers[number :: len(kinds)], letters=letters[number :: len(kinds)])
        for number, kind in enumerate(kinds)
    )
    return Plan(seed, names, people, strikes)


Kind = tuple[str, str, str]
"""kind, point, action."""

_EARLY: tuple[Kind, ...] = (("failpoint", "incoming_received", "raise"),)
"""A letter that its process has failed to keep is told as lost only when the tenant has come to another process."""


def _killing(chance: random.Random, kills: int) -> list[Kind]:
    """Half of them at failpoints, each in its turn."""
    points = list(NAMES)
    chance.shuffle(points)
    at_points = min(kills, max(kills // 2, len(points)))
    kinds = [("failpoint", point, "kill") for point in itertools.islice(itertools.cycle(points), at_points)]
    rest = kills - at_points
    plain = ["kill session process"] * round(rest * 0.65) + ["kill postgres"] * max(rest // 20, 1)
    plain += ["kill gateway"] * rest
    return [*kinds, *((kind, "", "") for kind in plain[:rest])]


def _disturbing(chance: random.Random, number: int) -> list[Kind]:
    kinds: list[Kind] = [(kind, "", "") for kind in _OTHERS]
    while len(kinds) < number:
        point, action = chance.choice(NAMES), chance.choice(("raise", "sleep 2", "stop"))
        kinds.append(("failpoint", point, action))
        kinds.append((chance.choice(_OTHERS), "", ""))
    return kinds[:number]


def _strike(
    chance: random.Random,
    number: int,
    kind: str,
    point: str,
    action: str,
    *,
    messages: Sequence[Message],
    letters: Sequence[Letter],
) -> Strike:
    lasts = chance.uniform(17, 19) if kind.startswith("stop") or action == "stop" else chance.uniform(1, 8)
    return Strike(
        number=number,
        kind=kind,
        machine=chance.randrange(MACHINES),
        pick=chance.random(),
        after=chance.uniform(0, 0.15),
        lasts=lasts,
        messages=tuple(messages),
        letters=tuple(letters),
        point=point,
        action=action,
    )


def _callers(chance: random.Random, people: dict[str, tuple[str, ...]], messages: int) -> list[Message]:
    found = []
    for number in range(messages):
        tenant = chance.choice(sorted(people))
        to, machine = chance.choice(people[tenant]), chance.randrange(MACHINES)
        found.append(Message(f"m{number:06}", tenant, to, machine))
    return found


def _letters(chance: random.Random, people: dict[str, tuple[str, ...]], letters: int) -> list[Letter]:
    found = []
    for number in range(letters):
        tenant = chance.choice(sorted(people))
        found.append(Letter(f"p{number:06}", chance.choice(people[tenant]), tenant))
    return found
