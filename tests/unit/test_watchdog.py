"""A hook that blocks is named while it blocks."""

import asyncio
import logging
import threading
from pathlib import Path

import pytest

from core.hooks.watchdog import Watchdog
from tests.plugin_kit import compile_hooks, load, outgoing

BLOCKS = """
    import threading
    from core import hookimpl

    gate = threading.Event()

    @hookimpl
    {prefix}def admit():
        assert gate.wait(60)
"""


class OpensGate(logging.Handler):
    """Lets the blocked hook go on as soon as it has been reported, and not before."""

    def __init__(self, gate: threading.Event) -> None:
        super().__init__()
        self.gate, self.records = gate, list[logging.LogRecord]()

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        self.gate.set()


@pytest.mark.parametrize("prefix", ["", "async "])
async def test_names_plugin_and_hook_while_the_loop_stands(tmp_path: Path, prefix: str) -> None:
    """The report is what ends the standstill here: without it the hook would fail after a minute."""
    plugins = load(tmp_path, blocks=BLOCKS.format(prefix=prefix))
    handler = OpensGate(plugins.found["blocks"].plugin.gate)  # type: ignore[attr-defined]
    logger = logging.getLogger("core.hooks.watchdog")
    logger.addHandler(handler)
    watchdog = Watchdog(asyncio.get_running_loop(), limit=0.05)
    watchdog.start()
    try:
        assert await compile_hooks(plugins, "blocks").collect("admit", message=outgoing()) == []
    finally:
        watchdog.stop()
        logger.removeHandler(handler)
    assert (handler.records[0].plugin, handler.records[0].hook) == ("blocks", "admit")  # type: ignore[attr-defined]
    assert handler.records[0].action == "plugin_blocks"  # type: ignore[attr-defined]


async def test_ends_with_its_loop_closed() -> None:
    """Stopping it late does no harm."""
    loop = asyncio.new_event_loop()
    loop.close()
    watchdog = Watchdog(loop, limit=0.01)
    watchdog.start()
    watchdog.stop()
