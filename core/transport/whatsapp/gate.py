"""Who may be inside the library at which moment (see ConnectGate)."""

from __future__ import annotations


class ConnectGate:
    """One per process; every Client of it shares it."""
