"""Which supervisors live, as each of them sees it: who tells the plugins what."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from core.session_rows import Peer

_NUMBERS = 1 << 16
"""A supervisor's session processes have the numbers that follow its own, which is one of 2**30: hardly ever does
somebody else's stand among them."""


class Roster:
    """Of one supervisor."""

    def __init__(self, process: int) -> None:
        self._process = process
        self._peers: frozenset[Peer] = frozenset()

    def look(self, peers: Collection[Peer]) -> bool:
        """These live now; whether they are others than before. Who asks lives, whatever PostgreSQL has noticed."""
        before, self._peers = self._peers, frozenset(peers)
        return before != self._peers

    @property
    def count(self) -> int:
        """How many live, this one included."""
        return len({self._process, *(peer.number for peer in self._peers)})

    def stands_in(self, process: int) -> bool:
        """Whether this gateway tells its plugins what another one's session process has done: one gateway does, when
        that process is of a machine that has no plugins, or its gateway is dead."""
        gateways = {self._process, *(peer.number for peer in self._peers if peer.gateway)}
        if any(gateway <= process < gateway + _NUMBERS for gateway in gateways - {self._process}):
            return False
        return self._process == min(gateways)
