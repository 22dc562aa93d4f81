"""At most so many messages a day to one recipient, by the tenant's calendar.

A Quota is a wish, not a counter: it is counted inside the statement that admits the message, exactly, also with
many requests at once and many gateways on one database. It counts per recipient and day unless it says
otherwise, and its name is the plugin's: what `Exempt(("daily_limit",))` means. A message that never left is
given back.
"""

from dataclasses import dataclass
from functools import cached_property

from core import Quota, hookimpl


@dataclass(frozen=True)
class Options:
    limit: int = 3
    """messages per recipient and day; 0 lets only the exempt through"""

    def __post_init__(self) -> None:
        if not 0 <= self.limit < 2**31:
            raise ValueError(f"limit must be 0 or more, and at most {2**31 - 1}; it is {self.limit}")

    @cached_property
    def quota(self) -> Quota:
        """Made once: it is the same for every message."""
        return Quota(self.limit)


@hookimpl
def admit(options: Options) -> Quota:
    return options.quota
