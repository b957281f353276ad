"""Values of secrets, and what is said about those that are wrong or missing."""

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.certificates import authority
from tests.unit.compile.conftest import CONFIG

from cilium_proxy.policy.compile import Compiled

VALUE = "hunter2-and-more"
RULE = """
    endpointSelector: {}
    ingress: [{toPorts: [{ports: [{port: "80", protocol: TCP}],
      rules: {http: [{headerMatches: [{name: X-Token, secret: {name: token}}]}]}}]}]
"""
Make = Callable[..., str]


def manifest(*lines: str) -> str:
    return "apiVersion: v1\nkind: Secret\nmetadata: {name: token}\n" + "\n".join(lines)


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_file_has_the_value_with_or_without_a_line_end(
    compiled: Callable[..., Compiled], tmp_path: Path, end: str
) -> None:
    (tmp_path / "token").write_bytes((VALUE + end).encode())
    result = compiled(config=CONFIG + "secrets: {token: token}")
    assert result.delivered.values == {"default/token": VALUE.encode()}


@pytest.mark.parametrize(
    "item", [f"data: {{v: {base64.b64encode(VALUE.encode()).decode()}}}", f"stringData: {{v: {VALUE}}}"]
)
def test_a_manifest_has_the_value_as_its_only_item(compiled: Callable[..., Compiled], cnp: Make, item: str) -> None:
    result = compiled(manifest("type: Opaque", item), cnp(RULE))
    assert result.delivered.values == {"default/token": VALUE.encode()}
    assert result.warnings() == []
    assert VALUE not in repr(result)


def test_a_secret_that_nobody_gives_is_named_with_its_place(compiled: Callable[..., Compiled], cnp: Make) -> None:
    (warning,) = compiled(cnp(RULE)).warnings()
    assert "0.yaml:7:" in str(warning.mark)
    assert warning.path.endswith("headerMatches[0].secret")
    assert "`default/token` is missing" in warning.message


def test_a_secret_for_tls_has_no_value_for_headers(compiled: Callable[..., Compiled], cnp: Make) -> None:
    (warning,) = compiled(manifest(f"stringData: {{ca.crt: {json.dumps(authority().pem)}}}"), cnp(RULE)).warnings()
    assert "is for TLS" in warning.message


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (("data: {v: 'hunter2-and-more!'}",), "data.v: is not base64"),
        (("stringData: {v: 12345678}",), "stringData.v: must be a string"),
        (("stringData: {a: hunter2-and-more, b: x}",), "has 2 items"),
        ((), "has 0 items"),
        (("stringData: {v: ''}",), "is empty"),
        (('stringData: {v: "hunter2-and-more\\nx"}',), "has several lines"),
        (("stringDta: {v: hunter2-and-more}",), "did you mean `stringData`?"),
    ],
)
def test_wrong_manifests(problems: Callable[..., list[str]], lines: tuple[str, ...], expected: str) -> None:
    found = "\n".join(problems(manifest(*lines)))
    assert expected in found
    assert VALUE not in found
    assert "12345678" not in found


def test_one_name_twice(problems: Callable[..., list[str]], tmp_path: Path) -> None:
    (tmp_path / "token").write_text(VALUE)
    found = problems(manifest("stringData: {v: x}"), config=CONFIG + "secrets: {token: token}")
    assert len(found) == 1
    assert "secret `default/token` is also at" in found[0]


@pytest.mark.parametrize(("content", "expected"), [(None, "cannot be read: No such file"), (b"", "is empty")])
def test_wrong_files(problems: Callable[..., list[str]], tmp_path: Path, content: bytes | None, expected: str) -> None:
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    (found,) = problems(config=CONFIG + "secrets: {prod/token: token}")
    assert "proxy.yaml:13:" in found
    assert "secrets.prod/token" in found
    assert expected in found
