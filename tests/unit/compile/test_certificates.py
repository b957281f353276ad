"""Secrets for TLS: what they hold, and what is said about those that TLS could not use."""

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from tests.certificates import Authority, Certificate, authority, small_rsa_key
from tests.unit.compile.conftest import CONFIG

from cilium_proxy.policy.compile import Compiled

CERTIFICATE = authority().issue("api.test")
POLICY = """
    endpointSelector: {}
    ingress: [{toPorts: [{ports: [{port: "443", protocol: TCP}], terminatingTLS: {secret: {name: web}},
      originatingTLS: {secret: {name: web}}}]}]
"""
Compile = Callable[..., Compiled]
Make = Callable[..., str]


def manifest(**items: str) -> str:
    data = {key.replace("_", "."): base64.b64encode(value.encode()).decode() for key, value in items.items()}
    return f"apiVersion: v1\nkind: Secret\ntype: kubernetes.io/tls\nmetadata: {{name: web}}\ndata: {json.dumps(data)}"


def pair(certificate: Certificate) -> dict[str, str]:
    return {"tls_crt": certificate.chain, "tls_key": certificate.key}


def test_a_manifest_has_certificate_key_and_ca(compiled: Compile, cnp: Make) -> None:
    result = compiled(manifest(**pair(CERTIFICATE), ca_crt=authority().pem), cnp(POLICY))
    assert result.delivered.tls["default/web"] == {
        "tls.crt": CERTIFICATE.chain.encode(),
        "tls.key": CERTIFICATE.key.encode(),
        "ca.crt": authority().pem.encode(),
    }
    assert result.warnings() == []
    assert "PRIVATE KEY" not in repr(result)


def test_files_are_named_by_item(compiled: Compile, cnp: Make, tmp_path: Path) -> None:
    CERTIFICATE.write(tmp_path, "web")
    (tmp_path / "ca.pem").write_text(authority().pem)
    config = CONFIG + "secrets: {web: {tls.crt: web.pem, tls.key: web.key, ca.crt: ca.pem}}"
    result = compiled(cnp(POLICY), config=config)
    assert result.delivered.tls["default/web"]["tls.key"] == CERTIFICATE.key.encode()
    assert result.warnings() == []


def test_contexts_name_certificate_and_ca_of_one_secret_apart(compiled: Compile, cnp: Make) -> None:
    result = compiled(cnp(POLICY))
    (rule,) = result.resources["api"]["ingress_per_port_policies"][0]["rules"]
    assert rule["downstream_tls_context"] == {"tls_sds_secret": "default/web"}
    assert rule["upstream_tls_context"] == {"validation_context_sds_secret": "default/web/ca.crt"}


@pytest.mark.parametrize(
    ("items", "missing"),
    [
        (None, ["is missing, so connections", "is missing, so connections"]),
        ({"ca_crt": authority().pem}, ["has no tls.crt and tls.key"]),
        (pair(CERTIFICATE), ["has no ca.crt"]),
    ],
)
def test_what_is_missing_is_named(compiled: Compile, cnp: Make, items: dict[str, str], missing: list[str]) -> None:
    warnings = compiled(cnp(POLICY), *([manifest(**items)] if items else [])).warnings()
    assert len(warnings) == len(missing)
    for warning, expected in zip(warnings, missing, strict=True):
        assert expected in warning.message
        assert "TLS.secret" in warning.path
        assert warning.mark.line


def test_a_certificate_that_has_expired_is_a_warning(compiled: Compile) -> None:
    (warning,) = compiled(manifest(**pair(authority().issue("api.test", days=-1)))).warnings()
    assert "data.tls.crt: expired on 2" in str(warning)


def bad(chain: str = CERTIFICATE.chain, key: str = CERTIFICATE.key) -> dict[str, str]:
    return pair(Certificate(chain, key))


EXPIRED, OTHER = Authority(days=-1).pem, authority().issue("other.test")
SMALL = authority().issue("api.test", key=small_rsa_key())
EDWARDS = authority().issue("api.test", key=ed25519.Ed25519PrivateKey.generate())
CURVE = authority().issue("api.test", key=ec.generate_private_key(ec.SECP256K1()))
ENCRYPTED = authority().issue("api.test", password=b"secret word")


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        (bad(chain="nonsense"), "data.tls.crt: holds no certificates in PEM that parse"),
        (bad(chain=CERTIFICATE.chain.replace("M", "m", 40)), "data.tls.crt: holds no certificates in PEM that parse"),
        (bad(key="nonsense"), "data.tls.key: is not a private key in PEM"),
        (bad(key=OTHER.key), "data.tls.key: is not the key of tls.crt"),
        (pair(ENCRYPTED), "data.tls.key: is encrypted; write it without a password: `openssl pkey"),
        (pair(SMALL), "data.tls.crt: has an RSA key of 1024 bits"),
        (pair(EDWARDS), "data.tls.crt: has a key that Envoy does no TLS with"),
        (pair(CURVE), "data.tls.crt: has a key that Envoy does no TLS with"),
        ({"tls_crt": CERTIFICATE.chain}, "data.tls.crt: secret `default/web` has no tls.key"),
        ({"tls_key": CERTIFICATE.key}, "data.tls.key: secret `default/web` has no tls.crt"),
        ({"ca_crt": EXPIRED}, "data.ca.crt: has expired, the last on 2"),
        ({"ca_crt": EXPIRED + EXPIRED}, "data.ca.crt: have all expired"),
        ({"ca_crt": ""}, "data.ca.crt: holds no certificates"),
    ],
)
def test_what_tls_could_not_use(problems: Callable[..., list[str]], items: dict[str, str], expected: str) -> None:
    (found,) = problems(manifest(**items))
    assert expected in found
    assert found.startswith("0.yaml:5:")
    assert "secret word" not in found


def test_a_bundle_may_hold_cas_that_have_expired(compiled: Compile) -> None:
    assert compiled(manifest(ca_crt=EXPIRED + authority().pem)).warnings() == []


@pytest.mark.parametrize(
    ("secrets", "expected"),
    [
        ("{web: {tls.crt: web.pem, tls.key: no.key}}", "secrets.default/web.tls.key: "),
        ("{web: {tls.crt: web.pem, tls.key: other.key}}", "other.key is not the key of tls.crt"),
    ],
)
def test_wrong_files(problems: Callable[..., list[str]], tmp_path: Path, secrets: str, expected: str) -> None:
    CERTIFICATE.write(tmp_path, "web")
    OTHER.write(tmp_path, "other")
    (found,) = problems(config=CONFIG + f"secrets: {secrets}")
    assert expected in found
    assert "proxy.yaml:13:" in found
