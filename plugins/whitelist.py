"""Numbers on the tenant's whitelist pass the daily limit and wait for no gap.

The plugin never looks at the list: `when=Listed.WHITELIST` has it looked up inside the statement that admits the
message, so a list of a million numbers stays in its table, and an entry added a moment ago already counts. The order of
plugins does not matter: an Exempt beats a Quota wherever it stands.
"""

from dataclasses import dataclass
from functools import cached_property

from core import Exempt, Listed, hookimpl


@dataclass(frozen=True)
class Options:
    exempts: tuple[str, ...] = ("daily_limit", "delay")
    """the plugins and quotas that a listed number need not mind"""

    @cached_property
    def exempt(self) -> Exempt:
        """Made once: it is the same for every message."""
        return Exempt(self.exempts, when=Listed.WHITELIST)


@hookimpl
def admit(options: Options) -> Exempt:
    return options.exempt
