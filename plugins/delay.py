"""A gap of changing length between a tenant's sends, as a person's thumbs would leave.

`pace` is asked when a message is accepted, because the caller is promised a time; of all plugins' answers the largest
holds, counted from the tenant's previous send. `Exempt(("delay",))`, as the whitelist says it, waives this plugin's.
"""

import random
from dataclasses import dataclass

from core import hookimpl


@dataclass(frozen=True)
class Options:
    min: float = 2.0
    """seconds, at least"""
    max: float = 5.0
    """seconds, at most"""

    def __post_init__(self) -> None:
        if not 0 <= self.min <= self.max <= 86_400:
            raise ValueError(f"expected 0 <= min <= max <= 86400 seconds, got min {self.min:g} and max {self.max:g}")


@hookimpl
def pace(options: Options) -> float:
    return random.uniform(options.min, options.max)  # noqa: S311 - jitter, not a secret
