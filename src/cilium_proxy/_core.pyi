"""The native side of `cilium_proxy.policy` and `cilium_proxy.observe` (crates/python): conversions only."""

from typing import Any, Literal, final

__all__ = [
    "CompactPrinter",
    "HostMap",
    "L7Connections",
    "LogDestination",
    "LogEntry",
    "LogQueue",
    "LogReceiver",
    "ParserConnection",
    "PolicyMap",
    "Snapshot",
    "SniPattern",
    "TlsContext",
    "descriptors",
    "kafka_rules_allow",
    "l7_parsers",
    "l7_rule_problem",
    "log_entry_json",
    "proxylib_params",
]

def descriptors() -> bytes:
    """Serialised `FileDescriptorSet` of the protobuf files of this project, without the Envoy files they import."""

def kafka_rules_allow(rules: list[tuple[int, list[int], str, str]], request: tuple[int, int, str, list[str]]) -> bool:
    """Whether rules (API version, API keys, client id, topic) allow a request (API key, version, client id, topics)."""

def proxylib_params(params: dict[str, str]) -> tuple[str, str, str]:
    """Path of the access log, path of the policies' source, node id. Raises ValueError for unknown parameters."""

def l7_parsers() -> list[str]:
    """Names of the built-in parsers of `l7_rules`."""

def l7_rule_problem(parser: str, fields: dict[str, str]) -> str | None:
    """Why a parser refuses a rule's names and values; None if it takes them."""

@final
class LogEntry:
    """An entry of the access log, made of a request as the filters make it. Raises ValueError for unknown enum names.

    `source` and `destination` are identity and address; times are nanoseconds since the Unix epoch.
    """

    def __new__(
        cls,
        policy_name: str,
        *,
        proxy_id: int,
        ingress: bool,
        source: tuple[int, str],
        destination: tuple[int, str],
        protocol: str,
        timestamp: int,
        headers: list[tuple[str, str]],
    ) -> LogEntry: ...
    def respond(self, timestamp: int, headers: list[tuple[str, str]]) -> None:
        """Makes it the entry of the response."""

    def encode(self, entry_type: str) -> bytes:
        """A serialised `cilium.LogEntry`."""

@final
class PolicyMap:
    """Policies by resource name."""

    def __new__(cls) -> PolicyMap: ...
    def snapshot(self) -> Snapshot: ...
    def update(
        self, upserts: list[tuple[str | None, bytes]], removed: list[str], version: str, delta: bool, new_stream: bool
    ) -> None:
        """All or nothing. A resource without a name is named after its endpoint id."""

    def set_secret(self, name: str, value: bytes | None) -> None: ...
    def secret_names(self) -> list[str]: ...
    def counts(self) -> tuple[int, int]:
        """Updates so far: all, accepted."""

@final
class Snapshot:
    """An immutable state of the map. Answers are: allowed, reason, code, rule, position."""

    @property
    def version(self) -> str: ...
    def exists(self, endpoint: str) -> bool: ...
    def endpoints(self) -> list[tuple[str, int, str]]:
        """Address, endpoint id and resource name of every endpoint with a policy."""

    def network(
        self, endpoint: str, ingress: bool, proxy_id: int, remote: int, port: int, sni: str, allow_egress: bool
    ) -> tuple[bool, str, str, str | None, str | None]: ...
    def http(
        self,
        endpoint: str,
        ingress: bool,
        proxy_id: int,
        remote: int,
        port: int,
        headers: list[tuple[str | bytes, str | bytes]],
        sni: str,
        network_check: bool,
        allow_egress: bool,
    ) -> tuple[
        bool,
        str,
        str,
        str | None,
        str | None,
        tuple[tuple[str, str], ...],
        tuple[tuple[str, str], ...],
        tuple[tuple[str, str], ...],
    ]:
        """With the headers after all actions, the missing and the rejected ones."""

    def tls(
        self,
        endpoint: str,
        ingress: bool,
        server: bool,
        proxy_id: int,
        remote: int,
        port: int,
        sni: str,
        allow_egress: bool,
    ) -> tuple[bool, str, str, str | None, str | None, TlsContext | None, bool]:
        """With the context and whether a raw socket is allowed."""

    def l7_parser(self, endpoint: str, ingress: bool, proxy_id: int, remote: int, port: int) -> str | None: ...
    def metadata(
        self,
        endpoint: str,
        ingress: bool,
        proxy_id: int,
        remote: int,
        port: int,
        metadata: dict[str, dict[str, Any]],
        allow_egress: bool,
    ) -> tuple[bool, str, str, str | None, str | None]: ...
    def dump(self, endpoint: str) -> str | None:
        """The rules of an endpoint as they are evaluated, as JSON; None without a policy."""

    def explain(
        self,
        endpoint: str,
        ingress: bool,
        proxy_id: int,
        remote: int,
        port: int,
        sni: str,
        headers: list[tuple[str | bytes, str | bytes]] | None,
        metadata: dict[str, dict[str, Any]] | None,
        allow_egress: bool,
    ) -> tuple[str, str]:
        """The whole way to a verdict, as JSON and as text."""

