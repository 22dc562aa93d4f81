"""`python whatsmeow_tables.py URL`: the real library makes its tables there, as a session process lets it."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from core.transport.whatsapp.database import make_tables
from core.transport.whatsapp.gate import ConnectGate
from core.transport.whatsapp.process import prepare_process


async def _make(url: str) -> None:
    prepare_process(1)
    await make_tables(url, ConnectGate())


if __name__ == "__main__":
    asyncio.run(_make(sys.argv[1]))
    os._exit(0)
