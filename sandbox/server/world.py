"""What all parts of the server share: accounts, faults, tasks, and the record of what went wrong."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from typing import TYPE_CHECKING

from sandbox.errors import UnknownDevice, UnknownNumber
from sandbox.server.accounts import Account, Device
from sandbox.server.faults import Faults
from sandbox.server.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from typing import Any

    from sandbox.server.accounts import Endpoint
    from sandbox.server.connection import Connection
    from sandbox.wire.node import JID

LONGEST_NUMBER = 14
"""One digit less than a LID, which is therefore never taken for a number."""

log = logging.getLogger("sandbox")


def stamp() -> str:
    """Now, as stanzas say it."""
    return str(int(time.time()))


def new_id() -> str:
    """An id for a stanza that the server begins."""
    return secrets.token_hex(8)


class World:
    """One WhatsApp. All of it belongs to the event loop that the sandbox was started in."""

    def __init__(self, fast_pairing: bool) -> None:
        self.fast_pairing = fast_pairing
        self.faults = Faults()
        self.journal = Journal()
        self.unhandled: list[str] = []
        self.errors: list[str] = []
        self.unpaired: dict[str, Connection] = {}  # by the text of its first QR code's ref
        self.save: Callable[[Account], None] = lambda account: None  # to disk, where state is kept
        self._accounts: dict[str, Account] = {}  # by number and by LID
        self._tasks: set[asyncio.Task[None]] = set()

    # -- accounts ----------------------------------------------------------------------------------------------------
    def accounts(self) -> Iterator[Account]:
        return (account for key, account in self._accounts.items() if key == account.number)

    def find(self, user: str) -> Account | None:
        """The account with this number or LID."""
        return self._accounts.get(user)

    def account(self, number: str) -> Account:
        """Raises UnknownNumber."""
        account = self._accounts.get(number)
        if account is None:
            raise UnknownNumber(f"no account has the number {number}")
        return account

    def ensure_account(self, number: str, name: str = "") -> Account:
        """The account of this number, made when new. Raises UnknownNumber for what is not digits."""
        account = self._accounts.get(number)
        if account is None:
            if not re.fullmatch(f"[1-9][0-9]{{,{LONGEST_NUMBER - 1}}}", number):
                raise UnknownNumber(f"a number is its country's code and digits, at most {LONGEST_NUMBER}, no plus")
            account = Account(number, f"1{number:0>{LONGEST_NUMBER}}", name)
            self.add(account)
        account.name = name or account.name
        return account

    def add(self, account: Account) -> None:
        self._accounts[account.number] = self._accounts[account.lid] = account

    def endpoint(self, jid: JID) -> Endpoint | None:
        account = self._accounts.get(jid.user)
        return account.endpoint(jid.device) if account else None

    def devices(self) -> Iterator[Device]:
        return (device for account in self.accounts() for device in account.devices.values())

    def device(self, number: str, device: int) -> Device:
        """A linked device. Raises UnknownNumber, UnknownDevice."""
        found = self.account(number).devices.get(device)
        if found is None:
            raise UnknownDevice(f"{number} has no linked device {device}")
        return found

    # -- tasks and troubles ------------------------------------------------------------------------------------------
    def spawn(self, work: Coroutine[Any, Any, None], what: str) -> None:
        """Run `work` beside the rest; what it raises is recorded."""
        task = asyncio.get_running_loop().create_task(self._guarded(work, what), name=f"sandbox: {what}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, work: Coroutine[Any, Any, None], what: str) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - a test fails on the record
            self.failed(what, error)

    def guard(self, what: str, act: Callable[[], None]) -> None:
        """Do it now; what it raises is recorded."""
        try:
            act()
        except Exception as error:  # noqa: BLE001 - a test fails on the record
            self.failed(what, error)

    def failed(self, what: str, error: Exception) -> None:
        log.error("%s: %r", what, error, exc_info=error, extra={"action": "sandbox_error"})
        self.errors.append(f"{what}: {error!r}")

    def unknown(self, stanza: object) -> None:
        """Record a stanza that the server does not know."""
        log.warning("not handled: %s", stanza, extra={"action": "sandbox_unhandled"})
        self.unhandled.append(str(stanza))

    async def settle(self) -> None:
        """Cancel what still runs, and wait for it."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
