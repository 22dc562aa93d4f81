"""Places where a process can be made to die, stand still or fail, to prove that nothing is lost there.

    GAPURA_FAILPOINT=NAME=ACTION[:NTH][,NAME=ACTION[:NTH]…]     each process strikes once, the NTH time it gets there
    GAPURA_FAILPOINT=armed:DIRECTORY                            strikes whenever DIRECTORY holds a file called NAME

ACTION is `kill` (SIGKILL), `stop` (SIGSTOP), `raise` (Struck) or `sleep SECONDS` (the whole process stands still). A
file in DIRECTORY holds the ACTION; the process that strikes renames it to NAME.PID first, so that one file is one
strike however many processes get there, and whoever wrote it sees who was struck. Without the variable `reach` does
nothing.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Reach = Callable[[str], None]
    Strike = Callable[[], None]

log = logging.getLogger(__name__)

VARIABLE = "GAPURA_FAILPOINT"

NAMES = (
    "leased",
    "claimed",
    "handing_over",
    "answered",
    "recorded",
    "receipt_received",
    "receipt_written",
    "incoming_received",
    "incoming_written",
    "replied",
    "callback_posting",
    "callback_answered",
    "released",
)
"""docs/reliability.md says what lies before and behind each."""

_ACTION = re.compile(r"(?P<name>kill|stop|raise|sleep (?P<seconds>\d+(\.\d+)?))")
_POINT = re.compile(rf"(?P<point>\w+)=(?P<action>{_ACTION.pattern})(:(?P<nth>[1-9]\d*))?")


class Struck(Exception):
    """The action `raise`: an error that nobody expects."""


def _nothing(name: str) -> None:
    """No failpoint is set."""


def reach_of(environ: Mapping[str, str]) -> Reach:
    """What the code calls at each point: `reach("claimed")`. Raises ConfigError."""
    if not (text := environ.get(VARIABLE, "")):
        return _nothing
    if text.startswith("armed:"):
        return _armed(Path(text.removeprefix("armed:")))
    return _counting(text)


def _counting(text: str) -> Reach:
    """Strikes at the points that `text` names, each the nth time."""
    strikes: dict[str, Strike] = {}
    left: dict[str, int] = {}
    for part in text.split(","):
        found = _POINT.fullmatch(part.strip())
        if found is None:
            raise ConfigError(VARIABLE, "", f"{part.strip()!r} is not NAME=ACTION[:NTH]; actions: {_ACTIONS}")
        point = found["point"]
        if point not in NAMES:
            raise ConfigError(VARIABLE, "", f"there is no failpoint {point!r}; there are: {', '.join(NAMES)}")
        strikes[point], left[point] = _strike(found["action"]), int(found["nth"] or 1)

    def reach(name: str) -> None:
        if name in strikes:
            left[name] -= 1
            if left[name] == 0:
                _tell(name)
                strikes[name]()

    return reach


_ACTIONS = "kill, stop, raise, sleep SECONDS"


def _armed(directory: Path) -> Reach:
    """Strikes wherever a file in `directory` says so."""
    if not directory.is_dir():
        raise ConfigError(VARIABLE, "", f"{directory} is not a directory")

    def reach(name: str) -> None:
        struck = directory / f"{name}.{os.getpid()}"
        try:
            (directory / name).rename(struck)
        except FileNotFoundError:
            return
        strike = _strike(struck.read_text("utf-8").strip())
        _tell(name)
        strike()

    return reach


def _strike(action: str) -> Strike:
    """What an action does. Raises ConfigError."""
    found = _ACTION.fullmatch(action)
    if found is None:
        raise ConfigError(VARIABLE, "", f"{action!r} is not an action; actions: {_ACTIONS}")
    if found["seconds"] is not None:
        return lambda: _stand_still(float(found["seconds"]))
    return {"kill": _kill, "stop": _stop, "raise": _raise}[action]


def _tell(name: str) -> None:
    log.critical("failpoint %s strikes", name, extra={"action": "failpoint.struck", "failpoint": name})


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def _raise() -> None:
    raise Struck


def _stand_still(seconds: float) -> None:
    """Block this thread, and with it the event loop: that is what is wanted here."""
    threading.Event().wait(seconds)


reach: Reach = reach_of(os.environ)
"""Called with one of NAMES wherever a crash shall be possible."""
