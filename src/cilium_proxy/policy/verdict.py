"""Answers of the policy engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cilium_proxy._core import TlsContext


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether something may pass, and why. True in a condition if it may.

    Attributes:
        allowed: whether it may pass.
        reason: why, as a sentence.
        code: why, as a token that stays the same across releases, such as `remote_mismatch`.
        rule: name of the rule that decided or came nearest; None if there is none or it has no name.
        position: where that rule stands in its resource, such as `ingress_per_port_policies[0].rules[1]`; None if no
            resource holds it.
    """

    allowed: bool
    reason: str
    code: str
    rule: str | None
    position: str | None

    def __bool__(self) -> bool:
        return self.allowed


@dataclass(frozen=True, slots=True)
class HttpVerdict(Verdict):
    """The verdict on an HTTP request, with what `header_matches` did to it.

    Header values are bytes decoded as UTF-8; invalid bytes become surrogates (PEP 383), as in file names.

    Attributes:
        headers: the request's headers after all header actions, in order, names in lower case.
        missing: expected headers that the request lacked, as the access log shows them.
        rejected: headers that the request should not have had, likewise. Values of secrets read `[redacted]`.
    """

    headers: tuple[tuple[str, str], ...]
    missing: tuple[tuple[str, str], ...]
    rejected: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class TlsVerdict(Verdict):
    """Whether a connection may pass and whether it must be TLS.

    Attributes:
        context: the TLS context to use, or None.
        raw_socket_allowed: the connection may pass without TLS. Never set together with `context`.
    """

    context: TlsContext | None
    raw_socket_allowed: bool

    @property
    def tls_required(self) -> bool:
        """The connection may pass with TLS only."""
        return self.context is not None


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a verdict came about. Prints as a tree.

    Attributes:
        data: the trace as JSON-like data: verdict, resource, port range, and per stage (`connection`, `request`,
            `metadata`) every rule of the port with what became of it, test by test, and the header actions taken.
        text: the same as an indented tree.
    """

    data: dict[str, Any]
    text: str

    @property
    def allowed(self) -> bool:
        """The verdict."""
        return bool(self.data["allowed"])

    @property
    def reason(self) -> str:
        """The sentence of the stage that decided."""
        return str(self.data["reason"])

    def __str__(self) -> str:
        return self.text
