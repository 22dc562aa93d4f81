"""Every failure has a name.

GapuraError
├── ConfigError             a file, a path in it and what is wrong: the program does not start
├── CommandError            a command line cannot be carried out; the text says what to do next
├── PluginFailed            a plugin raised, timed out or answered nonsense in a hook
├── Unavailable             try again later: 503 with Retry-After
│   ├── DatabaseUnavailable   PostgreSQL is out of reach, or the statement's fate is unknown (`uncertain`)
│   └── StatementTimeout      PostgreSQL ended the statement by its statement_timeout
├── StatementRejected       PostgreSQL refused the statement itself (sqlstate)
├── SendFailed              the transport could not send; `left` tells whether it may have left all the same
├── OpenFailed              a session could not be opened
├── LibraryMissing          neonize or something it needs is not installed; the text says what to do next
└── Refused                 the caller's request is refused, with an HTTP status
    ├── BadRequest 400 · Unauthorized 401 · Forbidden 403 · NotFound 404 · Conflict 409
    └── Gone 410 · TooLarge 413 · WrongContentType 415 · Unprocessable 422 · OverLimit 429
"""

from __future__ import annotations

from typing import Any, ClassVar


class GapuraError(Exception):
    """The root of all errors that Gapura raises on purpose."""


class ConfigError(GapuraError):
    """A configuration that cannot be used. `file` and `path` (`$.plugins.delay.min`) tell where."""

    def __init__(self, file: object, path: str, problem: str) -> None:
        super().__init__(f"{file}: {path}: {problem}" if path else f"{file}: {problem}")
        self.file, self.path, self.problem = str(file), path, problem


class CommandError(GapuraError):
    """A command that cannot be carried out; the text says what to do next."""


class PluginFailed(GapuraError):
    """A plugin raised, timed out or answered nonsense; the cause is chained. `tenant`: whose hooks these are, None: the
    service's."""

    def __init__(self, plugin: str, hook: str, problem: str = "failed", tenant: str | None = None) -> None:
        super().__init__(f"plugin {plugin!r} {problem} in hook {hook!r}")
        self.plugin, self.hook, self.tenant = plugin, hook, tenant

    @property
    def told(self) -> dict[str, str]:
        """What a log line about it carries."""
        told = {"action": "plugin_failed", "plugin": self.plugin, "hook": self.hook}
        return told if self.tenant is None else {**told, "tenant": self.tenant}


class Unavailable(GapuraError):
    """Try again in `retry_after` seconds."""

    retry_after: float = 2.0


class DatabaseUnavailable(Unavailable):
    """PostgreSQL cannot be reached. `uncertain` is true when the statement had been sent, so that it may have been
    carried out all the same: repeat it only if it is idempotent."""

    def __init__(self, problem: str, *, uncertain: bool = False) -> None:
        super().__init__(problem)
        self.uncertain = uncertain


class StatementTimeout(Unavailable):
    """PostgreSQL cancelled the statement (statement_timeout); it had no effect."""


class StatementRejected(GapuraError):
    """PostgreSQL refused the statement: bad data, a violated constraint, a deadlock. It had no effect."""

    def __init__(self, sqlstate: str, problem: str) -> None:
        super().__init__(f"{sqlstate}: {problem}")
        self.sqlstate = sqlstate


class SendFailed(GapuraError):
    """The transport could not send. `cause` is a short code; `left` is true when the message may have left anyway;
    `retry` is true when it certainly did not leave, or was not taken, and may be tried again once connected, but not
    before `pause` seconds are over."""

    def __init__(
        self, cause: str, *, left: bool = False, retry: bool = False, detail: str = "", pause: float = 0.0
    ) -> None:
        super().__init__(f"{cause}: {detail}" if detail else cause)
        self.cause, self.left, self.retry, self.detail, self.pause = cause, left, retry, detail, pause


class OpenFailed(GapuraError):
    """A session could not be opened. `cause` is a short code, `detail` what the library said."""

    def __init__(self, cause: str, detail: str = "") -> None:
        super().__init__(f"{cause}: {detail}" if detail else cause)
        self.cause, self.detail = cause, detail


class LibraryMissing(GapuraError):
    """A library is not there or cannot be loaded; the text says what to install."""


class Refused(GapuraError):
    """A request that is refused. `code` is stable and for programs, `detail` for people, `field` names the culprit."""

    status: ClassVar[int] = 400
    title: ClassVar[str] = "Bad request"

    def __init__(
        self, code: str, detail: str, *, field: str | None = None, retry_after: float | None = None, **extra: Any
    ) -> None:
        super().__init__(detail)
        self.code, self.detail, self.field, self.retry_after, self.extra = code, detail, field, retry_after, extra


class BadRequest(Refused):
    """400: not understood at all."""


class Unauthorized(Refused):
    """401: no valid key."""

    status, title = 401, "Unauthorized"


class Forbidden(Refused):
    """403: a plugin's Deny."""

    status, title = 403, "Refused by policy"


class NotFound(Refused):
    """404: no such thing for this tenant."""

    status, title = 404, "Not found"


class Conflict(Refused):
    """409: it contradicts what is there."""

    status, title = 409, "Conflict"


class Gone(Refused):
    """410: it was there, and will not come back."""

    status, title = 410, "Gone"


class TooLarge(Refused):
    """413: more than the gateway takes."""

    status, title = 413, "Too large"


class WrongContentType(Refused):
    """415: not JSON."""

    status, title = 415, "Unsupported media type"


class Unprocessable(Refused):
    """422: understood, but a field is not usable."""

    status, title = 422, "Invalid field"


class OverLimit(Refused):
    """429: a quota is used up, or a plugin says later."""

    status, title = 429, "Limit reached"
