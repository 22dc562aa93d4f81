"""What people type, brought into the order that the parser wants."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

GLOBAL = ("--config", "--data", "--log-level", "--log-format")
WAIT, WAIT_SECONDS = "--wait", 30
"""`--wait` alone is `--wait=30`."""


def arranged(arguments: Sequence[str]) -> list[str]:
    """Global options may stand anywhere; `--wait` may have seconds or none. What follows `--` is left alone."""
    front, rest = [], []
    waiting = list(arguments)
    while waiting and waiting[0] != "--":
        argument = waiting.pop(0)
        name = argument.partition("=")[0]
        if name in GLOBAL:
            front.append(argument)
            if name == argument and waiting:
                front.append(waiting.pop(0))
        elif argument == WAIT:
            seconds = waiting.pop(0) if waiting and _is_number(waiting[0]) else WAIT_SECONDS
            rest.append(f"{WAIT}={seconds}")
        else:
            rest.append(argument)
    return [*front, *rest, *waiting]


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether a program reads the answer."""
    before = list(arguments)[: list(arguments).index("--")] if "--" in arguments else arguments
    return "--json" in before


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
