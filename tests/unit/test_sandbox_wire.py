"""The sandbox's wire formats: protobuf, binary XML, frames, Noise, signatures, app state."""

from __future__ import annotations

import zlib

import pytest
from cryptography.exceptions import InvalidTag
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.wire import protobuf
from sandbox.wire.appstate import StateKey, contact, lthash, push_name
from sandbox.wire.codec import Codec
from sandbox.wire.frames import Frames, framed
from sandbox.wire.keys import KeyPair, hkdf, pad, unpad, verify
from sandbox.wire.node import JID, SERVER, Node
from sandbox.wire.noise import TEST_ROOT, Identity, Responder, Symmetric
from sandbox.wire.protobuf import Malformed

PROLOGUE = b"WA\6\3"
WORDS = Codec(["", "iq", "to", "type"], [["read-self", "active"], ["composing"], [], []])

names = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=30)
jids = st.builds(
    JID, st.text("0123456789", min_size=1, max_size=15), st.sampled_from(["s.whatsapp.net", "lid"]), st.integers(0, 99)
)
nodes = st.recursive(
    st.builds(Node, names, st.dictionaries(names, names | jids, max_size=3), st.none() | st.binary(max_size=400)),
    lambda inner: st.builds(Node, names, st.just({}), st.lists(inner, min_size=1, max_size=4)),
    max_leaves=8,
)


# -- protobuf ----------------------------------------------------------------------------------------------------------
def test_protobuf_is_the_format_of_the_specification() -> None:
    """The examples of the protobuf documentation: 150 in field 1, "testing" in field 2, a message in field 3."""
    assert protobuf.encode({1: 150}) == bytes.fromhex("089601")
    assert protobuf.encode({2: "testing"}) == bytes.fromhex("120774657374696e67")
    assert protobuf.encode({3: {1: 150}}) == bytes.fromhex("1a03089601")
    assert protobuf.encode({1: None, 4: ["a", b"b"]}) == b"\x22\1a\x22\1b"


@settings(deadline=None, max_examples=40)
@given(st.dictionaries(st.integers(1, 2000), st.integers(0, 2**63) | st.binary(max_size=300), max_size=8))
def test_protobuf_round_trip(fields: dict[int, int | bytes]) -> None:
    """What is written is read again."""
    read = protobuf.decode(protobuf.encode(fields))
    assert {field: values[0] for field, values in read.fields.items()} == fields


@settings(deadline=None, max_examples=40)
@given(st.binary(max_size=60))
def test_protobuf_refuses_by_name(data: bytes) -> None:
    """Arbitrary bytes are a message or Malformed, and nothing else."""
    try:
        protobuf.decode(data)
    except Malformed:
        return


def test_protobuf_missing_fields() -> None:
    """A field that is due raises; one that is not has a default; fixed numbers are passed over."""
    read = protobuf.decode(protobuf.encode({1: 5, 2: "a"}) + b"\x1d\0\0\0\0")
    assert (read.number(1), read.text(2), read.text(9), read.number(9), read.get(9)) == (5, "a", "", 0, None)
    assert 1 in read and 9 not in read
    with pytest.raises(Malformed):
        read.data(9)
    with pytest.raises(Malformed, match="cut short"):
        protobuf.decode(b"\x12\x07test")


# -- binary XML --------------------------------------------------------------------------------------------------------
@settings(deadline=None, max_examples=40)
@given(nodes)
def test_a_node_comes_back(node: Node) -> None:
    """Tag, attributes, addresses and content survive, with word tables and without."""
    for codec in (WORDS, Codec()):
        assert codec.decode(codec.encode(node)) == node


@settings(deadline=None, max_examples=40)
@given(st.binary(max_size=80))
def test_bytes_that_are_no_node(data: bytes) -> None:
    """Arbitrary bytes are a node or Malformed."""
    try:
        WORDS.decode(data)
    except Malformed:
        return


def test_words_are_short() -> None:
    """A known word is one byte or two; an address is written as one, the server's own without a user."""
    node = Node("iq", {"to": SERVER, "type": "active"})
    assert WORDS.encode(node) == bytes([0, 248, 5, 1, 2, 250, 0, 252, 14]) + b"s.whatsapp.net" + bytes([3, 236, 1])
    assert WORDS.encode(Node("iq", {"to": JID("62811", "lid", 7)}))[5:8] == bytes([247, 1, 7])


def test_what_clients_pack() -> None:
    """Digits and hex are packed two to a byte, and a stanza may be compressed; all three are read."""
    packed = bytes([248, 5, 1, 2, 255, 131, 0x62, 0x81, 0x1F, 3, 251, 2, 0x3A, 0x0F])
    assert WORDS.decode(b"\0" + packed) == Node("iq", {"to": "62811", "type": "3A0F"})
    assert WORDS.decode(b"\2" + zlib.compress(packed)) == WORDS.decode(b"\0" + packed)


def test_attributes_without_a_value_are_left_out() -> None:
    """None and "" are not written; a long list and a long text have their own heads."""
    assert WORDS.decode(WORDS.encode(Node("iq", {"to": None, "type": "", "id": "1"}))) == Node("iq", {"id": "1"})
    long = Node("iq", {}, [Node("to", {}, bytes(70_000)) for _ in range(300)])
    assert WORDS.decode(WORDS.encode(long)) == long


def test_a_node_does_not_show_its_bytes() -> None:
    """Keys and codes are bytes; a node in a log tells only how many."""
    node = Node("iq", {"to": JID("62811", "lid", 2)}, [Node("ref", {}, b"secret"), Node("value", {}, bytes(32))])
    assert str(node) == '<iq to="62811:2@lid"><ref>[6 B]</ref><value>[32 B]</value></iq>'


