"""Places to die: what the variable may say, what strikes and when; code and docs know the same ones."""

import ast
import os
import re
from pathlib import Path

import pytest

from core import failpoints
from core.errors import ConfigError
from core.failpoints import NAMES, Struck, reach_of

ROOT = Path(__file__).parents[2]


def reached(tree: ast.AST) -> set[str]:
    """The literal names in calls of `reach`."""
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and ast.unparse(n.func) == "reach"]
    names = [call.args[0] for call in calls]
    assert all(isinstance(name, ast.Constant) for name in names), "a failpoint's name is a literal"
    return {name.value for name in names if isinstance(name, ast.Constant)}


def test_every_point_is_reached_in_core_and_no_other() -> None:
    """A name that nothing reaches would never strike; one that is not in NAMES could not be set."""
    files = (ROOT / "core").rglob("*.py")
    found = {name for file in files for name in reached(ast.parse(file.read_text("utf-8")))}
    assert found == set(NAMES)


def test_every_point_is_documented() -> None:
    """docs/reliability.md has a row for each, and none for another."""
    text = (ROOT / "docs" / "reliability.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \|", text.partition("## Failpoints")[2].partition("\n## ")[0], flags=re.MULTILINE)
    assert sorted(rows) == sorted(NAMES)


def test_unset_it_is_one_call_that_does_nothing() -> None:
    """Without the variable, and with an empty one, `reach` is the function that has no body."""
    assert reach_of({}) is failpoints._nothing
    assert reach_of({"GAPURA_FAILPOINT": ""}) is failpoints._nothing


def test_it_strikes_the_nth_time_and_once() -> None:
    """`:3` lets two pass, strikes at the third, and then never again; other points do not count."""
    reach = reach_of({"GAPURA_FAILPOINT": "answered=raise:3"})
    for name in ("answered", "claimed", "answered", "claimed"):
        reach(name)
    with pytest.raises(Struck):
        reach("answered")
    reach("answered")


def test_several_points() -> None:
    """Each has its own action and count."""
    reach = reach_of({"GAPURA_FAILPOINT": "claimed=sleep 0.001:2, recorded=raise"})
    reach("claimed")
    with pytest.raises(Struck):
        reach("recorded")
    reach("claimed")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("claimed", "not NAME=ACTION"),
        ("claimed=die", "kill, stop, raise, sleep SECONDS"),
        ("claimed=kill:0", "not NAME=ACTION"),
        ("claimed=sleep", "not NAME=ACTION"),
        ("nowhere=kill", "no failpoint 'nowhere'"),
        ("claimed=kill,,", "not NAME=ACTION"),
        ("armed:/no/such/place", "not a directory"),
    ],
)
def test_a_wrong_value_is_refused(text: str, said: str) -> None:
    """What is wrong and what would be right is told, with the variable's name."""
    with pytest.raises(ConfigError, match=re.escape(said)) as refused:
        reach_of({"GAPURA_FAILPOINT": text})
    assert "GAPURA_FAILPOINT" in str(refused.value)


def test_armed_points_strike_once_for_each_file(tmp_path: Path) -> None:
    """A file is one strike, renamed by whoever struck; the next file strikes again; other names never."""
    reach = reach_of({"GAPURA_FAILPOINT": f"armed:{tmp_path}"})
    for _ in range(2):
        reach("claimed")
        (tmp_path / "claimed").write_text("raise\n")
        reach("answered")
        with pytest.raises(Struck):
            reach("claimed")
        assert [file.name for file in tmp_path.iterdir()] == [f"claimed.{os.getpid()}"]
        reach("claimed")
