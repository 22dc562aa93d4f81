"""A program that runs an embedded PostgreSQL as a gateway does, for tests that kill it.

    python embedded_process.py DATA

Prints `owner URL` or `attached URL`, supervises until its stdin is closed, then stops.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import db.embedded
from db.embedded import EmbeddedPostgres
from tests.conftest import FAST


async def supervise(embedded: EmbeddedPostgres) -> None:
    """Until stdin ends."""
    task = asyncio.create_task(embedded.supervise())
    await asyncio.to_thread(sys.stdin.read)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def main() -> None:
    """Carry out the command line."""
    db.embedded.OUTLIVES = 120.0  # who is connected shall finish, however slow the machine is
    embedded = EmbeddedPostgres(Path(sys.argv[1]), FAST)
    url = embedded.start()
    sys.stdout.write(f"{'owner' if embedded.owner else 'attached'} {url}\n")
    sys.stdout.flush()
    asyncio.run(supervise(embedded))
    embedded.stop()


if __name__ == "__main__":
    main()
