"""A Cassandra server with DataStax's driver, in each version of the protocol and with each compression."""

import contextlib
import re
import subprocess
from pathlib import Path

import pytest
from cassandra import Unauthorized
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
from cassandra.concurrent import execute_concurrent
from cassandra.policies import ConstantReconnectionPolicy, RoundRobinPolicy
from cassandra.query import BatchStatement, SimpleStatement
from tests.integration.addresses import free_port
from tests.integration.files import LIMIT, example
from tests.integration.proxy import eventually
from tests.protocols.conftest import Server, class_path, command

pytestmark = [pytest.mark.interop, pytest.mark.xdist_group("cassandra")]

HERE = Path(__file__).with_name("cassandra")
SETTINGS = """\
cluster_name: tests
num_tokens: 1
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
commitlog_sync: periodic
commitlog_sync_period: 10s
endpoint_snitch: SimpleSnitch
listen_address: 127.0.0.1
storage_port: {storage}
rpc_address: 127.0.0.1
native_transport_port: {port}
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters: [{{seeds: "127.0.0.1:{storage}"}}]
"""
# Drivers ask the server's own tables for its version and its nodes.
RULES = example("Cassandra")
READING = "\n".join(RULES.splitlines()[:-2])
FRAMINGS = [(3, "lz4"), (4, "snappy"), (4, False), (5, "lz4"), (5, False)]


class Cassandra(Server):
    """A server with tables `ships`, which clients may use, and `plans`, which they may not, in two keyspaces."""

    def __init__(self, scratch):
        java = command("java", "default-jre-headless")
        version = subprocess.run([java, "-version"], capture_output=True, text=True).stderr
        if not re.search(r'version "(11|17)\b', version):
            pytest.skip(f"Cassandra runs on Java 11 and 17, this is {version.splitlines()[0]}")
        classes = class_path(HERE)
        port, settings = free_port(), scratch / "cassandra.yaml"
        settings.write_text(SETTINGS.format(port=port, storage=free_port()))
        paths = [f"-Dcassandra.config=file://{settings}", f"-Dcassandra.storagedir={scratch / 'cassandra'}"]
        main = ["-cp", classes, "org.apache.cassandra.service.CassandraDaemon"]
        super().__init__([java, f"@{HERE / 'java.options'}", *paths, *main], port, scratch / "cassandra.log")
        self.wait()
        with connect("127.0.0.1", port) as session:
            for keyspace in "empire", "rebels":
                replication = "{'class': 'SimpleStrategy', 'replication_factor': 1}"
                session.execute(f"CREATE KEYSPACE {keyspace} WITH replication = {replication}")
                session.execute(f"CREATE TABLE {keyspace}.ships (name text PRIMARY KEY, crew int, cargo blob)")
                session.execute(f"CREATE TABLE {keyspace}.plans (name text PRIMARY KEY)")
                session.execute(f"INSERT INTO {keyspace}.plans (name) VALUES ('exhaust port')")


@contextlib.contextmanager
def connect(host, port, version=4, compression=False, keyspace=None):
    profile = ExecutionProfile(load_balancing_policy=RoundRobinPolicy(), request_timeout=LIMIT)
    cluster = Cluster(
        [host],
        port,
        protocol_version=version,
        compression=compression,
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        reconnection_policy=ConstantReconnectionPolicy(0.1, None),
        schema_metadata_enabled=False,
        token_metadata_enabled=False,
        connect_timeout=LIMIT,
        control_connection_timeout=LIMIT,
    )
    try:
        yield cluster.connect(keyspace)
    finally:
        cluster.shutdown()


@pytest.fixture(scope="session")
def server(scratch):
    server = Cassandra(scratch)
    yield server
    server.stop()


@pytest.fixture
def proxied(server, start):
    return lambda rules=RULES: start(server.port, rules)


@pytest.mark.parametrize(("version", "compression"), FRAMINGS)
def test_operations_are_decided_on_in_every_framing(proxied, version, compression):
    files = proxied()
    with connect(files.host, files.port, version, compression) as session:
        insert = session.prepare("INSERT INTO empire.ships (name, crew, cargo) VALUES (?, ?, ?)")
        # Longer than a segment of version 5, and than one of a reply.
        cargo = bytes(range(256)) * 2000
        session.execute(insert, ("tie", 1, cargo))
        session.execute("UPDATE empire.ships SET crew = 2 WHERE name = 'tie'")
        row = session.execute("SELECT name, crew, cargo FROM empire.ships WHERE name = 'tie'").one()
        assert (row.name, row.crew, row.cargo) == ("tie", 2, cargo)
        for statement in (
            "SELECT * FROM empire.plans",
            "SELECT * FROM rebels.ships",
            "DELETE FROM empire.ships WHERE name = 'tie'",
            "TRUNCATE empire.ships",
            "DROP TABLE empire.ships",
            "CREATE TABLE empire.copies (name text PRIMARY KEY)",
            "GRANT ALL ON KEYSPACE empire TO pilot",
        ):
            with pytest.raises(Unauthorized):
                session.execute(statement)
        with pytest.raises(Unauthorized):
            session.prepare("SELECT * FROM empire.plans WHERE name = ?")
        assert session.execute("SELECT crew FROM empire.ships WHERE name = 'tie'").one().crew == 2


