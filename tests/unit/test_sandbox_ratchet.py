"""Signal sessions of simulated phones: what two devices write, each reads, whatever happens on the way."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.wire.keys import KeyPair
from sandbox.wire.ratchet import LONGEST_SKIP, Bundle, FirstMessage, Session, Undecryptable


def two(with_once: bool = True) -> tuple[Session, Session, bytes]:
    """Both halves of a session, and the text of the first message."""
    alice, bob = KeyPair.new(), KeyPair.new()
    signed, once = KeyPair.new(), KeyPair.new() if with_once else None
    bundle = Bundle(bob.public, 1, signed.public, 7 if once else None, once.public if once else None)
    begun = Session.start(alice, 99, bundle)
    kind, data = begun.encrypt(b"first")
    assert kind == "pkmsg"
    first = FirstMessage.read(data)
    assert (first.identity, first.signed_id, first.once_id) == (alice.public, 1, 7 if once else None)
    accepted = Session.accept(bob, signed, once, first)
    return begun, accepted, accepted.decrypt(first.inner)


@pytest.mark.parametrize("with_once", [True, False])
def test_a_session_begins(with_once: bool) -> None:
    """The first message is read, with a one-time key and without; once answered, messages carry no beginning."""
    alice, bob, text = two(with_once)
    assert text == b"first"
    kind, answer = bob.encrypt(b"answer")
    assert (kind, alice.decrypt(answer)) == ("msg", b"answer")
    assert alice.encrypt(b"more")[0] == "msg"


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=40)), max_size=25))
def test_any_conversation(lines: list[tuple[bool, bytes]]) -> None:
    """Who writes when makes no difference."""
    alice, bob, _ = two()
    for from_alice, text in lines:
        sender, receiver = (alice, bob) if from_alice else (bob, alice)
        kind, data = sender.encrypt(text)
        assert receiver.decrypt(FirstMessage.read(data).inner if kind == "pkmsg" else data) == text


@settings(deadline=None, max_examples=40)
@given(st.permutations(range(8)))
def test_any_order(order: list[int]) -> None:
    """Messages are read in whatever order they come, also when the conversation turned in between, and each once."""
    alice, bob, _ = two()
    alice.decrypt(bob.encrypt(b"turn")[1])
    sent = [alice.encrypt(bytes([number]))[1] for number in range(4)]
    alice.decrypt(bob.encrypt(b"turn")[1])
    sent += [alice.encrypt(bytes([number]))[1] for number in range(4, 8)]
    assert [bob.decrypt(sent[at]) for at in order] == [bytes([at]) for at in order]
    for data in sent:
        with pytest.raises(Undecryptable):
            bob.decrypt(data)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 40), st.integers(1, 255))
def test_a_forgery_changes_nothing(at: int, change: int) -> None:
    """A message with one byte changed is refused, the session is as it was, and the true message is still read."""
    alice, bob, _ = two()
    alice.decrypt(bob.encrypt(b"turn")[1])
    _, data = alice.encrypt(b"the true message")
    forged = bytearray(data)
    forged[-at] ^= change
    before = copy.deepcopy(bob)
    with pytest.raises(ValueError):
        bob.decrypt(bytes(forged))
    assert bob == before
    assert bob.decrypt(data) == b"the true message"


def test_a_gap_has_an_end() -> None:
    """A message that claims thousands before it is refused rather than worked through."""
    alice, bob, _ = two()
    alice.decrypt(bob.encrypt(b"turn")[1])
    for _ in range(LONGEST_SKIP + 1):
        _, data = alice.encrypt(b"")
    with pytest.raises(Undecryptable, match="missing"):
        bob.decrypt(alice.encrypt(b"")[1])
    bob.decrypt(data)


def test_another_session_reads_nothing() -> None:
    """A message belongs to one session."""
    alice, _, _ = two()
    _, stranger, _ = two()
    with pytest.raises(Undecryptable):
        stranger.decrypt(FirstMessage.read(alice.encrypt(b"halo")[1]).inner)
