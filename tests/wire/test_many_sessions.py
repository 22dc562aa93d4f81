"""More sessions than PostgreSQL has connections. `python -m benchmarks sessions` does the same with 200 on 100."""

from __future__ import annotations

from benchmarks.sessions import measured

SESSIONS, MAX_CONNECTIONS, PER_PROCESS, KEEP = 30, 40, 15, 2.0


async def test_more_sessions_than_connections_are_all_reachable() -> None:
    """30 linked tenants on 40 connections, of which the gateway takes two dozen: all connect, hold none of their own
    when idle, and, all at once, each is sent to and answered by its phone; no connection is ever refused."""
    found = await measured(lambda _: None, SESSIONS, MAX_CONNECTIONS, PER_PROCESS, KEEP)
    assert found.wrong == ()
    assert found.held == 0
    assert found.refused == 0
    assert found.idle.count == SESSIONS // PER_PROCESS
    assert max(found.connecting, found.busy) < MAX_CONNECTIONS
