"""HTTP rules: method, path, host, headers and headerMatches to header matchers."""

from __future__ import annotations

from dataclasses import dataclass, field

from cilium_proxy.policy.compile.rule import Message, Probe, Secret
from cilium_proxy.yaml import Fields, Mark

# Cilium's order does not matter for verdicts; the cheap and selective ones come first.
_PSEUDO_HEADERS = (("method", ":method"), ("path", ":path"), ("host", ":authority"))
_REGEX = "use RE2 syntax, which has no look-around and no back-references"
_MISMATCH = {
    "LOG": "CONTINUE_ON_MISMATCH",
    "ADD": "ADD_ON_MISMATCH",
    "DELETE": "DELETE_ON_MISMATCH",
    "REPLACE": "REPLACE_ON_MISMATCH",
}


@dataclass(slots=True)
class HttpRule:
    """One entry of `rules.http`."""

    message: Message = field(default_factory=dict)
    probes: list[Probe] = field(default_factory=list)
    secrets: list[Secret] = field(default_factory=list)

    def _match(self, matcher: Message, mark: Mark, path: str, fix: str = "") -> None:
        self.message.setdefault("headers", []).append(matcher)
        self.probes.append(Probe(mark, path, {"http_rules": {"http_rules": [{"headers": [matcher]}]}}, fix))


def read_http_rule(fields: Fields, namespace: str) -> HttpRule:
    """method, path and host are regular expressions (RE2) for the whole value; the path has the query string."""
    rule = HttpRule()
    for name, header in _PSEUDO_HEADERS:
        regex = fields.string(name)
        if regex:
            matcher = {"name": header, "string_match": {"safe_regex": {"regex": regex}}}
            rule._match(matcher, fields.where(name), fields.at(name), _REGEX)
    for text, mark, path in fields.strings("headers"):
        # "Name: value" and "Name value" compare the value, "Name" asks for presence.
        name, space, value = text.partition(" ")
        name = name.rstrip(":") if space else name
        if not _is_header_name(name):
            fields.problems.add(mark, path, f"`{text}` is not a header", 'write "Name: value" or "Name"')
            continue
        specifier = {"string_match": {"exact": value}} if space else {"present_match": True}
        rule._match({"name": name, **specifier}, mark, path)
    for path, item in fields.items("headerMatches"):
        _header_match(rule, Fields(item, path, fields.problems), namespace)
    fields.finish()
    return rule


def _header_match(rule: HttpRule, fields: Fields, namespace: str) -> None:
    name = fields.string("name", required=True) or ""
    value = fields.string("value") or ""
    mismatch = fields.string("mismatch", choices=("LOG", "ADD", "DELETE", "REPLACE"))
    secret = read_secret(fields, "secret", namespace)
    fields.finish()
    if not _is_header_name(name):
        if name:
            fields.problem("name", f"`{name}` is not a header name")
        return
    if secret is None and mismatch is None:
        specifier = {"string_match": {"exact": value}} if value else {"present_match": True}
        rule._match({"name": name, **specifier}, fields.mark, fields.path)
        return
    if mismatch in ("ADD", "REPLACE") and not value and secret is None:
        fields.problem("mismatch", f"{mismatch} needs a value", "give `value` or `secret`")
    match: Message = {"name": name, "mismatch_action": _MISMATCH.get(mismatch or "", "FAIL_ON_MISMATCH")}
    if value:
        match["value"] = value
    if secret is not None:
        match["value_sds_secret"] = secret
        rule.secrets.append(Secret(secret, "header", fields.where("secret"), fields.at("secret")))
        if mismatch is None:
            rule._match({"name": name, "present_match": True}, fields.mark, fields.path)
    rule.message.setdefault("header_matches", []).append(match)
    rule.probes.append(Probe(fields.mark, fields.path, {"http_rules": {"http_rules": [{"header_matches": [match]}]}}))


def read_secret(fields: Fields, name: str, namespace: str, *, required: bool = False) -> str | None:
    """`{namespace, name}` as the secret's name on SDS; without a namespace it is the policy's."""
    reference = fields.fields(name, required=required)
    if reference is None:
        return None
    own = reference.string("namespace") or namespace
    secret = reference.string("name", required=True)
    reference.finish()
    return f"{own}/{secret}" if secret else None


def _is_header_name(name: str) -> bool:
    return (
        name.isascii()
        and all(c.isalnum() or c in "!#$%&'*+-.^_`|~" for c in name.removeprefix(":"))
        and name not in ("", ":")
    )
