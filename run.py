"""Gapura: `python run.py COMMAND`. A guard and a hand-over; the commands are in core/cli."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
OURS = ("core", "db", "plugins", "sandbox")


def main() -> int:
    """The exit status of the command line. A wrong Python or a missing package is told in one sentence."""
    if not (3, 11) <= sys.version_info[:2] < (3, 14):
        sys.exit(f"gapura: Python 3.11, 3.12 or 3.13 is needed, this is {sys.version.split()[0]}; try: make demo")
    try:
        import core

        if Path(core.__file__ or "").resolve().parent != HERE / "core":
            sys.exit(f"gapura: another package called core is in the way: {core.__file__}; unset PYTHONPATH")
        from core.cli.main import main as command_line

        return command_line(sys.argv[1:])
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in OURS:
            raise
        sys.exit(
            f"gapura: the package {error.name} is missing in {sys.executable}.\n"
            "`make demo` or `make test` installs everything into .venv; then use: .venv/bin/python run.py COMMAND"
        )


if __name__ == "__main__":
    sys.exit(main())
