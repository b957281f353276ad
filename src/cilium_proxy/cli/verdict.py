"""`cilium-proxy verdict`: one question to the policies, answered offline by the engine the proxy uses."""

from __future__ import annotations

import dataclasses
import ipaddress
import sys
from pathlib import Path

import click

from cilium_proxy.cli.output import Form, output_option, print_data, print_problems, print_table
from cilium_proxy.config import Config, Direction, Endpoint, Identity, Listener, load
from cilium_proxy.config.labels import NAMESPACE, complete, split
from cilium_proxy.config.peers import RESERVED
from cilium_proxy.policy.compile import Compiled, compile_policies, load_policies, verify
from cilium_proxy.policy.compile.identities import LOCAL_SCOPE
from cilium_proxy.yaml import Mark, ProblemsError

_ASKED = "(asked)"


@click.command()
@click.option(
    "-c",
    "--config",
    "config_path",
    type=click.Path(exists=True, dir_okay=False, readable=True, path_type=Path),
    default=Path("proxy.yaml"),
    show_default=True,
    help="Configuration.",
)
@click.option("--from", "source", required=True, metavar="PEER", help="Who connects.")
@click.option("--to", "target", required=True, metavar="PEER", help="To whom.")
@click.option("--port", type=click.IntRange(1, 65535), help="Destination port. Default: that of the only listener.")
@click.option("--direction", type=click.Choice(("ingress", "egress")), help="Default: ingress if --to is an endpoint.")
@click.option("--method", default="GET", show_default=True, help="HTTP method.")
@click.option("--path", "url_path", default="/", show_default=True, help="HTTP path with query.")
@click.option("--host", default="", help="HTTP host. Default: the name given with --to.")
@click.option("--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="HTTP header; may be repeated.")
@click.option("--tcp", is_flag=True, help="Ask about the connection only. Default on ports of TCP listeners.")
@click.option("--sni", default="", help="Server name of the TLS client hello.")
@output_option
def command(
    config_path: Path,
    source: str,
    target: str,
    port: int | None,
    direction: Direction | None,
    method: str,
    url_path: str,
    host: str,
    headers: tuple[str, ...],
    tcp: bool,
    sni: str,
    output: Form,
) -> None:
    """Would this request be allowed, and by which rule?

    PEER is the name of an endpoint or identity, an IP address, labels such as org=empire,class=xwing, a reserved name
    such as world or host, or the number of an identity.

    Exits with 0 if allowed, 1 if denied, 2 if the question or the configuration is wrong.
    """
    try:
        question = Question.of(load(config_path), source, target, direction)
        problems = verify(question.compiled, str(config_path))
        if problems:
            raise ProblemsError(problems)
    except ProblemsError as error:
        print_problems(error.problems)
        sys.exit(2)
    listener = question.listener(port)
    port = port or (listener.port if listener else None)
    if port is None:
        raise click.UsageError(f"give --port; {question.endpoint.name} has no single {question.direction} listener")
    request = None
    if not tcp and (listener is None or listener.protocol == "http"):
        pairs = [(":method", method), (":path", url_path), (":authority", host or target)]
        request = pairs + [_header(text) for text in headers]
    answer = question.ask(port, request, sni)
    _print(answer, output)
    sys.exit(0 if answer["allowed"] else 1)


@dataclasses.dataclass(frozen=True, slots=True)
class Question:
    """Whose policy is asked about whom."""

    config: Config
    compiled: Compiled
    endpoint: Endpoint
    remote: int
    direction: Direction

    @classmethod
    def of(cls, config: Config, source: str, target: str, direction: Direction | None) -> Question:
        """Finds both sides. Raises UsageError, and ProblemsError for wrong policies."""
        asked, direction = direction, direction or ("ingress" if _endpoint(config, target) else "egress")
        own, other = (target, source) if direction == "ingress" else (source, target)
        endpoint = _endpoint(config, own)
        if endpoint is None:
            names = ", ".join(endpoint.name for endpoint in config.endpoints) or "none"
            who = f"`{own}` is not an endpoint; {direction}"
            if not asked and _endpoint(config, other) is None:
                who = f"neither `{source}` nor `{target}` is an endpoint;"
            raise click.UsageError(f"{who} policies belong to endpoints: {names}")
        config, remote = _with_peer(config, other)
        compiled = compile_policies(config, load_policies(config.policies, config.places))
        return cls(config, compiled, endpoint, _number(compiled, remote), direction)

    def listener(self, port: int | None) -> Listener | None:
        """The listener of the endpoint with that port; without a port the only one."""
        found = [
            listener
            for listener in self.config.listeners
            if (listener.endpoint, listener.direction) == (self.endpoint.name, self.direction)
            and port in (None, listener.port)
        ]
        return found[0] if port is not None and found else found[0] if len(found) == 1 else None

    def ask(self, port: int, request: list[tuple[str, str]] | None, sni: str) -> dict[str, object]:
        """The engine's answer; `request` None asks about the connection only."""
        from cilium_proxy.policy import PolicyMap, Verdict

        policies = PolicyMap()
        policies.update(self.compiled.resources, version="verdict")
        for name, value in self.compiled.delivered.values.items():
            policies.set_secret(name, value)
        address = self.endpoint.ips[0]
        direction, remote = self.direction, self.remote
        verdict: Verdict
        if request is None:
            verdict = policies.network(endpoint=address, direction=direction, remote=remote, port=port, sni=sni)
        else:
            verdict = policies.http(
                endpoint=address, direction=direction, remote=remote, port=port, sni=sni, headers=request
            )
        place = self.compiled.places.get(verdict.rule or "")
        answer: dict[str, object] = {
            "allowed": verdict.allowed,
            "reason": verdict.reason,
            "code": verdict.code,
            "rule": verdict.rule,
            "place": str(place) if place else None,
            "direction": self.direction,
            "endpoint": self.endpoint.name,
            "remote": {"identity": self.remote, "name": self.shown()},
            "port": port,
        }
        if request is not None:
            answer["request"] = f"{request[0][1]} {request[1][1]}"
        return answer

    def shown(self) -> str:
        """What to call the remote side."""
        try:
            identity = self.compiled.identities[self.remote]
        except KeyError:
            return "unknown identity"
        names = [name for name in identity.names if name != _ASKED]
        if identity.number & LOCAL_SCOPE:
            names += [str(prefix) for prefix in identity.prefixes]
        labels = [key.removeprefix("k8s:") + (f"={value}" if value else "") for key, value in identity.labels.items()]
        own = [label for label in labels if not label.startswith(("io.kubernetes.", "io.cilium."))]
        return names[0] if names else ",".join(own)


def _endpoint(config: Config, text: str) -> Endpoint | None:
    """The endpoint of that name or address, or the only one with those labels."""
    try:
        address = str(ipaddress.ip_address(text))
    except ValueError:
        address = ""
    for endpoint in config.endpoints:
        if endpoint.name == text or address in endpoint.ips:
            return endpoint
    labels = _labels(config, text)
    found = [endpoint for endpoint in config.endpoints if labels and labels.items() <= endpoint.labels.items()]
    return found[0] if len(found) == 1 else None


def _labels(config: Config, text: str) -> dict[str, str]:
    """All labels of a workload with the labels in `text`; none if it holds no labels."""
    if "=" not in text:
        return {}
    own: dict[str, str] = {}
    for part in text.split(","):
        key, _, value = part.strip().partition("=")
        own[":".join(split(key))] = value
    return complete(own, own.get(f"k8s:{NAMESPACE}", "default"), config.namespaces)


def _with_peer(config: Config, text: str) -> tuple[Config, str]:
    """The configuration, with an identity for labels that nobody has yet, and how to look the peer up."""
    labels = _labels(config, text)
    if not labels:
        return config, text
    known: list[Endpoint | Identity] = [*config.endpoints, *config.identities]
    for peer in known:
        if labels == peer.labels:
            return config, peer.name
    asked = Identity(
        name=_ASKED, namespace="default", labels=labels, cidrs=(), identity=None, mark=Mark("--from or --to")
    )
    return dataclasses.replace(config, identities=(*config.identities, asked)), _ASKED


def _number(compiled: Compiled, text: str) -> int:
    """The identity of a name, address, reserved name or number. Raises UsageError."""
    identity = compiled.identities.named(text)
    if identity is not None:
        return identity.number
    try:
        return compiled.identities.resolve(text)
    except ValueError:
        pass
    if text in RESERVED:
        return RESERVED[text]
    if text.isascii() and text.isdigit() and int(text) < 1 << 32:
        return int(text)
    raise click.UsageError(f"`{text}` is neither a name in the configuration nor an address, labels or identity")


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name:
        raise click.UsageError(f"--header `{text}` is not of the form 'NAME: VALUE'")
    return name.strip().lower(), value.strip()


def _print(answer: dict[str, object], form: Form) -> None:
    if form in ("json", "yaml"):
        print_data(answer, form)
        return
    remote = answer["remote"]
    peer = f"{remote['name']} ({remote['identity']})" if isinstance(remote, dict) else ""
    own = f"{answer['endpoint']}:{answer['port']}" if answer["direction"] == "ingress" else str(answer["endpoint"])
    source, target = (peer, own) if answer["direction"] == "ingress" else (own, f"{peer}:{answer['port']}")
    verdict = "ALLOWED" if answer["allowed"] else "DENIED"
    rule = f"{answer['rule']} ({answer['place']})" if answer["place"] else answer["rule"] or "-"
    if form == "table":
        columns = ("VERDICT", "DIRECTION", "FROM", "TO", "REQUEST", "RULE", "REASON")
        row = (verdict, answer["direction"], source, target, answer.get("request", "-"), rule, answer["reason"])
        print_table(columns, [row])
        return
    request = f" {answer['request']}" if "request" in answer else ""
    click.echo(f"{verdict} {source} -> {target}{request}: {answer['reason']}")
    if answer["place"]:
        click.echo(f"  rule {rule}")
