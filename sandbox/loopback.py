"""The sandbox: a WhatsApp of one's own, on 127.0.0.1."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from sandbox.errors import UnknownDevice
from sandbox.phones.phone import Phone
from sandbox.server.journal import receipt_ids
from sandbox.server.login import conflict, unlink
from sandbox.server.notices import devices_changed
from sandbox.server.paircode import link_by_code
from sandbox.server.pairing import link_by_qr
from sandbox.server.proxy import Proxy
from sandbox.server.sockets import Sockets
from sandbox.server.state import State
from sandbox.server.world import World
from sandbox.wire.noise import TEST_ROOT, Identity
from sandbox.wire.tokens import codec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from sandbox.server.accounts import Account
    from sandbox.server.connection import Connection
    from sandbox.server.journal import Acknowledged, Login


class Sandbox:
    """A server that the real neonize pairs with and talks through, and the phones around it.

    state: a folder in which accounts, devices, keys, waiting stanzas and the CA survive a restart; a sandbox without
    one knows nobody when it starts, and so logs everybody out. fast_pairing: a new client makes 50 keys instead of 812.

    A client connects through `proxy_url`, in a process that was started with SSL_CERT_FILE naming a file with `ca_pem`,
    after `sandbox.attach.attach(root_key)`. Numbers are digits. All methods belong to the event loop of `start`.
    Stanzas the server does not know are in `unhandled`, exceptions in `errors`: a test should find both empty.
    """

    root_key: bytes = TEST_ROOT.public

    def __init__(self, state: Path | None = None, *, fast_pairing: bool = True) -> None:
        self.ca_pem = ""
        self._state = State(state)
        self._world = World(fast_pairing)
        self._proxy = Proxy()
        self._sockets: Sockets | None = None
        self._phones: dict[str, Phone] = {}

    # -- life --------------------------------------------------------------------------------------------------------
    async def start(self, port: int = 0) -> Sandbox:
        """Listen. Raises StateInUse, SandboxError, OSError. A stopped sandbox is not started again: make another.

        port: the proxy's; 0: that of the last time, as `state` remembers it, so that clients find their way back, or
        else any that is free.
        """
        authority = self._state.open()
        try:
            self.ca_pem = authority.certificate
            self._phones = {phone.number: phone for phone in self._state.load(self._world)}
            self._sockets = Sockets(self._world, codec(), Identity.new())
            await self._sockets.start(authority.server_context())
            await self._proxy.start(self._sockets.port, port or self._state.port, else_any=not port)
            self._state.remember_port(self._proxy.port)
        except BaseException:
            await self.stop()
            raise
        self._state.start(self._world)
        return self

    async def stop(self) -> None:
        """Cut every line and write the state. A second call does nothing."""
        await self._proxy.stop()
        if self._sockets is not None:
            await self._sockets.stop()
        await self._world.settle()
        await self._state.stop(self._world)

    async def __aenter__(self) -> Sandbox:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def proxy_url(self) -> str:
        return self._proxy.url

    @property
    def unhandled(self) -> list[str]:
        return self._world.unhandled

    @property
    def errors(self) -> list[str]:
        return self._world.errors

    # -- people ------------------------------------------------------------------------------------------------------
    @property
    def phones(self) -> Mapping[str, Phone]:
        """By number."""
        return MappingProxyType(self._phones)

    def phone(self, number: str, name: str = "") -> Phone:
        """The simulated phone of this number; it and its account are made when new. Raises UnknownNumber."""
        account = self._world.ensure_account(number, name)
        if account.phone is None:
            account.phone = self._phones[number] = Phone(self._world, account)
            devices_changed(self._world, account)
            for device in account.devices.values():
                account.phone.line.greet(device)
        return account.phone

    def use(self, number: str, name: str = "") -> None:
        """Make an account without a phone: only linked devices get its messages, and nobody names it to them."""
        self._world.ensure_account(number, name)

    async def scan(self, qr: str, number: str, name: str = "") -> int:
        """Scan a client's QR text with this number's phone: the device's number. Raises UnknownQr, PairingRefused."""
        return (await link_by_qr(self._world, self._linking(number, name), qr)).id

    async def enter_code(self, code: str, number: str, name: str = "") -> int:
        """Type the code that a client shows for this number. Raises UnknownCode, PairingRefused."""
        return (await link_by_code(self._world, self._linking(number, name), code)).id

    def _linking(self, number: str, name: str) -> Account:
        """The account whose phone links a client: one that is not known has a phone."""
        if self._world.find(number) is None:
            self.phone(number, name)
        return self._world.ensure_account(number, name)

    # -- devices -----------------------------------------------------------------------------------------------------
    def devices(self, number: str) -> list[int]:
        """The linked devices of an account. Raises UnknownNumber."""
        return list(self._world.account(number).devices)

    def is_online(self, number: str, device: int) -> bool:
        """Whether a device is logged in and gets its messages. Raises UnknownNumber."""
        endpoint = self._world.account(number).endpoint(device)
        return endpoint is not None and endpoint.is_online

    def waiting(self, number: str, device: int) -> int:
        """How many stanzas a device has not acknowledged. Raises UnknownNumber, UnknownDevice."""
        endpoint = self._world.account(number).endpoint(device)
        if endpoint is None:
            raise UnknownDevice(f"{number} has no device {device}")
        return endpoint.waiting_count

    @property
    def logins(self) -> Sequence[Login]:
        """Connections of linked devices since the sandbox was started, oldest first."""
        return tuple(self._world.journal.logins)

    def acknowledged(self, message_id: str) -> Sequence[Acknowledged]:
        """The receipts for this message that linked clients have acknowledged since the sandbox was started."""
        return tuple(self._world.journal.receipts.get(message_id, ()))

    def unacknowledged(self, message_id: str) -> int:
        """How many receipts for this message wait for linked clients to acknowledge them."""
        waiting = (node for device in self._world.devices() for node in device.waiting.values())
        return sum(node.tag == "receipt" and message_id in receipt_ids(node) for node in waiting)

    async def unlink(self, number: str, device: int) -> None:
        """Remove a linked device from the phone: it is logged out, now or when it comes back."""
        unlink(self._world, self._world.device(number, device))

    async def drop(self, number: str, device: int) -> None:
        """Cut the device's line without a goodbye."""
        self._connection(number, device).drop()

    async def replace(self, number: str, device: int) -> None:
        """Tell the device that another process has logged in as it."""
        self._connection(number, device).end(conflict("replaced"))

    def _connection(self, number: str, device: int) -> Connection:
        connection = self._world.device(number, device).connection
        if connection is None:
            raise UnknownDevice(f"device {device} of {number} is not connected")
        return connection

    # -- faults ------------------------------------------------------------------------------------------------------
    def refuse_logins(
        self, number: str, reason: int, times: int | None = None, *, code: int = 101, expire: int = 3600
    ) -> None:
        """Answer logins with a failure: 401, 403, 405, 503…, or 402, a ban with `code` for `expire` seconds.

        times: None until it is called with reason 0. At 401, 403 and 406 a client forgets its session, and so does the
        server.
        """
        self._world.faults.refuse_logins(number, reason, times, code, expire)

    def refuse_sends(self, number: str, code: int, times: int | None = None) -> None:
        """Refuse with an error code (463) what the account's linked devices send. times: None until code 0."""
        self._world.faults.sends.set(number, code, times)

    def hold_acks(self, number: str, hold: bool) -> None:
        """Relay what the account's linked devices send, but do not acknowledge it; False sends what was held."""
        self._world.faults.hold_acks(number, hold)
