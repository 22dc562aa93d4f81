"""One plugin's implementation of one hook, ready to be called."""

from __future__ import annotations

from collections.abc import Callable, Mapping  # noqa: TC003 - the dataclass is read at run time
from dataclasses import dataclass, field
from typing import Any

from core.errors import PluginFailed, Refused, Unavailable
from core.hooks.answers import CHECKS, NonsenseError

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
    check: Callable[[Any, Mapping[str, Any]], Any] = field(init=False)
    passes: tuple[type[Exception], ...] = field(init=False)
    wants_now: bool = field(init=False)
    constant: tuple[Any, ...] | None = field(init=False)
    """all its arguments, when they are the same for every message"""

    def __post_init__(self) -> None:
        object.__setattr__(self, "check", CHECKS[self.hook])
        object.__setattr__(self, "passes", (PluginFailed, *PASSES.get(self.hook, ())))
        object.__setattr__(self, "wants_now", "now" in self.names)
        constant = tuple(self.fixed[name] for name in self.names if name in self.fixed)
        object.__setattr__(self, "constant", constant if len(constant) == len(self.names) else None)

    def invoke(self, arguments: Mapping[str, Any]) -> Any:
        """Call it with those of the arguments that it asks for."""
        if self.constant is not None:
            return self.function(*self.constant)
        fixed = self.fixed
        return self.function(*[arguments[name] if name in arguments else fixed[name] for name in self.names])

    def failed(self, error: BaseException) -> PluginFailed:
        """The PluginFailed to be raised from `error`."""
        if isinstance(error, NonsenseError):
            return PluginFailed(self.plugin, self.hook, f"answered nonsense: {error},")
        return PluginFailed(self.plugin, self.hook, f"raised {type(error).__name__}")
