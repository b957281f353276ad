"""What the policy API raises. Every error is a PolicyError."""

from __future__ import annotations


class PolicyError(Exception):
    """Base of all errors of `cilium_proxy.policy`."""


class PolicyRejected(PolicyError, ValueError):  # noqa: N818 - the name users catch
    """An update was refused whole; the policies in force are as they were.

    The text is one sentence with everything below in it.

    Attributes:
        resource: name of the resource that was refused, or None if the update as a whole was.
        endpoint: first endpoint address of that resource, if it got that far.
        field: path of the field below the resource, for example `ingress_per_port_policies[0].end_port`.
    """

    def __init__(
        self, message: str, resource: str | None = None, endpoint: str | None = None, field: str | None = None
    ) -> None:
        super().__init__(message)
        self.resource = resource
        self.endpoint = endpoint
        self.field = field


class InvalidQuery(PolicyError, ValueError):  # noqa: N818 - the name users catch
    """A question that cannot be asked, such as port 70000 or a direction that is neither ingress nor egress."""


class EngineError(PolicyError, RuntimeError):
    """The engine failed; a defect, never the caller's. Nothing was allowed and no update was applied."""
