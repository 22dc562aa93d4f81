"""What the demo is made of, in a folder of its own: a service.yaml, a tenant and a bot, as a user would write them."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import shutil
from datetime import timedelta
from typing import IO, TYPE_CHECKING
from zoneinfo import ZoneInfo

from core.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

TENANT = "shop"
LIMIT = 3

_LONGEST_STORY = timedelta(minutes=30)

FILES = {
    "config/service.yaml": """\
# Written by `run.py demo`, anew at every start.
plugins_dir: ../plugins
""",
    f"config/tenants/{TENANT}.yaml": """\
# Written by `run.py demo`, anew at every start.
timezone: {zone}
plugins:
  api_key:
  whitelist:
  daily_limit: {{ limit: {limit} }}
  delay: {{ min: 0.2, max: 0.5 }}        # seconds between messages
  opt_out:
  parrot:
""",
    "plugins/parrot.py": '''\
"""A bot, whole: it answers ping, and repeats everything else."""

from core import hookimpl


@hookimpl
def on_message(message):
    return message.reply("pong" if message.content == "ping" else f"You said: {{message.content}}")
''',
}


def write_files(data: Path, now: datetime) -> Path:
    """The demo's files below `data`; the configuration directory."""
    for name, text in FILES.items():
        path = data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.format(zone=zone_for(now), limit=LIMIT), encoding="utf-8")
    return data / "config"


def zone_for(now: datetime) -> str:
    """The tenant's time zone: Jakarta's, but one in which it is past midnight already when Jakarta's is near. The day
    must not end between the first message and the one that is too many."""
    jakarta = ZoneInfo("Asia/Jakarta")
    same_day = now.astimezone(jakarta).date() == (now + _LONGEST_STORY).astimezone(jakarta).date()
    return "Asia/Jakarta" if same_day else "Asia/Makassar"


@contextlib.contextmanager
def own_folder(data: Path) -> Iterator[Path]:
    """An empty folder below `data` that no other running demo has: `demo`, else `demo-2`, …; what an earlier demo left
    there is deleted. Raises CommandError."""
    try:
        data.mkdir(parents=True, exist_ok=True)
        lock, folder = _first_free(data)
    except OSError as error:
        raise CommandError(f"the data folder cannot be used: {data}: {error.strerror}; set GAPURA_DATA") from error
    with lock:
        yield folder


def _first_free(data: Path) -> tuple[IO[str], Path]:
    """(a lock that is held until it is closed, the folder). Raises OSError."""
    for number in itertools.count(1):
        folder = data / ("demo" if number == 1 else f"demo-{number}")
        lock = folder.with_suffix(".lock").open("a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _empty(folder)
        except BlockingIOError:
            lock.close()
        except OSError:
            lock.close()
            raise
        else:
            return lock, folder
    raise AssertionError("numbers do not end")


def _empty(folder: Path) -> None:
    """Moved away before it is deleted: a PostgreSQL that lost its demo a moment ago may still be writing there."""
    old = folder.with_suffix(".old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
        shutil.rmtree(old, ignore_errors=True)
    folder.mkdir()