def test_ways_through_a_node() -> None:
    """Children by their path; what is due and missing is Malformed."""
    node = Node("a", {"id": "7"}, [Node("b", {}, [Node("c", {}, b"x")])])
    assert (node.need("b", "c").data, node.child("b", "d"), node.get("id"), node.get("no")) == (b"x", None, "7", "")
    for wrong in (lambda: node.need("d"), lambda: node.data, lambda: node.jid("id")):
        with pytest.raises(Malformed):
            wrong()


# -- frames and Noise --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("routing", [b"", b"ED\0\1\0\0\3abc"])
def test_frames_are_cut_wherever_the_stream_is(routing: bytes) -> None:
    """Byte by byte or at once: the prologue, with or without routing information before it, then each frame whole."""
    stream = routing + PROLOGUE + framed(b"one") + framed(b"") + framed(bytes(300))
    for size in (1, len(stream)):
        frames, got = Frames(), list[bytes]()
        for at in range(0, len(stream), size):
            got += frames.feed(stream[at : at + size])
        assert (frames.prologue, got) == (PROLOGUE, [b"one", b"", bytes(300)])


def handshake(prologue: bytes) -> None:
    """A client's side of the handshake, from the specification, against the server's."""
    identity, ephemeral, static = Identity.new(), KeyPair.new(), KeyPair.new()
    server, client = Responder(identity, PROLOGUE), Symmetric(prologue)
    client.mix_hash(ephemeral.public)
    hello = protobuf.decode(server.hello(protobuf.encode({2: {1: ephemeral.public}}))).message(3)
    client.mix_hash(hello.data(1))
    client.mix_key(ephemeral.dh(hello.data(1)))
    theirs = client.open(hello.data(2))
    client.mix_key(ephemeral.dh(theirs))
    assert client.open(hello.data(3)) == identity.certificates
    sealed = client.seal(static.public)
    client.mix_key(static.dh(hello.data(1)))
    done = server.finish(protobuf.encode({4: {1: sealed, 2: client.seal(b"payload")}}))
    writing, reading = client.split()
    assert (done.client, done.payload) == (static.public, b"payload")
    assert done.reading.open(writing.seal(b"up")) == b"up"
    assert [reading.open(done.writing.seal(text)) for text in (b"down", b"again")] == [b"down", b"again"]


def test_noise() -> None:
    """Both sides agree on keys, each direction has its own, and the server learns who the client is."""
    handshake(PROLOGUE)


def test_noise_binds_the_prologue() -> None:
    """A client that began with other bytes than the server read cannot go on."""
    with pytest.raises(InvalidTag):
        handshake(b"WA\6\2")


def test_the_certificates_lead_to_the_root() -> None:
    """The root signs the intermediate, the intermediate the server's static key; serials and dates fit."""
    identity = Identity.new()
    chain = protobuf.decode(identity.certificates)
    leaf, middle = chain.message(1), chain.message(2)
    assert verify(TEST_ROOT.public, middle.data(1), middle.data(2))
    details, above = leaf.message(1), middle.message(1)
    assert verify(above.data(3), leaf.data(1), leaf.data(2))
    assert details.data(3) == identity.static.public
    assert (above.number(2), details.number(2)) == (0, above.number(1))
    assert details.number(4) < details.number(5)


def test_the_root_is_the_same_in_every_run() -> None:
    """A client that is pointed at this key once can talk to any sandbox."""
    assert TEST_ROOT.public.hex() == "cdc13b26844392cfd3a23dc1af8cbe8512db0d61aeec990ab94c3329acb4360a"


# -- keys --------------------------------------------------------------------------------------------------------------
@settings(deadline=None, max_examples=40)
@given(st.binary(max_size=100))
def test_signatures(message: bytes) -> None:
    """A signature holds for its key and message only."""
    pair = KeyPair.new()
    signature = pair.sign(message)
    assert verify(pair.public, message, signature)
    assert not verify(pair.public, message + b"x", signature)
    assert not verify(KeyPair.new().public, message, signature)
    assert not verify(pair.public, message, signature[:-1])


def test_hkdf_is_rfc_5869() -> None:
    """The first test case of the RFC."""
    salt, info = bytes.fromhex("000102030405060708090a0b0c"), bytes.fromhex("f0f1f2f3f4f5f6f7f8f9")
    expected = "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    assert hkdf(b"\x0b" * 22, info, 42, salt).hex() == expected


def test_padding() -> None:
    """Padding comes off as it went on; what is none is refused."""
    assert unpad(pad(b"text", 15), 16) == b"text"
    for wrong in (b"", b"text", b"text\2\3", b"\x11" * 17):
        with pytest.raises(ValueError, match="padding"):
            unpad(wrong, 16)


# -- app state ---------------------------------------------------------------------------------------------------------
def test_a_setting_made_twice_counts_once() -> None:
    """The hash of a collection depends on what is in it, not on how it came there."""
    key = StateKey.new()
    first = key.patch(push_name("Toko"), [])
    second = key.patch(push_name("Toko Maju"), [first])
    assert protobuf.decode(second).message(1).number(1) == 2
    assert lthash([first, second]) == lthash([second])
    other = key.patch(contact("628@s.whatsapp.net", "Carol Wijaya", "1@lid"), [])
    assert lthash([first, other]) == lthash([other, first]) != lthash([first])
