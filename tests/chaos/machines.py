"""A machine: a gateway with its session processes and its own GAPURA_DATA, started again whenever it is gone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import TYPE_CHECKING

from tests.wire.processes import children, is_running, session_processes

if TYPE_CHECKING:
    from pathlib import Path

    from tests.service.gateway_process import GatewayProcess, Installation

LOOK = 0.2


class Machine:
    """`url`: where its gateway answers, None while it does not. `deaths`: how often it had to be started again."""

    def __init__(self, installation: Installation, sandbox: str) -> None:
        self.url: str | None = None
        self.deaths = 0
        self._installation, self._sandbox = installation, sandbox
        self._gateway: GatewayProcess | None = None
        self._pauses = 0.0

    @property
    def home(self) -> Path:
        """Its logs are there."""
        return self._installation.home

    @property
    def pid(self) -> int | None:
        """Of its gateway, while that runs."""
        return self._gateway.pid if self._gateway is not None and is_running(self._gateway.pid) else None

    def session_processes(self) -> list[int]:
        """Their pids."""
        return session_processes(self.pid) if self.pid is not None else []

    async def keep_running(self) -> None:
        """For ever: start the gateway whenever it is gone."""
        while True:
            if self.pid is None:
                if self._gateway is not None:
                    self.url = None
                    self.deaths += 1
                    await asyncio.to_thread(self._gateway.kill)
                await asyncio.sleep(self._pauses)
                self._pauses = 0.0
                await self._start()
            await asyncio.sleep(LOOK)

    async def _start(self) -> None:
        self._gateway = None
        with contextlib.suppress(AssertionError):  # killed again before it was ready, or PostgreSQL was away
            gateway = await asyncio.to_thread(self._installation.serve, "--sandbox", self._sandbox)
            self._gateway, self.url = gateway, gateway.url

    def kill(self, pause: float) -> bool:
        """SIGKILL to the gateway, which is away for `pause` seconds; False when there was none."""
        return self._signal_gateway(signal.SIGKILL, pause)

    def leave(self, pause: float) -> bool:
        """SIGTERM to the gateway."""
        return self._signal_gateway(signal.SIGTERM, pause)

    def _signal_gateway(self, sign: signal.Signals, pause: float) -> bool:
        pid = self.pid
        if pid is None or self.url is None:
            return False
        self._pauses = pause
        return signalled(pid, sign)

    async def stand_still(self, seconds: float) -> bool:
        """SIGSTOP to the gateway and all its children, and SIGCONT after so long."""
        pid = self.pid
        if pid is None:
            return False
        pids = [pid, *children(pid)]
        await stand_still(pids, seconds)
        return True

    async def end(self) -> None:
        """SIGTERM, and wait."""
        if self._gateway is not None:
            for pid in (self._gateway.pid, *children(self._gateway.pid)):
                signalled(pid, signal.SIGCONT)
            await asyncio.to_thread(self._gateway.stop)


async def stand_still(pids: list[int], seconds: float) -> None:
    """SIGSTOP, and SIGCONT after so long, come what may."""
    for pid in pids:
        signalled(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        for pid in pids:
            signalled(pid, signal.SIGCONT)


def signalled(pid: int, sign: signal.Signals) -> bool:
    """Whether the process was there."""
    try:
        os.kill(pid, sign)
    except ProcessLookupError:
        return False
    return True
