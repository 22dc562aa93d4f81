"""What a session process gets of the gateway's environment: what the system, Python and the libraries in it read, and
nothing else. Secrets that the configuration reads there (`{ $env: NAME }`) are of no use to it, and could come to light
in its memory images and in `/proc`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")

_NAMES = frozenset({
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TZDIR", "TMPDIR", "TEMP", "TMP", "MAGIC",
    "VIRTUAL_ENV", "NLSPATH", "GCONV_PATH", "GLIBC_TUNABLES", "LOCALDOMAIN", "RES_OPTIONS", "HOSTALIASES",
    "GODEBUG", "GOGC", "GOMAXPROCS", "GOMEMLIMIT", "GOTRACEBACK",
    *_PROXIES, *(name.lower() for name in _PROXIES),
    # Each by its name, as others that begin so hold passwords: GAPURA_IMPORT_FROM does.
    "GAPURA_CONFIG", "GAPURA_DATA", "GAPURA_FAILPOINT", "GAPURA_LOG_FORMAT", "GAPURA_LOG_LEVEL",
})  # fmt: skip

_FAMILIES = ("LC_", "LD_", "MALLOC_", "NEONIZE_", "OPENSSL_", "PG", "PYTHON", "SSL_", "XDG_")
"""PG: of libpq, which may complete the database's URL; whoever has that URL may know them."""


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """The part of `environ` that is handed over."""
    return {name: value for name, value in environ.items() if name in _NAMES or name.startswith(_FAMILIES)}
