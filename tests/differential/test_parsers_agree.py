"""r2d2 in Python does what the built-in r2d2 does, whatever is said, however it is cut, and whatever the policy."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cilium_proxy import _core
from cilium_proxy.l7.loading import Loader
from cilium_proxy.policy import PolicyMap
from cilium_proxy.testing.parser import CONNECTION, Conversation, Entry

EXAMPLES = Path(__file__).parents[2] / "examples/parsers"
OK = 0
# More than any piece has messages; an error is given as often as there is room.
MAX_OPERATIONS = 100

WORDS = st.sampled_from(
    [b"READ", b"WRITE", b"HALT", b"RESET", b"read", b"", b"public/a", b"private/b", b"\xc3\xa9", b"\r"]
)
LINES = st.lists(WORDS, max_size=4).map(b" ".join)
ENDS = st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\r\n", b"\n", b""])
MESSAGES = st.lists(st.tuples(LINES, ENDS).map(b"".join), max_size=4).map(b"".join)
SAID = st.lists(st.tuples(st.sampled_from(["client", "server"]), MESSAGES), max_size=5)
FILES = ["^public/", "private", "a$", "^$", "é"]
RULES = st.one_of(
    st.builds(lambda cmd: {"cmd": cmd}, st.sampled_from(["READ", "WRITE", "HALT", "RESET"])),
    st.builds(lambda file: {"file": file}, st.sampled_from(FILES)),
    st.builds(lambda cmd, file: {"cmd": cmd, "file": file}, st.sampled_from(["READ", "WRITE"]), st.sampled_from(FILES)),
    st.just({"cmd": "HALT", "file": ""}),
)


@pytest.fixture(scope="module")
def r2d2():
    with Loader([EXAMPLES]) as loader:
        yield loader.load("r2d2:R2d2")


class BuiltIn:
    """A connection with the built-in parser, as `Conversation` is one with a parser in Python."""

    def __init__(self, rules, deny):
        lists = {"l7_allow_rules": rules, "l7_deny_rules": deny}
        l7_rules = {name: [{"rule": rule} for rule in found] for name, found in lists.items() if found}
        entry = {"port": CONNECTION.port, "rules": [{"l7_proto": "r2d2", "l7_rules": l7_rules}]}
        policies = PolicyMap()
        policy = {"endpoint_id": 1, "endpoint_ips": [CONNECTION.policy_name], "ingress_per_port_policies": [entry]}
        policies.update([policy], version="1")
        self.connections = _core.L7Connections(policies._snapshot())
        identities = (CONNECTION.source_identity, CONNECTION.destination_identity)
        ends = (CONNECTION.source_address, CONNECTION.destination_address)
        code, reason = self.connections.connect(1, "r2d2", True, identities, *ends, CONNECTION.policy_name, 1 << 20)
        assert code == OK, reason
        self.kept = {"client": b"", "server": b""}
        self.to_server = self.to_client = b""
        self.log = []
        self.closed = False

    def say(self, side, data):
        if self.closed:
            return
        self.kept[side] += data
        reply = side == "server"
        code, _, operations, _, injected, records = self.connections.on_data(
            1, reply, False, [self.kept[side]], MAX_OPERATIONS
        )
        self.log += [Entry(kind, fields) for kind, _, (_, fields) in records]
        self.closed = code != OK
        if self.closed:
            return
        self.to_client += injected
        for name, count in operations:
            if name in ("MORE", "ERROR"):
                self.closed = name == "ERROR"
                break
            passed, self.kept[side] = self.kept[side][:count], self.kept[side][count:]
            if name == "PASS" and reply:
                self.to_client += passed
            elif name == "PASS":
                self.to_server += passed


def compare(r2d2, pieces, rules, deny):
    """Says the same to both, piece by piece."""
    python, built_in = Conversation(r2d2, rules=rules, deny=deny), BuiltIn(rules, deny)
    for side, piece in pieces:
        python.say(side, piece)
        built_in.say(side, piece)
        assert python.to_server == built_in.to_server
        assert python.to_client == built_in.to_client
        assert python.log == built_in.log
        assert (python.closed is not None) == built_in.closed


def cut(said, places):
    for side, data in said:
        inside = sorted({place for place in places if place < len(data)})
        for start, stop in zip([0, *inside], [*inside, len(data)], strict=True):
            yield side, data[start:stop]


@given(
    said=SAID,
    places=st.lists(st.integers(1, 100), max_size=6),
    rules=st.lists(RULES, max_size=3),
    deny=st.lists(RULES, max_size=2),
)
@settings(deadline=None)
def test_python_and_the_built_in_parser_agree(r2d2, said, places, rules, deny):
    compare(r2d2, cut(said, places), rules, deny)


@pytest.mark.parametrize("length", [65535, 65536, 65537])
@pytest.mark.parametrize("side", ["client", "server"])
def test_they_agree_on_how_long_a_line_may_be(r2d2, side, length):
    compare(r2d2, [(side, b"x" * length), (side, b"\r\n")], [{"cmd": "READ"}], [])
