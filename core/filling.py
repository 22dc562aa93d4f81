"""Frozen values, made at a third of the price.

A frozen dataclass fills in its fields through `object.__setattr__`, one by one: with the sixteen of an Outgoing, that
is a twentieth of a request. Here they are filled in while the object is of a class like it that is not frozen; then it
becomes what it shall be. Whoever gets it gets the frozen value, and cannot tell how it was made.
"""

from __future__ import annotations

from dataclasses import fields, make_dataclass
from typing import TYPE_CHECKING, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import ParamSpec

    P = ParamSpec("P")

T = TypeVar("T")


def filling(frozen: Callable[P, T]) -> Callable[P, T]:
    """`frozen`, a dataclass with frozen=True, slots=True, kw_only=True and no `__post_init__`, as a function that takes
    and makes the same. TypeError for another class: it would be made otherwise than it is by itself."""
    target = cast("type", frozen)
    if hasattr(target, "__post_init__"):
        raise TypeError(f"{target.__name__} has a __post_init__, which would not be called")

    def freeze(self: object) -> None:
        self.__class__ = target

    open_fields = [(field.name, field.type, field) for field in fields(target)]
    return make_dataclass(target.__name__, open_fields, kw_only=True, slots=True, namespace={"__post_init__": freeze})
