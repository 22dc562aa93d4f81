"""What is filled in quickly is the frozen value that it says it is."""

import copy
import pickle
from dataclasses import FrozenInstanceError, dataclass, fields, replace

import pytest

from core.filling import filling
from core.model import Outgoing
from tests.plugin_kit import NOON, outgoing

made = filling(Outgoing)
BASE = {"id": "0197", "tenant": "shop", "to": "628123456789", "content": "hello", "expires_at": NOON}


def test_it_is_the_frozen_value() -> None:
    """Of that class, equal to one made as usual, with the same defaults, hash and looks; copies and pickles too."""
    one, usual = made(**BASE), outgoing()
    assert type(one) is Outgoing
    assert (one, hash(one), repr(one)) == (usual, hash(usual), repr(usual))
    assert replace(one, content="x") == replace(usual, content="x")
    assert copy.deepcopy(one) == pickle.loads(pickle.dumps(one)) == usual


def test_every_field_is_filled() -> None:
    """Each with its own."""
    values = {field.name: f"its {field.name}" for field in fields(Outgoing)}
    one = made(**values)  # type: ignore[arg-type]
    assert {name: getattr(one, name) for name in values} == values


def test_it_cannot_be_changed() -> None:
    """Nor anything be added or taken away."""
    one = made(**BASE)
    with pytest.raises(FrozenInstanceError):
        one.content = "x"  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        del one.content
    with pytest.raises((AttributeError, TypeError)):
        one.new = "x"  # type: ignore[attr-defined]


def test_a_field_left_out_is_missed() -> None:
    """As the class itself misses it."""
    with pytest.raises(TypeError, match="missing 4 required keyword-only arguments"):
        made(id="0197")  # type: ignore[call-arg]


def test_a_class_that_checks_itself() -> None:
    """One with a `__post_init__` is refused at once: what that looks at would go unlooked at."""

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Checked:
        number: int

        def __post_init__(self) -> None:
            assert self.number > 0

    with pytest.raises(TypeError, match="Checked has a __post_init__"):
        filling(Checked)
