"""Questions to the policies of one moment."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypeVar

from cilium_proxy import _core
from cilium_proxy.policy.errors import InvalidQuery, PolicyError
from cilium_proxy.policy.verdict import Explanation, HttpVerdict, TlsVerdict, Verdict

Direction = Literal["ingress", "egress"]
Headers = Iterable[tuple[str | bytes, str | bytes]]
"""Name and value pairs in order, pseudo headers (`:method`, `:path`, `:authority`) included."""

_T = TypeVar("_T")


class Questions:
    """What can be asked of policies. All methods are safe to call from any thread.

    Arguments that all of them share:
        endpoint: an address of the endpoint whose policy is asked, as written in `endpoint_ips`.
        direction: `ingress` for connections to the endpoint, `egress` for connections from it.
        remote: security identity of the other side.
        port: destination port.
        proxy_id: number of the listener; rules with another one do not count.
        default_allow_egress: an endpoint without policy may send, as for Cilium's ingress; otherwise it may not.

    All of them raise InvalidQuery for values that are out of range or of the wrong type, EngineError for a defect.
    """

    def _snapshot(self) -> _core.Snapshot:
        raise NotImplementedError

    @property
    def version(self) -> str:
        """Version of the last accepted update; empty before the first."""
        return self._snapshot().version

    def exists(self, endpoint: str) -> bool:
        """Whether there is a policy for the endpoint."""
        return self._snapshot().exists(endpoint)

    def endpoints(self) -> dict[str, int]:
        """Endpoint addresses that have a policy, with the endpoint ids."""
        return {address: endpoint_id for address, endpoint_id, _ in self._snapshot().endpoints()}

    def resources(self) -> dict[str, str]:
        """Endpoint addresses that have a policy, with the name of the resource it came from."""
        return {address: resource for address, _, resource in self._snapshot().endpoints()}

    def network(
        self,
        *,
        endpoint: str,
        direction: Direction,
        remote: int,
        port: int,
        sni: str = "",
        proxy_id: int = 0,
        default_allow_egress: bool = False,
    ) -> Verdict:
        """The verdict on a connection. `sni` is the server name of its TLS client hello; empty without TLS."""
        ask = self._snapshot().network
        ingress = is_ingress(direction)
        return Verdict(*_asked(lambda: ask(endpoint, ingress, proxy_id, remote, port, sni, default_allow_egress)))

    def http(
        self,
        *,
        endpoint: str,
        direction: Direction,
        remote: int,
        port: int,
        headers: Headers,
        sni: str = "",
        proxy_id: int = 0,
        network_check: bool = True,
        default_allow_egress: bool = False,
    ) -> HttpVerdict:
        """The verdict on an HTTP request: on its connection, then on its headers.

        `network_check=False` leaves the connection out, for requests on a connection that was allowed before.
        """
        ask = self._snapshot().http
        ingress = is_ingress(direction)
        pairs = list(headers)
        return HttpVerdict(
            *_asked(
                lambda: ask(endpoint, ingress, proxy_id, remote, port, pairs, sni, network_check, default_allow_egress)
            )
        )

    def tls(
        self,
        *,
        endpoint: str,
        direction: Direction,
        remote: int,
        port: int,
        sni: str = "",
        side: Literal["server", "client"] | None = None,
        proxy_id: int = 0,
        default_allow_egress: bool = False,
    ) -> TlsVerdict:
        """How a connection may be carried.

        `side` is the role of the proxy: `server` asks for `downstream_tls_context` (the default for ingress), `client`
        for `upstream_tls_context` (the default for egress).
        """
        ask = self._snapshot().tls
        ingress = is_ingress(direction)
        if side not in (None, "server", "client"):
            raise InvalidQuery(f"side must be server or client, not {side!r}")
        server = ingress if side is None else side == "server"
        return TlsVerdict(
            *_asked(lambda: ask(endpoint, ingress, server, proxy_id, remote, port, sni, default_allow_egress))
        )

    def l7_parser(
        self, *, endpoint: str, direction: Direction, remote: int, port: int, proxy_id: int = 0
    ) -> str | None:
        """Name of the L7 parser (`l7_proto`) for a connection, or None."""
        ask = self._snapshot().l7_parser
        ingress = is_ingress(direction)
        return _asked(lambda: ask(endpoint, ingress, proxy_id, remote, port))

    def metadata(
        self,
        *,
        endpoint: str,
        direction: Direction,
        remote: int,
        port: int,
        metadata: Mapping[str, Mapping[str, Any]],
        proxy_id: int = 0,
        default_allow_egress: bool = False,
    ) -> Verdict:
        """The verdict on dynamic metadata: a mapping of JSON values per filter name."""
        ask = self._snapshot().metadata
        ingress = is_ingress(direction)
        values = {name: dict(fields) for name, fields in metadata.items()}
        return Verdict(*_asked(lambda: ask(endpoint, ingress, proxy_id, remote, port, values, default_allow_egress)))

    def dump(self, endpoint: str) -> dict[str, Any]:
        """The rules of an endpoint per range of ports, split and merged, in evaluation order.

        `{"ingress": [{"port", "end_port", "rules": [...]}], "egress": [...]}`; port 0 stands for every port. Fields
        that restrict nothing are left out, regular expressions read `<hidden>`. Without a policy both lists are empty.
        """
        dumped = self._snapshot().dump(endpoint)
        found: dict[str, Any] = json.loads(dumped) if dumped is not None else {"ingress": [], "egress": []}
        return found

    def explain(
        self,
        *,
        endpoint: str,
        direction: Direction,
        remote: int,
        port: int,
        sni: str = "",
        headers: Headers | None = None,
        metadata: Mapping[str, Mapping[str, Any]] | None = None,
        proxy_id: int = 0,
        default_allow_egress: bool = False,
    ) -> Explanation:
        """The whole way to the verdict: on the connection and, if given, on a request's headers and on metadata."""
        ask = self._snapshot().explain
        ingress = is_ingress(direction)
        pairs = None if headers is None else list(headers)
        values = None if metadata is None else {name: dict(fields) for name, fields in metadata.items()}
        data, text = _asked(
            lambda: ask(endpoint, ingress, proxy_id, remote, port, sni, pairs, values, default_allow_egress)
        )
        return Explanation(json.loads(data), text)


class Snapshot(Questions):
    """The policies of one moment. Later updates do not change it; secrets delivered later do count."""

    def __init__(self, core: _core.Snapshot) -> None:
        self._core = core

    def _snapshot(self) -> _core.Snapshot:
        return self._core


def is_ingress(direction: str) -> bool:
    """Raises InvalidQuery for anything but ingress and egress."""
    if direction == "ingress":
        return True
    if direction == "egress":
        return False
    raise InvalidQuery(f"direction must be ingress or egress, not {direction!r}")


def _asked(ask: Callable[[], _T]) -> _T:
    try:
        return ask()
    except OverflowError as error:
        raise InvalidQuery("port and proxy_id are 0 to 65535, identities are 0 to 4294967295") from error
    except PolicyError:
        raise
    except (TypeError, ValueError) as error:
        raise InvalidQuery(str(error)) from error
