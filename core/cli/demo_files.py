"""What the demo is made of: a service.yaml, a tenant, a bot and an API key, as a user would write them."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
from typing import TYPE_CHECKING

from core.errors import CommandError
from core.tenants import key_digest, new_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from db.store import Store

TENANT = "demo"

FILES = {
    "config/service.yaml": """\
# Written by `run.py demo`, anew at every start.
plugins_dir: ../plugins
""",
    f"config/tenants/{TENANT}.yaml": """\
# Written by `run.py demo`, anew at every start.
transport: dry_run                     # nothing leaves this machine
plugins:
  api_key:
  whitelist:
  daily_limit: { limit: 3 }
  delay: { min: 0.2, max: 0.5 }        # seconds between messages
  opt_out:
  parrot:
""",
    "plugins/parrot.py": '''\
"""A bot, whole: it answers ping, and repeats everything else."""

from core import hookimpl


@hookimpl
def on_message(message):
    return message.reply("pong" if message.content == "ping" else f"You said: {message.content}")
''',
}


def write_files(data: Path) -> Path:
    """The demo's files below `data`; the configuration directory."""
    for name, text in FILES.items():
        path = data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return data / "config"


@contextlib.contextmanager
def own_folder(data: Path) -> Iterator[Path]:
    """A folder below `data` that no other running demo has: `demo`, else `demo-2`, …; the next demo finds its
    database there. Demos that shared one would lose it with the first that ends. Raises CommandError."""
    try:
        data.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"the data folder cannot be used: {data}: {error.strerror}; set GAPURA_DATA") from error
    for number in itertools.count(1):
        folder = data / ("demo" if number == 1 else f"demo-{number}")
        with folder.with_suffix(".lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield folder
            return


async def demo_key(store: Store, data: Path) -> str:
    """The demo tenant's API key, the same one at every start; kept in a file of mode 0600."""
    path = data / "api-key"
    path.touch(0o600)
    key = path.read_text(encoding="utf-8")
    if await store.tenant_of_key(key_digest(key)) != TENANT:
        key = new_key()
        path.write_text(key, encoding="utf-8")
        if not await store.add_tenant(TENANT, key_digest(key)):
            await store.rotate_key(TENANT, key_digest(key))
    return key
