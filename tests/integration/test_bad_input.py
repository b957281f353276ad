"""What is wrong is said on one screen, with file, line and fix; exit 2 for configuration, 1 for an Envoy that fails."""

import socket

import pytest
from tests.integration.files import LIMIT, http_rule


def output(proxy, code):
    assert proxy.process.wait(LIMIT) == code, proxy.lines
    # The reader has all of it when it is at the end of the pipe.
    proxy.reader.join(LIMIT)
    text = "\n".join(proxy.lines)
    assert "Traceback" not in text
    assert len(proxy.lines) <= 25, text
    return text


@pytest.mark.parametrize(
    ("change", "texts"),
    [
        ({"listeners": 3}, ["proxy.yaml:1", "listeners"]),
        ({"nonsense": 1}, ["proxy.yaml:1", "nonsense"]),
        ({"policies": ["missing/"]}, ["proxy.yaml:1", "policies: ", "missing does not exist"]),
        (
            {
                "endpoints": [
                    {"name": "a", "ips": ["10.99.0.1"]},
                    {"name": "api", "labels": {"app": "api"}, "ips": ["10.99.0.1"]},
                ]
            },
            ["proxy.yaml:1", "10.99.0.1"],
        ),
        (
            {
                "identities": [
                    {"name": "a", "cidrs": ["127.0.0.0/24"], "labels": {"a": "a"}},
                    {"name": "b", "cidrs": ["127.0.0.0/24"], "labels": {"b": "b"}},
                ]
            },
            ["proxy.yaml:1", "127.0.0.0/24"],
        ),
    ],
    ids=["wrong type", "unknown field", "missing policies", "duplicate endpoint IPs", "overlapping identities"],
)
def test_a_wrong_configuration(files4, run, change, texts):
    files4.policy()
    files4.settings |= change
    files4.save()
    shown = output(run(files4, ready=False), 2)
    for text in texts:
        assert text in shown


@pytest.mark.parametrize(
    ("rules", "texts"),
    [
        (http_rule(path="/("), ["rule.yaml:", "path"]),
        ("          rules: {http: [{methd: GET}]}", ["rule.yaml:", "methd"]),
        ("          rules: {http: [", ["rule.yaml:", "YAML"]),
    ],
    ids=["invalid regex", "unknown field", "invalid YAML"],
)
def test_a_wrong_policy(files4, run, rules, texts):
    files4.policy(rules)
    shown = output(run(files4, ready=False), 2)
    for text in texts:
        assert text in shown


def test_a_wrong_port_range(files4, run):
    files4.policy()
    policy = files4.directory / "policies/rule.yaml"
    policy.write_text(policy.read_text().replace(f'"{files4.port}"', '"99999"'))
    assert "99999" in output(run(files4, ready=False), 2)


def test_an_unreadable_file(files4, run):
    files4.path.unlink()
    assert "proxy.yaml" in output(run(files4, ready=False), 2)


def test_a_port_in_use(files4, run):
    files4.policy()
    with socket.socket() as taken:
        taken.bind((files4.host, files4.port))
        taken.listen()
        shown = output(run(files4, ready=False), 2)
    assert f"listener `api-in`: cannot listen on {files4.address}: the port is in use" in shown


def test_a_second_proxy_with_the_same_state(files4, run):
    files4.policy()
    run(files4)
    files4.settings["listeners"] = []
    files4.settings["admin"] = False
    files4.save()
    assert "another process listens on" in output(run(files4, ready=False), 2)


def test_an_envoy_that_does_not_start(files4, run):
    files4.settings["envoy"] = {"extra_args": ["--no-such-option"]}
    files4.save()
    files4.policy()
    shown = output(run(files4, ready=False), 1)
    assert "Envoy does not start" in shown
    assert "no-such-option" in shown
