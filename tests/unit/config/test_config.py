"""proxy.yaml."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cilium_proxy.config import Address, Config, ConfigError, load, parse_address

FULL = """
endpoints:
  - {name: api, labels: {app: api}, ips: [127.0.0.2, "::2"]}
identities:
  - {name: frontend, labels: {app: frontend}, cidrs: [127.0.0.3/32, "fd00::/64"]}
  - {name: node, labels: {"reserved:host": ""}, cidrs: [127.0.0.1]}
namespaces:
  default: {labels: {team: a}}
listeners:
  - {name: api-in, direction: ingress, address: 127.0.0.1:8080, endpoint: api, upstream: 127.0.0.1:9000}
  - name: api-out
    direction: egress
    address: "[::1]:8081"
    endpoint: api
    upstream: 10.0.0.1:443
    protocol: tcp
    port: 8443
    connect_timeout: 250ms
    idle_timeout: 10m
    request_timeout: 15
policies: [policies/, /etc/more/*.yaml]
access_log: {file: access.log, format: json}
admin: "[::1]:9901"
concurrency: 2
drain_time: 1s
denied: {body: "No", reason_header: X-Reason}
envoy: {log_level: off, extra_args: [--disable-hot-restart]}
parsers: {directories: [parsers, /etc/parsers], time_limit: 250ms, memory_mib: 64}
"""


def loaded(tmp_path: Path, text: str) -> Config:
    file = tmp_path / "proxy.yaml"
    file.write_text(text)
    return load(file)


def problems(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as error:
        loaded(tmp_path, text)
    return [str(problem).removeprefix(f"{tmp_path}/") for problem in error.value.problems]


def test_every_field_is_read(tmp_path: Path) -> None:
    config = loaded(tmp_path, FULL)
    assert config.endpoint("api").ips == ("127.0.0.2", "::2")
    assert config.endpoint("api").labels["k8s:io.cilium.k8s.namespace.labels.team"] == "a"
    assert config.identities[1].labels == {"reserved:host": ""}
    api_in, api_out = config.listeners
    assert (api_in.port, api_in.protocol, api_in.connect_timeout) == (8080, "http", 5.0)
    assert api_out.address == Address("::1", 8081)
    assert (api_out.port, api_out.connect_timeout, api_out.idle_timeout, api_out.request_timeout) == (
        8443,
        0.25,
        600,
        15,
    )
    assert config.policies == (str(tmp_path / "policies"), "/etc/more/*.yaml")
    assert (config.access_log.kind, config.access_log.format, config.access_log.path) == (
        "file",
        "json",
        tmp_path / "access.log",
    )
    assert str(config.admin) == "[::1]:9901"
    assert (config.concurrency, config.drain_time) == (2, 1.0)
    assert (config.denied.body, config.denied.reason_header) == ("No", "x-reason")
    assert (config.envoy.log_level, config.envoy.extra_args) == ("off", ("--disable-hot-restart",))
    assert config.parsers is not None
    assert config.parsers.directories == (tmp_path / "parsers", Path("/etc/parsers"))
    assert (config.parsers.time_limit, config.parsers.memory_limit) == (0.25, 64 << 20)


def test_defaults(tmp_path: Path) -> None:
    config = loaded(tmp_path, "endpoints: []\n")
    assert (config.access_log.kind, config.access_log.format) == ("stdout", "compact")
    assert str(config.admin) == "127.0.0.1:9901"
    assert (config.denied.body, config.denied.reason_header) == ("Access denied", None)
    assert (config.concurrency, config.drain_time, config.envoy.log_level) == (None, 5.0, "warning")
    assert config.parsers is None
    parsers = loaded(tmp_path, "parsers: {directories: [a]}\n").parsers
    assert parsers is not None
    assert (parsers.time_limit, parsers.memory_limit) == (1.0, 256 << 20)


def test_access_log_and_admin_can_be_switched_off(tmp_path: Path) -> None:
    config = loaded(tmp_path, "access_log: false\nadmin: false\n")
    assert (config.access_log.kind, config.admin) == ("none", None)


def test_the_port_of_an_egress_listener_is_that_of_the_destination(tmp_path: Path) -> None:
    config = loaded(
        tmp_path,
        "endpoints: [{name: a, ips: [127.0.0.2]}]\n"
        "listeners: [{name: l, direction: egress, address: '127.0.0.1:1234', endpoint: a, upstream: '10.0.0.1:443'}]\n",
    )
    assert config.listeners[0].port == 443


def test_all_problems_are_reported_together_in_the_order_of_the_file(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        "endpoints:\n"
        "  - {name: a, ips: [127.0.0.2, 127.0.0.3], lables: {}}\n"
        "  - {name: a, ips: [localhost]}\n"
        "listeners:\n"
        "  - {name: l, direction: inbound, address: '::1:80', endpoint: b, upstream: 'x y:80'}\n"
        "acces_log: {}\n",
    )
    assert found == [
        "proxy.yaml:2:32: endpoints[0].ips[1]: second IPv4 address; give one address per family",
        "proxy.yaml:2:44: endpoints[0].lables: unknown field; did you mean `labels`?",
        "proxy.yaml:3:12: endpoints[1].name: `a` is also the name on line 2; give each its own name",
        "proxy.yaml:3:21: endpoints[1].ips[0]: `localhost` is not an IP address; write one without prefix length",
        "proxy.yaml:5:26: listeners[0].direction: `inbound` is not one of ingress, egress",
        "proxy.yaml:5:44: listeners[0].address: `::1:80`: needs brackets around the IPv6 address; write [::1]:80",
        "proxy.yaml:5:64: listeners[0].endpoint: there is no endpoint `b`; add it to `endpoints` or use one of: a",
        "proxy.yaml:5:77: listeners[0].upstream: `x y:80`: `x y` is neither an IP address nor a host name",
        "proxy.yaml:6:1: acces_log: unknown field; did you mean `access_log`?",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "endpoints: [{name: a, ips: [10.0.0.1]}, {name: b, ips: [10.0.0.1]}]",
            "10.0.0.1 of `b` overlaps 10.0.0.1 of `a`",
        ),
        (
            "endpoints: [{name: a, ips: [10.0.0.1]}]\nidentities: [{name: b, cidrs: [10.0.0.0/8]}]",
            "10.0.0.1 of `a` overlaps 10.0.0.0/8 of `b`",
        ),
        ("identities: [{name: b, cidrs: ['fd00::/8', 'fd00:1::/32']}]", "fd00:1::/32 of `b` overlaps fd00::/8 of `b`"),
        ("identities: [{name: b, cidrs: [10.0.0.1/8]}]", "clear the bits after the prefix"),
        ("identities: [{name: b, cidrs: [10.0.0.0/8], labels: {'reserved:world': ''}}]", "listed nowhere is world"),
        ("identities: [{name: b, cidrs: [10.0.0.0/8], labels: {'reserved:earth': ''}}]", "not a reserved label"),
        ("identities: [{name: b, cidrs: [10.0.0.0/8], labels: {'reserved:host': '', a: b}}]", "stands alone"),
        ("identities: [{name: b}]", "identities[0].cidrs: is missing"),
        ("parsers: {}", "parsers.directories: is missing"),
        ("parsers: {directories: []}", "parsers.directories: is empty"),
        ("parsers: {directories: [a], time_limit: 0}", "parsers.time_limit: "),
        ("parsers: {directories: [a], memory_mib: 1}", "parsers.memory_mib: "),
        ("parsers: {directories: [a], memory: 1}", "parsers.memory: unknown field"),
        ("endpoints: [{name: a, ips: [10.0.0.1], labels: {'reserved:host': ''}}]", "move it to `identities`"),
        ("endpoints: [{name: a, ips: [10.0.0.1], labels: {v: 1.10}}]", 'must be a string, not a number; write "1.10"'),
        ("endpoints: [{name: a, ips: [10.0.0.1], identity: 7}]", "7 is out of range; use 256 to 65535"),
        ("endpoints: {}", "endpoints: must be a list, not a mapping"),
        ("access_log: {stdout: compact, file: x}", "names stdout and file; give exactly one"),
        ("access_log: {}", "names no destination"),
        ("access_log: {stdout: hubble}", "`hubble` is not one of compact, json"),
        ("access_log: {socket: s, format: json}", "belongs to `file`"),
        ("concurrency: 0", "0 is out of range"),
        ("drain_time: soon", "is not a duration; write it like 250ms, 5s or 2m"),
        ("denied: {reason_header: 'a b'}", "is not a header name"),
        ("envoy: {extra_args: [--base-id 1]}", "is set by the proxy itself"),
        ("envoy: {log_level: loud}", "`loud` is not one of trace, debug"),
        ("admin: 9901", "must be a string, not a number"),
        ("a: b", "unknown field"),
        ("[]", "must be a mapping, not a list"),
        ("", "is empty"),
        ("a: b\n---\na: b", "holds 2 documents"),
    ],
)
def test_problems(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in "\n".join(problems(tmp_path, text))


def test_a_listener_may_not_be_its_own_upstream_or_share_an_address(tmp_path: Path) -> None:
    found = "\n".join(
        problems(
            tmp_path,
            "endpoints: [{name: a, ips: [127.0.0.2]}]\n"
            "admin: 127.0.0.1:80\n"
            "listeners:\n"
            "- {name: l, direction: ingress, address: '127.0.0.1:80', endpoint: a, upstream: '127.0.0.1:80'}\n"
            "- {name: l, direction: ingress, address: '127.0.0.1:80', endpoint: a, upstream: '0.0.0.0:80'}\n"
            "- {name: m, direction: egress, address: '127.0.0.1:81', endpoint: a, upstream: 'example.com:80'}\n",
        )
    )
    assert "127.0.0.1:80 is the listener's own address" in found
    assert "127.0.0.1:80 is also the address of listener `l`; use another port" in found
    assert "`l` is also the name on line 4" in found
    assert "`0.0.0.0:80` is no address to connect to" in found
    assert "`example.com` is not an IP address; host names are not allowed here" in found
    assert "admin: 127.0.0.1:80 is also the address of listener `l`" in found


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read: No such file"):
        load(tmp_path / "none.yaml")


@given(st.ip_addresses(), st.integers(1, 65535))
def test_addresses_survive_printing(host: object, port: int) -> None:
    address = Address(str(host), port)
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":80",
        "1.2.3.4",
        "1.2.3.4:",
        "1.2.3.4:0",
        "1.2.3.4:65536",
        "1.2.3.4:-1",
        "[::1]",
        "[1.2.3:80",
        "300.1.1.1:80",
    ],
)
def test_wrong_addresses(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_address(text, names=True)


def test_host_names_are_taken_where_allowed() -> None:
    assert parse_address("Backend.example:80", names=True) == Address("backend.example", 80)
    with pytest.raises(ValueError, match="host names are not allowed here"):
        parse_address("backend.example:80")


def test_options_of_http_belong_to_http_listeners(tmp_path: Path) -> None:
    file = tmp_path / "proxy.yaml"
    text = (
        "endpoints: [{name: a, ips: [10.0.0.1]}]\n"
        "listeners: [{name: l, direction: ingress, address: '127.0.0.1:80', endpoint: a, upstream: '127.0.0.1:81', "
        "protocol: PROTOCOL, http: {request_id: true, upstream_protocol: http2}}]\n"
    )
    file.write_text(text.replace("PROTOCOL", "http"))
    options = load(file).listeners[0].http
    assert (options.request_id, options.envoy_headers, options.upstream_protocol) == (True, False, "http2")
    file.write_text(text.replace("PROTOCOL", "tcp"))
    with pytest.raises(ConfigError, match=r"http: means nothing to a listener with protocol tcp; remove it"):
        load(file)


def test_secrets_are_named_by_namespace_and_come_from_files(tmp_path: Path) -> None:
    config = loaded(tmp_path, "secrets: {token: files/token, prod/token: /run/token}")
    assert [(secret.name, secret.path) for secret in config.secrets] == [
        ("default/token", tmp_path / "files/token"),
        ("prod/token", Path("/run/token")),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("secrets: {token: 12345}", "secrets.token: must be the path of a file"),
        ("secrets: {a/b/c: file}", "`a/b/c` is not a name"),
        ("secrets: {token: a, default/token: b}", "`default/token` is also on line 1"),
    ],
)
def test_wrong_secrets(tmp_path: Path, text: str, expected: str) -> None:
    found = "\n".join(problems(tmp_path, text))
    assert expected in found
    assert "12345" not in found
