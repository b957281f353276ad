"""Headers compared with secrets: from a file beside proxy.yaml, and from a Kubernetes Secret beside the policies."""

import pytest
from tests.integration.files import http_rule
from tests.integration.proxy import eventually

VALUE = "correct-horse-battery-staple"
OTHER = "another-value-altogether"
RULE = http_rule(headerMatches=[{"name": "X-Token", "secret": {"name": "token"}}])
MANIFEST = "apiVersion: v1\nkind: Secret\nmetadata: {{name: token}}\nstringData: {{value: {}}}\n"


@pytest.fixture
def secret(files4):
    """The file of the secret `token`."""
    file = files4.directory / "token"
    file.write_text(f"{VALUE}\n")
    files4.settings["secrets"] = {"token": "token"}
    files4.save()
    files4.policy(RULE)
    return file


def status_with(files, token):
    with files.client() as client:
        return client.get("/", headers={"x-token": token} if token else {}).status_code


def test_a_request_with_the_secret_is_allowed(files4, run, secret):
    run(files4)
    assert [status_with(files4, token) for token in (VALUE, OTHER, None)] == [200, 403, 403]


def test_an_edit_of_the_secret_is_enforced_on_open_connections(files4, run, secret):
    run(files4)
    with files4.client() as client:
        headers = {"x-token": OTHER}
        assert client.get("/", headers=headers).status_code == 403
        secret.write_text(OTHER)
        eventually(lambda: client.get("/", headers=headers).status_code == 200)
        assert client.get("/", headers={"x-token": VALUE}).status_code == 403


def test_a_secret_that_vanishes_is_refused_and_the_last_one_stays(files4, run, secret):
    proxy = run(files4)
    secret.unlink()
    problem = eventually(lambda: proxy.status()["source"]["error"])
    assert "secrets.default/token" in problem
    assert "cannot be read" in problem
    assert status_with(files4, VALUE) == 200


def test_a_kubernetes_secret_among_the_policies(files4, run):
    manifest = files4.directory / "policies/secret.yaml"
    manifest.write_text(MANIFEST.format(VALUE))
    files4.policy(RULE)
    run(files4)
    assert [status_with(files4, token) for token in (VALUE, OTHER)] == [200, 403]
    manifest.write_text(MANIFEST.format(OTHER))
    eventually(lambda: status_with(files4, OTHER) == 200)
    assert status_with(files4, VALUE) == 403


def test_a_missing_secret_denies_and_is_named(files4, run):
    files4.policy(RULE)
    proxy = run(files4)
    assert status_with(files4, VALUE) == 403
    warnings = proxy.status()["source"]["warnings"]
    assert any("secret `default/token` is missing" in warning for warning in warnings)
    manifest = files4.directory / "policies/secret.yaml"
    manifest.write_text(MANIFEST.format(VALUE))
    eventually(lambda: status_with(files4, VALUE) == 200)
    manifest.unlink()
    eventually(lambda: status_with(files4, VALUE) == 403)


def test_values_are_printed_nowhere(files4, run, secret):
    proxy = run(files4)
    for token in (VALUE, OTHER, None):
        status_with(files4, token)
    eventually(lambda: len(files4.entries()) >= 3)
    told = [str(proxy.status()), "\n".join(proxy.lines)]
    # What a client sends stands in the log as any other header; what the policy wanted does not.
    told += [str(entry) for entry in files4.entries() if entry["entryType"] == "Denied"]
    assert not [text for text in told if VALUE in text]