@final
class L7Connections:
    """Connections with their parsers, driven step by step. Results are numbers of the reference and a sentence."""

    def __new__(cls, policies: Snapshot) -> L7Connections: ...
    def set_policies(self, policies: Snapshot) -> None:
        """Puts other policies in force, at once for all connections."""

    def connect(
        self,
        id: int,
        parser: str,
        ingress: bool,
        identities: tuple[int, int],
        source: str,
        destination: str,
        policy: str,
        inject_limit: int,
    ) -> tuple[int, str]: ...
    def prepare(self, id: int, statement: bytes | int, path: str) -> tuple[int, str]:
        """Makes a connection know a statement of Cassandra, `/opcode/action/table`, by its name or by its stream."""

    def on_data(
        self, id: int, reply: bool, end_stream: bool, chunks: list[bytes], max_ops: int
    ) -> tuple[
        int,
        str,
        list[tuple[str, int]],
        bytes,
        bytes,
        list[tuple[str, tuple[int, int, int, int, list[str]] | None, tuple[str, dict[str, str]] | None]],
    ]:
        """Result, reason, operations, bytes injected towards server and client, access log records.

        A record is its type and either correlation id, error code, API version, API key and topics of a request of
        Kafka, or protocol and fields.
        """

    def close(self, id: int) -> None: ...

@final
class ParserConnection:
    """One connection with its parser, as Envoy runs it. Rules are those that allow and those that deny."""

    def __new__(
        cls,
        parser: type,
        name: str,
        rules: tuple[list[dict[str, str]], list[dict[str, str]]],
        ingress: bool,
        identities: tuple[int, int],
        source: str,
        destination: str,
        policy_name: str,
    ) -> ParserConnection:
        """Makes the parser. Raises ValueError."""

    def set_rules(self, rules: tuple[list[dict[str, str]], list[dict[str, str]]]) -> None:
        """Puts other rules in force. Raises ValueError."""

    def feed(
        self, reply: bool, end: bool, data: bytes
    ) -> tuple[list[tuple[bool, bytes, bool]], list[tuple[str, str, dict[str, str]]], tuple[str, str] | None]:
        """What is sent on (direction, bytes, end), log entries (type, protocol, fields), and reason and traceback if
        the parser closed the connection.
        """

@final
class TlsContext:
    """A `cilium.TLSContext` as a rule holds it. Texts are empty if not set.

    Two are equal if they are the same object in the engine: equal messages of one NPDS stream, on the same side.
    """

    @property
    def trusted_ca(self) -> str: ...
    @property
    def certificate_chain(self) -> str: ...
    @property
    def server_names(self) -> list[str]: ...
    @property
    def alpn_protocols(self) -> list[str]: ...
    @property
    def validation_context_sds_secret(self) -> str: ...
    @property
    def tls_sds_secret(self) -> str: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class HostMap:
    """Identities by address prefix."""

    def __new__(cls) -> HostMap: ...
    def update(self, upserts: list[bytes], removed: list[str], version: str, delta: bool, new_stream: bool) -> None: ...
    def resolve(self, address: str) -> int | None: ...

@final
class SniPattern:
    """A pattern as in `server_names` of a rule. Raises PolicyRejected if it is not one."""

    def __new__(cls, pattern: str) -> SniPattern: ...
    def matches(self, name: str) -> bool:
        """Whether the whole server name fits, without regard to case."""

_Names = tuple[dict[int, str], dict[str, str]]
"""By security identity, and of endpoints by IP address."""

def log_entry_json(entry: bytes) -> str:
    """A serialised `cilium.LogEntry` as JSON, without a line end. Raises ValueError."""

@final
class CompactPrinter:
    """Prints serialised `cilium.LogEntry` messages as Hubble does."""

    def __new__(cls, names: _Names) -> CompactPrinter: ...
    def print(self, entry: bytes) -> str:
        """One line, without its end. Raises ValueError."""

@final
class LogQueue:
    """Serialised entries of a receiver until they are taken, up to 8 MiB. Readable, for a selector, when it has any."""

    def __new__(cls) -> LogQueue: ...
    def fileno(self) -> int: ...
    def take(self) -> list[bytes]:
        """What has arrived since the last call."""

@final
class LogDestination:
    """Writes entries of a receiver in a native thread. Opening may block; raises OSError when it fails."""

    def __new__(
        cls,
        kind: Literal["stdout", "file", "socket"],
        form: Literal["compact", "json"],
        path: str | None,
        names: _Names,
    ) -> LogDestination: ...
    def set_names(self, names: _Names) -> None: ...
    def reopen(self) -> None:
        """Opens a log file anew before the next write."""

    def statistics(self) -> dict[str, int]:
        """Entries malformed, written, dropped and failed."""

    def close(self, patience: float) -> bool:
        """Writes what waits; False when that takes longer than `patience` seconds. Blocks."""

@final
class LogReceiver:
    """Receives `cilium.LogEntry` messages on `socket`, in a native thread, as a stream or as packets.

    Raises `observe.ReceiverError` when it cannot listen.
    """

    def __new__(cls, socket: str, stream: bool, outlet: LogQueue | LogDestination | None) -> LogReceiver: ...
    def redirect(self, outlet: LogQueue | LogDestination | None) -> None:
        """Entries go there from now on; None: nowhere."""

    def statistics(self) -> dict[str, int]:
        """Senders connected, entries received, malformed and truncated."""

    def close(self) -> None:
        """Takes what has arrived, stops listening and removes the socket."""
