"""What `make` checks before it sets anything up: the problems, and the exact line that solves each."""

import importlib.util
import platform
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def check() -> ModuleType:
    """The script, imported from where it lies."""
    path = Path(__file__).parents[2] / ".ci" / "check_prerequisites.py"
    spec = importlib.util.spec_from_file_location("check_prerequisites", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("version", "fine"), [((3, 10), False), ((3, 11), True), ((3, 13), True), ((3, 14), False)])
def test_python_3_11_to_3_13(check: ModuleType, version: tuple[int, int], fine: bool) -> None:
    """Older and newer Pythons are refused, naming the version they are."""
    problems = check.python_problems(version, lambda name: True)
    assert (problems == []) is fine
    assert fine or f"this is {version[0]}.{version[1]}" in problems[0][0]


@pytest.mark.parametrize("missing", ["venv", "ensurepip"])
def test_python_must_make_virtual_environments(check: ModuleType, missing: str) -> None:
    """A Python that its distribution has split in two is told apart from a whole one."""
    [(problem, package)] = check.python_problems((3, 11), lambda name: name != missing)
    assert "virtual environments" in problem
    assert package == "python"


@pytest.mark.parametrize(
    ("system", "machine", "fine"),
    [
        ("Linux", "x86_64", True),
        ("Linux", "aarch64", True),
        ("Linux", "riscv64", False),
        ("Darwin", "arm64", False),
        ("Windows", "AMD64", False),
    ],
)
def test_linux_on_two_processors(check: ModuleType, system: str, machine: str, fine: bool) -> None:
    """Other systems and processors are sent to a container."""
    problems = check.machine_problems(system, machine, True)
    assert (problems == []) is fine
    assert fine or "container" in problems[0][0]


def test_libmagic_is_looked_for(check: ModuleType) -> None:
    """Its absence is a problem with a package to install."""
    [(problem, package)] = check.machine_problems("Linux", "x86_64", False)
    assert "libmagic" in problem
    assert package == "libmagic"


@pytest.mark.parametrize(
    ("manager", "is_root", "line"),
    [
        ("apt-get", True, "apt-get install -y libmagic1"),
        ("apt-get", False, "sudo apt-get install -y libmagic1"),
        ("dnf", True, "dnf install -y file-libs"),
        ("apk", True, "apk add libmagic"),
        ("brew", False, "brew install libmagic"),
    ],
)
def test_the_line_to_type(check: ModuleType, manager: str, is_root: bool, line: str) -> None:
    """The line fits the package manager that is here, with sudo only for who needs it."""
    assert check.install_line("libmagic", lambda command: command == manager, is_root) == line


def test_all_lines_where_no_manager_is_known(check: ModuleType) -> None:
    """Nobody is left without a hint."""
    line = check.install_line("libmagic", lambda command: False, True)
    assert all(part in line for part in ("apt-get", "dnf", "apk", "brew"))


def test_problems_are_told_on_stderr(
    check: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole check fails with one line per problem, and `--python` does not look at the machine."""
    monkeypatch.setattr(platform, "system", lambda: "Plan9")
    assert check.main([]) == 1
    assert "gapura: Plan9 on" in capsys.readouterr().err
    assert check.main(["--python"]) == 0
    assert capsys.readouterr().err == ""
