"""`proxylib` and `proxylib_params` of `cilium.network`, on real Envoy."""

import asyncio
import contextlib
import socket

from tests.agent.conftest import CLIENT, POD, STRANGER
from tests.agent.double import LISTENERS
from tests.agent.process import LIMIT
from tests.agent.test_traffic import enforce, listening

from cilium_proxy.api import messages

NAME = "cilium-parser-ingress"
RULES = [{"remote_policies": [43], "l7_proto": "r2d2", "l7_rules": {"l7_allow_rules": [{"rule": {"cmd": "READ"}}]}}]


class Receiver:
    """The agent's end of an access log: one cilium.LogEntry per packet."""

    def __init__(self, path):
        self.path = path
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(str(path))
        self.listener.listen()
        self.listener.settimeout(LIMIT)
        self.connection = None

    def read(self):
        if self.connection is None:
            self.connection, _ = self.listener.accept()
            self.connection.settimeout(LIMIT)
        return messages("cilium.LogEntry").FromString(self.connection.recv(65536))

    def close(self):
        self.listener.close()
        if self.connection is not None:
            self.connection.close()


async def halt(node, source):
    """Sends a message that is denied; what the client reads."""
    reader, writer = await asyncio.open_connection(node.host, node.port, local_addr=(source, 0))
    with contextlib.closing(writer):
        writer.write(b"HALT\r\n")
        return await asyncio.wait_for(reader.readline(), LIMIT)


async def test_parsers_log_where_their_parameters_say(agent, node, bootstrap, run, directory):
    own, parsers = Receiver(directory / "own.sock"), Receiver(directory / "parsers.sock")
    try:
        run(bootstrap())
        parameters = {
            "access-log-path": str(parsers.path),
            # Policies come from the agent that the proxy is connected to, whatever these say.
            "xds-path": "/var/run/cilium/xds.sock",
            "node-id": "host~127.0.0.1~no-id~localdomain",
        }
        listener = node.parsers(NAME, parameters, access_log_path=str(own.path))
        await enforce(agent, node, rules=RULES, listeners={NAME: listener})
        await listening(node)
        assert await halt(node, CLIENT) == b"ERROR\r\n"
        entry = await asyncio.to_thread(parsers.read)
        assert (entry.generic_l7.proto, dict(entry.generic_l7.fields)["cmd"]) == ("r2d2", "HALT")
        assert (entry.policy_name, entry.source_security_id) == (POD, 43)
        # The verdict on a connection is not a parser's. There was one on that of `listening`, too.
        with contextlib.suppress(ConnectionError):
            assert await halt(node, STRANGER) == b""
        while (entry := await asyncio.to_thread(own.read)).source_security_id != 44:
            assert entry.WhichOneof("l7") is None
    finally:
        own.close()
        parsers.close()


async def test_an_unknown_parameter_refuses_the_listener_by_name(agent, node, bootstrap, run):
    proxy = run(bootstrap())
    await enforce(agent, node)
    listener = node.parsers(NAME, {"access-log-paht": "/var/run/cilium/access_log.sock"})
    answer = await agent.push(LISTENERS, {"cilium-http-ingress": node.http(ingress=True), NAME: listener})
    assert NAME in answer.error
    # Envoy's answer has no room for the reason.
    assert "the keys are access-log-path, xds-path and node-id" in proxy.wait_for('unknown key "access-log-paht"')
