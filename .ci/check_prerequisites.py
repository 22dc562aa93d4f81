"""Is everything here that Gapura cannot install by itself? Says what is missing, and the line that installs it.

    check_prerequisites.py            this Python and this machine
    check_prerequisites.py --python   this Python only

Standard library only, and no newer grammar than Python 3.6's: a Python that is too old must be able to say so.
"""

import ctypes
import ctypes.util
import importlib.util
import os
import platform
import shutil
import sys

OLDEST, FIRST_UNTRIED = (3, 11), (3, 14)
MACHINES = ("x86_64", "amd64", "aarch64", "arm64")

# package manager, its command, and what it calls: Python with venv, libmagic
MANAGERS = (
    ("apt-get", "apt-get install -y", "python3 python3-venv", "libmagic1"),
    ("dnf", "dnf install -y", "python3.11", "file-libs"),
    ("apk", "apk add", "python3", "libmagic"),
    ("brew", "brew install", "python@3.12", "libmagic"),
)


def python_problems(version, has_module):
    """What is wrong with a Python of this version, in which `has_module(name)` tells what can be imported."""
    found = []
    if not OLDEST <= version < FIRST_UNTRIED:
        found.append((f"Python 3.11, 3.12 or 3.13 is needed, this is {version[0]}.{version[1]}", "python"))
    elif not (has_module("venv") and has_module("ensurepip")):
        found.append(("this Python cannot make virtual environments: its venv or ensurepip is missing", "python"))
    return found


def machine_problems(system, machine, libmagic):
    """What is wrong with a machine of this system and processor; `libmagic` is whether it can be loaded."""
    found = []
    if system != "Linux" or machine.lower() not in MACHINES:
        here = f"{system} on {machine}"
        found.append((f"{here} is not supported: use Linux on x86-64 or arm64, for example in a container", None))
    if not libmagic:
        found.append(("libmagic is missing, without which the WhatsApp library (neonize) cannot be loaded", "libmagic"))
    return found


def install_line(what, has_command, is_root):
    """The command that installs "python" or "libmagic" here; without a known package manager, that of each."""
    column = {"python": 2, "libmagic": 3}[what]
    here = [manager for manager in MANAGERS if has_command(manager[0])][:1]
    lines = []
    for manager in here or MANAGERS:
        sudo = "" if is_root or manager[0] == "brew" else "sudo "
        lines.append(sudo + manager[1] + " " + manager[column])
    return "   or   ".join(lines)


def has_libmagic():
    """Whether libmagic can be loaded, looked for as python-magic looks for it."""
    for name in (ctypes.util.find_library("magic"), "libmagic.so.1"):
        try:
            if name and ctypes.CDLL(name):
                return True
        except OSError:
            continue
    return False


def main(arguments):
    """Print every problem to stderr; the exit status is 0 when there is none."""
    found = python_problems(sys.version_info[:2], lambda name: importlib.util.find_spec(name) is not None)
    if "--python" not in arguments:
        found += machine_problems(platform.system(), platform.machine(), has_libmagic())
    for problem, package in found:
        sys.stderr.write(f"gapura: {problem}\n")
        if package:
            is_root = hasattr(os, "geteuid") and os.geteuid() == 0
            sys.stderr.write("    install it with:   " + install_line(package, shutil.which, is_root) + "\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
