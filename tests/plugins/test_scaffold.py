"""`plugin new NAME` writes a plugin that loads and a test that is green."""

import subprocess
import sys
from pathlib import Path

import pytest

from core.decisions import Deny
from core.errors import CommandError
from core.hooks.registry import Plugins
from core.hooks.scaffold import write_plugin
from tests.plugin_kit import compile_hooks, outgoing

ROOT = Path(__file__).parents[2]


def pytest_on(directory: Path) -> subprocess.CompletedProcess[str]:
    """What a plugin's author does, in the checkout."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(directory)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)


def test_the_test_is_green_and_can_be_red(tmp_path: Path) -> None:
    """It runs as it is, and notices when the plugin no longer does what it says."""
    plugin, test = write_plugin("office_hours", tmp_path / "mine")
    assert (plugin.name, test.name) == ("office_hours.py", "test_office_hours.py")
    green = pytest_on(plugin.parent)
    assert (green.returncode, "3 passed" in green.stdout) == (0, True), green.stdout
    plugin.write_text(plugin.read_text().replace("if not", "if"))
    assert pytest_on(plugin.parent).returncode == 1


async def test_the_plugin_loads_and_takes_options(tmp_path: Path) -> None:
    """From plugins_dir, with the test beside it passed over; it is always noon here."""
    write_plugin("office_hours", tmp_path)
    plugins = Plugins.load(tmp_path, entry_points=False)
    early = compile_hooks(plugins, "office_hours", office_hours={"open": 6, "close": 9})
    assert await early.collect("admit", message=outgoing()) == [
        ("office_hours", Deny("office_hours", "open 6:00 to 9:00"))
    ]  # fmt: skip
    assert await compile_hooks(plugins, "office_hours").collect("admit", message=outgoing()) == []


@pytest.mark.parametrize(
    "name",
    ["", "office-hours", "1st", "class", "Office", "café", "_x", "test_x", "conftest", "delay", "json", "core", "a/b"],
)
def test_refuses_a_name_that_will_not_do(tmp_path: Path, name: str) -> None:
    """And writes nothing."""
    with pytest.raises(CommandError):
        write_plugin(name, tmp_path / "mine")
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize("existing", ["shop.py", "test_shop.py", "shop"])
def test_never_writes_over_anything(tmp_path: Path, existing: str) -> None:
    """Neither the plugin nor its test."""
    (tmp_path / existing).write_text("mine")
    with pytest.raises(CommandError, match="exists already"):
        write_plugin("shop", tmp_path)
    assert (tmp_path / existing).read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 1


def test_says_when_it_cannot_write(tmp_path: Path) -> None:
    """A file where the directory should be."""
    (tmp_path / "file").touch()
    with pytest.raises(CommandError, match="cannot be written"):
        write_plugin("shop", tmp_path / "file" / "mine")
