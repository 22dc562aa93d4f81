"""As whom the embedded PostgreSQL runs: it refuses to run as root."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import CommandError

if TYPE_CHECKING:
    from db.cluster import Cluster

_CHILD = Path(__file__).with_name("postgres_child.py")


@dataclass(frozen=True, slots=True)
class Identity:
    """`how` is the wrapper's word: self, userns or UID:GID."""

    how: str

    @classmethod
    def for_cluster(cls, cluster: Cluster) -> Identity:
        """An ordinary user stays itself. Root becomes the owner of an existing cluster; else it enters a user
        namespace, or becomes nobody where there are none. CommandError when an ordinary user meets another's."""
        mine, owner = os.geteuid(), _owner(cluster)
        if mine != 0:
            if owner not in {None, mine}:
                raise CommandError(
                    f"{cluster.data} belongs to user {owner} and this is user {mine}: chown -R it, or be that"
                )
            return cls("self")
        if owner:
            return cls(f"{owner}:{cluster.data.stat().st_gid}")
        if user_namespaces_work():
            return cls("userns")
        if owner == 0:
            raise CommandError(f"{cluster.data} belongs to root and there are no user namespaces here: chown -R it")
        nobody = pwd.getpwnam("nobody")
        return cls(f"{nobody.pw_uid}:{nobody.pw_gid}")

    @property
    def owns_what_we_own(self) -> bool:
        """Whether this process's files are its files."""
        return ":" not in self.how

    def give(self, path: Path) -> None:
        """Make `path` the property of whom postgres runs as."""
        if not self.owns_what_we_own:
            uid, gid = self.how.split(":")
            os.chown(path, int(uid), int(gid))


def child_command(
    identity: Identity, program: Path, arguments: list[str], *, outlives: tuple[int, float] | None = None
) -> list[str]:
    """The command that runs `program` through the wrapper, as a child of this process. It dies with this process, or,
    `outlives` = (a pipe's end to read, seconds), is shut down so much later than the pipe's other end is closed."""
    how_long = "dies" if outlives is None else f"{outlives[0]}:{outlives[1]:g}"
    wrapper = [sys.executable, "-I", "-S", str(_CHILD), identity.how, str(os.getpid()), how_long]
    return [*wrapper, str(program), *arguments]


def user_namespaces_work() -> bool:
    """Tried, not guessed: containers and distributions forbid them in many ways."""
    command = child_command(Identity("userns"), Path("/bin/true"), [])
    return subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode == 0  # noqa: S603


def _owner(cluster: Cluster) -> int | None:
    return cluster.data.stat().st_uid if cluster.exists else None
