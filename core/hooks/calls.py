"""One plugin's implementation of one hook, ready to be called."""

from __future__ import annotations

from collections.abc import Callable, Mapping  # noqa: TC003 - the dataclass is read at run time
from dataclasses import dataclass, field
from typing import Any

from core.errors import PluginFailed, Refused, Unavailable
from core.hooks.answers import CHECKS, NonsenseError, decisions_check

PASSES: Mapping[str, tuple[type[Exception], ...]] = {
    **dict.fromkeys(("authenticate", "prepare_outgoing", "admit"), (Refused, Unavailable)),
    "on_message": (Unavailable,),
}
"""Hook -> what it may raise on purpose, so that it reaches the caller as it is: a refusal of the request, and the
database out of reach, which is no fault of the plugin (an incoming message is shown again: no STOP is lost by it)."""


@dataclass(frozen=True, slots=True)
class Call:
    """`names` are the arguments it asks for, `fixed` those of them that never change for this tenant."""

    plugin: str
    hook: str
    function: Callable[..., Any]
    names: tuple[str, ...]
    fixed: Mapping[str, Any]
    wrapper: bool = False
    invoke: Callable[[Mapping[str, Any]], Any] = field(init=False)
    """calls it with those of the hook's arguments that it asks for"""
    check: Callable[[Any, Mapping[str, Any]], Any] = field(init=False)
    passes: tuple[type[Exception], ...] = field(init=False)
    wants_now: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "invoke", _invoking(self.function, self.names, self.fixed))
        object.__setattr__(self, "check", decisions_check() if self.hook == "admit" else CHECKS[self.hook])
        object.__setattr__(self, "passes", (PluginFailed, *PASSES.get(self.hook, ())))
        object.__setattr__(self, "wants_now", "now" in self.names)

    def failed(self, error: BaseException) -> PluginFailed:
        """The PluginFailed to be raised from `error`."""
        if isinstance(error, NonsenseError):
            return self.failed_as(f"answered nonsense: {error},")
        return self.failed_as(f"raised {type(error).__name__}")

    def failed_as(self, problem: str) -> PluginFailed:
        """The same, in these words."""
        return PluginFailed(self.plugin, self.hook, problem, self.fixed.get("tenant"))


def _invoking(
    function: Callable[..., Any], names: tuple[str, ...], fixed: Mapping[str, Any]
) -> Callable[[Mapping[str, Any]], Any]:
    """How `function` gets its arguments. Chosen once, because every request would pay for choosing: most hooks ask for
    nothing that changes, or for the message alone, before what is fixed."""
    constant = tuple(fixed[name] for name in names if name in fixed)
    changing = tuple(name for name in names if name not in fixed)
    if not changing:
        return lambda _: function(*constant)
    if changing == names[:1]:
        first = names[0]
        return lambda arguments: function(arguments[first], *constant)
    return lambda arguments: function(*[fixed[name] if name in fixed else arguments[name] for name in names])