@pytest.mark.parametrize(("version", "compression"), [(4, "lz4"), (5, "lz4"), (5, False)])
def test_a_pipeline_stays_in_step(proxied, version, compression):
    """Each reply goes to its request: denials come between the server's replies."""
    files = proxied()
    with connect(files.host, files.port, version, compression) as session:
        insert = session.prepare("INSERT INTO empire.ships (name, crew) VALUES (?, ?)")
        execute_concurrent(session, [(insert, (f"ship-{n}", n)) for n in range(200)], raise_on_first_error=True)
        select = session.prepare("SELECT crew FROM empire.ships WHERE name = ?")
        work = [
            (SimpleStatement("SELECT * FROM empire.plans"), None) if n % 3 == 0 else (select, (f"ship-{n}",))
            for n in range(200)
        ]
        results = execute_concurrent(session, work, concurrency=100, raise_on_first_error=False)
        for n, (succeeded, outcome) in enumerate(results):
            if n % 3 == 0:
                assert isinstance(outcome, Unauthorized), (n, outcome)
            else:
                assert succeeded, outcome
                assert outcome.one().crew == n


def test_pages_of_a_result(proxied):
    files = proxied()
    with connect(files.host, files.port) as session:
        insert = session.prepare("INSERT INTO empire.ships (name, crew) VALUES (?, ?)")
        execute_concurrent(session, [(insert, (f"page-{n}", n)) for n in range(50)], raise_on_first_error=True)
        rows = session.execute(SimpleStatement("SELECT name FROM empire.ships", fetch_size=7))
        assert {row.name for row in rows} >= {f"page-{n}" for n in range(50)}


def test_one_statement_of_a_batch_is_enough_to_deny(proxied):
    files = proxied()
    with connect(files.host, files.port) as session:
        insert = session.prepare("INSERT INTO empire.ships (name, crew) VALUES (?, ?)")
        batch = BatchStatement()
        batch.add(insert, ("batch", 1))
        batch.add("UPDATE empire.ships SET crew = 2 WHERE name = 'batch-2'")
        session.execute(batch)
        assert session.execute("SELECT crew FROM empire.ships WHERE name = 'batch-2'").one().crew == 2
        batch = BatchStatement()
        batch.add(insert, ("batch-3", 1))
        batch.add("INSERT INTO empire.plans (name) VALUES ('batch')")
        with pytest.raises(Unauthorized):
            session.execute(batch)
        assert session.execute("SELECT * FROM empire.ships WHERE name = 'batch-3'").one() is None


@pytest.mark.parametrize("version", [4, 5])
def test_names_without_keyspace_are_of_the_one_in_use(proxied, version):
    files = proxied()
    with connect(files.host, files.port, version, keyspace="empire") as session:
        session.execute("INSERT INTO ships (name, crew) VALUES ('unqualified', 3)")
        assert session.execute("SELECT crew FROM ships WHERE name = 'unqualified'").one().crew == 3
        session.set_keyspace("rebels")
        with pytest.raises(Unauthorized):
            session.execute("SELECT * FROM ships")
        session.execute("USE empire")
        session.execute("SELECT * FROM ships")


def test_a_changed_policy_counts_for_an_open_connection(proxied):
    files = proxied()
    with connect(files.host, files.port) as session:
        update = session.prepare("UPDATE empire.ships SET crew = ? WHERE name = 'changed'")
        session.execute(update, (1,))
        files.policy(READING)
        files.proxy.wait_for("in force")
        with pytest.raises(Unauthorized):
            session.execute(update, (2,))
        assert session.execute("SELECT crew FROM empire.ships WHERE name = 'changed'").one().crew == 1


def test_a_new_connection_learns_of_prepared_statements(proxied):
    """What was prepared is known of one connection only: on another one the driver is asked to prepare again."""
    files = proxied()
    with connect(files.host, files.port) as session, connect(files.host, files.port) as other:
        select = session.prepare("SELECT crew FROM empire.ships WHERE name = ?")
        assert other.execute(select, ("nobody",)).one() is None

    def unknown():
        fields = [entry["genericL7"]["fields"] for entry in files.entries() if "genericL7" in entry]
        return {"error": "unknown prepared query id"} in fields

    eventually(unknown)


def test_the_access_log_names_actions_and_tables(proxied):
    files = proxied()
    with connect(files.host, files.port) as session:
        session.execute("SELECT name FROM empire.ships")
        with pytest.raises(Unauthorized):
            session.execute("SELECT * FROM empire.plans")

    def logged():
        entries = [entry for entry in files.entries() if "genericL7" in entry]
        entries = [(entry["entryType"], entry["genericL7"]["fields"]) for entry in entries]
        return [(kind, fields) for kind, fields in entries if "empire" in fields.get("query_table", "")]

    eventually(lambda: len(logged()) == 2)
    assert logged() == [
        ("Request", {"query_action": "select", "query_table": "empire.ships"}),
        ("Denied", {"query_action": "select", "query_table": "empire.plans"}),
    ]
