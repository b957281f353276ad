"""Connections that are open when policy stops allowing them."""

from tests.integration.proxy import eventually


def test_a_peer_that_loses_its_place_is_denied_on_its_open_connection(files4, run):
    files4.policy()
    run(files4)
    with files4.client() as client:
        assert client.get("/x").status_code == 200
        rule = files4.directory / "policies/rule.yaml"
        rule.write_text(rule.read_text().replace("app: client", "app: stranger"))
        eventually(lambda: client.get("/x").status_code == 403, limit=30)
