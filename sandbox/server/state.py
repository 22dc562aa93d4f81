"""What survives a restart: a folder with one file per account, the authority's certificate, and a lock.

Files hold keys of simulated phones and are readable by their owner only. Each is replaced whole, so a killed sandbox
leaves no torn file; what happened in the last moments before a kill is lost, and the retry dance makes up for it.
"""

import asyncio
import datetime as dt
import fcntl
import os
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from sandbox.errors import SandboxError, StateInUse
from sandbox.phones.chats import ChatLine
from sandbox.phones.keys import PhoneKeys
from sandbox.phones.line import Sent
from sandbox.phones.phone import Phone
from sandbox.server.accounts import Account, Device, PreKey
from sandbox.server.world import World
from sandbox.wire.appstate import StateKey
from sandbox.wire.certificates import Authority
from sandbox.wire.codec import Codec
from sandbox.wire.keys import KeyPair

EVERY = 0.25
"""Seconds between two looks at what has changed."""
LINES_KEPT = 200
"""Of each chat; older lines are shown until the restart."""
_GOOD_FOR = dt.timedelta(days=30)
_PLAIN = Codec()  # without tables of words, which may change with the version of neonize


@dataclass(frozen=True, slots=True)
class DeviceRecord:
    id: int
    noise: bytes
    identity: bytes
    registration: bytes
    signed: PreKey
    one_time: list[PreKey]
    waiting: list[bytes]
    asked_for: set[str]
    greeted: bool


@dataclass(frozen=True, slots=True)
class PhoneRecord:
    keys: PhoneKeys
    sent: dict[str, Sent]
    waiting: list[bytes]
    chats: dict[str, list[ChatLine]]
    auto_read: bool
    online: bool


@dataclass(frozen=True, slots=True)
class AccountRecord:
    number: str
    lid: str
    name: str
    key: KeyPair
    last_device: int
    devices: list[DeviceRecord]
    settings: dict[str, list[bytes]]
    settings_key: StateKey | None = None
    phone: PhoneRecord | None = None
    format: int = field(default=1, kw_only=True)


class State:
    """A state folder in use. Without a folder, nothing is kept."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._lock: int | None = None
        self._saver: asyncio.Task[None] | None = None

    def open(self) -> Authority:
        """Lock the folder; gives the certificate authority that clients trust already. Raises StateInUse."""
        if self._folder is None:
            return Authority.new()
        (self._folder / "accounts").mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder.chmod(0o700)
        self._lock = _locked(self._folder / "lock")
        file = self._folder / "authority"
        if file.exists():
            authority = msgspec.msgpack.decode(file.read_bytes(), type=Authority)
            if authority.good_until() - dt.datetime.now(dt.UTC) > _GOOD_FOR:
                return authority
        authority = Authority.new()
        _write(file, msgspec.msgpack.encode(authority))
        return authority

    @property
    def port(self) -> int:
        """The one that was remembered; 0: none."""
        file = self._folder / "port" if self._folder else None
        return int(file.read_text("ascii")) if file is not None and file.exists() else 0

    def remember_port(self, port: int) -> None:
        if self._folder is not None:
            _write(self._folder / "port", str(port).encode())

    def load(self, world: World) -> list[Phone]:
        """Put the accounts of the folder into `world`; gives their phones. Raises SandboxError for a broken file."""
        files = sorted((self._folder / "accounts").glob("[0-9]*")) if self._folder else []
        phones = []
        for file in files:
            if file.suffix:
                continue
            try:
                record = msgspec.msgpack.decode(file.read_bytes(), type=AccountRecord)
            except (msgspec.DecodeError, msgspec.ValidationError) as error:
                raise SandboxError(f"{file} is not a sandbox's account: {error}; move it away") from error
            phones += _restore(world, record)
        return phones

    def start(self, world: World) -> None:
        """Keep the folder up to date from now on."""
        if self._folder is not None:
            world.save = self.save
            self._saver = asyncio.get_running_loop().create_task(self._save_often(world), name="sandbox: state")

    async def stop(self, world: World) -> None:
        """Write what has changed, and let go of the folder."""
        if self._saver is not None:
            self._saver.cancel()
            await asyncio.wait([self._saver])
            self._save_changed(world)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def save(self, account: Account) -> None:
        if self._folder is not None:
            account.changed = False
            _write(self._folder / "accounts" / account.number, msgspec.msgpack.encode(_record(account)))

    async def _save_often(self, world: World) -> None:
        while True:
            await asyncio.sleep(EVERY)
            world.guard("saving the state", lambda: self._save_changed(world))

    def _save_changed(self, world: World) -> None:
        for account in world.accounts():
            if account.changed:
                self.save(account)


def _locked(file: Path) -> int:
    """A descriptor that holds the folder until it is closed, or its process ends."""
    lock = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise StateInUse(f"another sandbox keeps its state in {file.parent}") from None
    return lock


def _write(file: Path, data: bytes) -> None:
    new = file.with_suffix(".new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
        out.write(data)
    new.replace(file)


def _record(account: Account) -> AccountRecord:
    return AccountRecord(
        number=account.number,
        lid=account.lid,
        name=account.name,
        key=account.key,
        last_device=account.last_device,
        devices=[_device_record(device) for device in account.devices.values()],
        settings=account.settings,
        settings_key=account.settings_key,
        phone=_phone_record(account.phone) if account.phone else None,
    )


def _device_record(device: Device) -> DeviceRecord:
    return DeviceRecord(
        id=device.id,
        noise=device.noise,
        identity=device.identity,
        registration=device.registration,
        signed=device.signed,
        one_time=device.one_time,
        waiting=[_PLAIN.encode(node) for node in device.waiting.values()],
        asked_for=device.asked_for,
        greeted=device.greeted,
    )


def _phone_record(phone: Phone) -> PhoneRecord:
    return PhoneRecord(
        keys=phone.line.keys,
        sent=phone.line.sent,
        waiting=[_PLAIN.encode(node) for node in phone.line.inbox],
        chats={other: lines[-LINES_KEPT:] for other, lines in phone.chats.items()},
        auto_read=phone.auto_read,
        online=phone.online,
    )


def _restore(world: World, record: AccountRecord) -> list[Phone]:
    account = Account(record.number, record.lid, record.name, record.key, last_device=record.last_device)
    account.settings, account.settings_key, account.changed = record.settings, record.settings_key, False
    for kept in record.devices:
        account.devices[kept.id] = _restored_device(account, kept)
    world.add(account)
    return [_restored_phone(world, account, record.phone)] if record.phone else []


def _restored_device(account: Account, kept: DeviceRecord) -> Device:
    device = Device(account, kept.id, kept.noise, kept.identity, kept.registration, kept.signed, kept.one_time)
    for data in kept.waiting:
        device.deliver(_PLAIN.decode(data))
    device.asked_for, device.greeted = kept.asked_for, kept.greeted
    return device


def _restored_phone(world: World, account: Account, kept: PhoneRecord) -> Phone:
    phone = Phone(world, account, kept.keys)
    phone.online, phone.auto_read = kept.online, kept.auto_read
    phone.line.sent.update(kept.sent)
    for other, lines in kept.chats.items():
        for line in lines:
            phone.history.add(other, line)
    account.phone = phone
    for data in kept.waiting:
        phone.line.deliver(_PLAIN.decode(data))
    return phone
