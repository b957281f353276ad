"""Files of cases -> CaseFile. All problems of a file are reported together."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import cast

from cilium_proxy.config import Config, Direction, parse_config
from cilium_proxy.config import load as load_config
from cilium_proxy.policy.compile.documents import CASE_SUFFIXES
from cilium_proxy.testing.cases.model import Case, CaseFile, Expectation, Pairs, Request
from cilium_proxy.yaml import Fields, Mapping, Mark, Problem, Problems, ProblemsError, Scalar, Sequence, Value, read

CONFIG = "proxy.yaml"
_VERDICTS = {"allowed": True, "denied": False}


def find(paths: Iterable[Path]) -> list[Path]:
    """The files of cases among the paths and below directories, sorted; files are taken whatever their name."""
    found: set[Path] = set()
    for path in paths:
        if path.is_dir():
            found.update(file for suffix in CASE_SUFFIXES for file in path.rglob(f"*{suffix}"))
        else:
            found.add(path)
    return sorted(found)


def load(path: Path, config: Path | None = None) -> CaseFile:
    """Reads a file of cases. `config` overrides the configuration that the file names. Raises ProblemsError."""
    problems = Problems()
    documents = read(path, problems)
    if not problems and len(documents) != 1:
        problems.add(Mark(str(path)), "", f"holds {len(documents)} documents", "write one with `cases`")
    if problems:
        raise ProblemsError(problems.found)
    root = Fields(documents[0], "", problems)
    found = _config(root, path, config)
    secrets = root.texts("secrets")
    cases = tuple(_case(Fields(item, where, problems)) for where, item in root.items("cases", required=True))
    root.finish()
    if problems or found is None:
        raise ProblemsError(problems.found)
    return CaseFile(path=path, config=found, secrets=secrets, cases=cases)


def _config(root: Fields, path: Path, given: Path | None) -> Config | None:
    """From `fixtures`, the file that `config` names, or the nearest proxy.yaml."""
    fixtures, named = root.value("fixtures"), root.string("config")
    if fixtures is not None and named is not None:
        root.problem("config", "stands beside `fixtures`", "keep one of them")
        return None
    try:
        if given is not None:
            return load_config(given)
        if fixtures is not None:
            return parse_config(fixtures, path)
        file = path.parent / named if named is not None else _nearest(path)
        if file is None:
            message = f"there is no {CONFIG} beside it or above"
            root.problem("config", message, "name one with `config` or describe the peers in `fixtures`")
            return None
        return load_config(file)
    except ProblemsError as error:
        root.problems.found.extend(error.problems)
        return None


def _nearest(path: Path) -> Path | None:
    return next((parent / CONFIG for parent in path.resolve().parents if (parent / CONFIG).is_file()), None)


def _case(fields: Fields) -> Case:
    source, target = fields.text("from", required=True) or "", fields.text("to", required=True) or ""
    direction = cast(Direction | None, fields.string("direction", choices=("ingress", "egress")))
    port = fields.integer("port", 1, 65535)
    request = _request(fields, target)
    name = fields.text("name") or f"{source} to {target}{f':{port}' if port else ''}{f' {request}' if request else ''}"
    case = Case(
        name=name,
        source=source,
        target=target,
        direction=direction,
        port=port,
        sni=fields.string("sni") or "",
        proxy_id=fields.integer("proxy_id", 0, 65535) or 0,
        request=request,
        expect=_expectation(fields),
        mark=fields.mark,
    )
    if request is None and (case.expect.headers or case.expect.missing or case.expect.rejected):
        fields.problem("expect", "speaks of headers, but there is no request", "add `request`")
    fields.finish()
    return case


def _request(fields: Fields, target: str) -> Request | None:
    value = fields.value("request")
    if isinstance(value, Scalar) and isinstance(value.value, str):
        method, _, url = value.value.partition(" ")
        if not url.startswith(("/", "*")):
            fields.problem("request", f"`{value.value}` is not a request", "write it like GET /path")
        return Request(method=method, path=url, host=target)
    inner = fields.fields("request")
    if inner is None:
        return None
    headers: list[tuple[str, str]] = []
    for name, _, item in inner.entries("headers"):
        headers += [(name, text) for text in _texts(inner, f"headers.{name}", item)]
    request = Request(
        method=inner.string("method") or "GET",
        path=inner.string("path") or "/",
        host=inner.string("host") or target,
        headers=tuple(headers),
    )
    inner.finish()
    return request


def _expectation(fields: Fields) -> Expectation:
    value = fields.value("expect", required=True)
    if value is None or isinstance(value, Scalar):
        word = fields.string("expect", choices=tuple(_VERDICTS))
        return Expectation(allowed=_VERDICTS.get(word or "", False))
    inner = Fields(value, fields.at("expect"), fields.problems)
    verdict = inner.string("verdict", required=True, choices=tuple(_VERDICTS))
    headers = {
        name.lower(): tuple(_texts(inner, f"headers.{name}", item)) for name, _, item in inner.entries("headers")
    }
    expectation = Expectation(
        allowed=_VERDICTS.get(verdict or "", False),
        rule=inner.string("rule"),
        reason=inner.string("reason"),
        headers=headers if inner.has("headers") else None,
        missing=_pairs(inner, "missing"),
        rejected=_pairs(inner, "rejected"),
    )
    inner.finish()
    return expectation


def _texts(fields: Fields, name: str, value: Value) -> list[str]:
    """A text or a list of texts; null is no text."""
    if isinstance(value, Scalar) and value.value is None:
        return []
    items = value.items if isinstance(value, Sequence) else (value,)
    found = [item.text for item in items if isinstance(item, Scalar)]
    if len(found) != len(items):
        fields.problems.add(value.mark, fields.at(name), "must be a text or a list of texts")
    return found


def _pairs(fields: Fields, name: str) -> Pairs | None:
    """A mapping of header names to values, or a list of such mappings."""
    value = fields.value(name)
    if value is None:
        return None
    found: list[tuple[str, str]] = []
    for item in value.items if isinstance(value, Sequence) else (value,):
        if not isinstance(item, Mapping):
            fields.problems.add(item.mark, fields.at(name), "must be a mapping of header names to values")
            continue
        for header, text in item.items.items():
            found += [(header.lower(), one) for one in _texts(fields, f"{name}.{header}", text)]
    return tuple(found)


def problem(case: Case, message: str, fix: str = "") -> Problem:
    """What is wrong with a case that was read but cannot be asked."""
    return Problem(case.mark, "", f"case `{case.name}`: {message}", fix)
