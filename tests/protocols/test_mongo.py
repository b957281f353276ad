"""FerretDB, a server of MongoDB's protocol, with MongoDB's own driver."""

import contextlib
import threading
from pathlib import Path

import pymongo
import pytest
from pymongo.errors import AutoReconnect, BulkWriteError, OperationFailure
from tests.go import build
from tests.integration.addresses import free_port
from tests.integration.files import LIMIT, example
from tests.integration.proxy import eventually
from tests.protocols.conftest import Server

pytestmark = [pytest.mark.interop, pytest.mark.xdist_group("mongo")]

TAGS = "ferretdb_no_postgresql,ferretdb_no_mysql,ferretdb_no_hana"
READING = """\
          rules:
            l7proto: envoy.filters.network.mongo_proxy
            l7: [{empire.ships: query}]"""
RULES = example("MongoDB")
UNAUTHORIZED = 13


@pytest.fixture(scope="session")
def database(scratch):
    program, port, data = scratch / "ferretdb", free_port(), scratch / "mongo"
    build(Path(__file__).with_name("mongo"), program, "-tags", TAGS)
    data.mkdir()
    server = Server([str(program), f"127.0.0.1:{port}", str(data)], port, scratch / "mongo.log").wait()
    with connect("127.0.0.1", port) as client:
        client.empire.plans.insert_one({"_id": "exhaust port"})
        client.empire.landings.insert_one({"ship": "tie", "pad": 327})
    yield server
    server.stop()


@pytest.fixture
def proxied(database, start):
    return lambda rules=RULES: start(database.port, rules)


@contextlib.contextmanager
def connect(host, port, **options):
    """A client with one connection for its operations. It does not try again what fails."""
    limit = LIMIT * 1000
    limits = {"serverSelectionTimeoutMS": limit, "socketTimeoutMS": limit, "connectTimeoutMS": limit, "maxPoolSize": 1}
    options = {"retryReads": False, "retryWrites": False, **limits, **options}
    with pymongo.MongoClient(host, port, directConnection=True, **options) as client:
        yield client


@contextlib.contextmanager
def denied():
    with pytest.raises(OperationFailure, match="not authorized by policy") as raised:
        yield
    assert raised.value.code == UNAUTHORIZED


def test_what_is_allowed_works(proxied):
    files = proxied()
    with connect(files.host, files.port) as client:
        ships = client.empire.ships
        ships.insert_one({"_id": "tie", "crew": 1})
        ships.insert_many({"_id": f"x-{n}", "crew": n} for n in range(300))
        ships.update_one({"_id": "tie"}, {"$inc": {"crew": 1}})
        assert ships.find_one({"_id": "tie"})["crew"] == 2
        # Several replies, the second and later ones by getMore.
        assert len(list(ships.find({}, batch_size=50))) == 301
        assert ships.count_documents({"crew": {"$gte": 290}}) == 10
        assert ships.find_one_and_update({"_id": "tie"}, {"$set": {"crew": 5}})["crew"] == 2
        assert sorted(ships.distinct("crew"))[:2] == [0, 1]
        with client.start_session() as session:
            assert ships.find_one({"_id": "x-1"}, session=session)["crew"] == 1


def test_large_messages_pass(proxied):
    files = proxied(RULES + "\n              - {empire.cargo: query}\n              - {empire.cargo: insert}")
    with connect(files.host, files.port) as client:
        # The driver cuts these into messages of up to 48 MB.
        client.empire.cargo.insert_many([{"data": b"x" * 10_000_000} for _ in range(6)])
        assert client.empire.cargo.count_documents({}) == 6


def test_what_is_not_allowed_is_an_authorization_error(proxied):
    files = proxied()
    with connect(files.host, files.port) as client:
        empire = client.empire
        for operation in (
            lambda: empire.plans.find_one(),
            lambda: empire.plans.insert_one({}),
            lambda: empire.ships.delete_many({}),
            lambda: empire.landings.insert_one({}),
            lambda: empire.landings.update_one({}, {"$set": {"pad": 94}}),
            lambda: client.rebels.ships.find_one(),
            lambda: list(empire.ships.aggregate([{"$lookup": {"from": "plans", "as": "p", "pipeline": []}}])),
            lambda: list(empire.ships.aggregate([{"$unionWith": "plans"}])),
            lambda: list(empire.ships.aggregate([{"$out": "landings"}])),
            lambda: empire.list_collection_names(),
            lambda: empire.ships.drop(),
            lambda: empire.ships.create_index("crew"),
            lambda: empire.create_collection("copies"),
            lambda: client.drop_database("empire"),
            lambda: client.list_database_names(),
            lambda: client.admin.command("getLog", "global"),
        ):
            with denied():
                operation()
            # The connection stays in step.
            assert empire.landings.find_one()["pad"] == 327


def test_one_of_several_writes_is_denied(proxied):
    files = proxied()
    with connect(files.host, files.port) as client:
        writes = [pymongo.InsertOne({"_id": "bulk"}), pymongo.DeleteOne({"_id": "bulk"})]
        with pytest.raises((OperationFailure, BulkWriteError)):
            client.empire.ships.bulk_write(writes)
        assert client.empire.ships.find_one({"_id": "bulk"}) == {"_id": "bulk"}


def test_a_denied_write_without_reply_gets_none(proxied, database):
    files = proxied()
    # Allowed ones would get a reply: this server sends one, though clients expect none.
    with connect(files.host, files.port, w=0) as client:
        for n in range(20):
            client.empire.plans.insert_one({"_id": n})
        assert client.empire.landings.find_one()["pad"] == 327
    with connect("127.0.0.1", database.port) as client:
        assert client.empire.plans.count_documents({}) == 1


def test_many_clients_at_once_stay_in_step(proxied):
    files = proxied()
    failures = []

    def work(client, number):
        try:
            client.empire.ships.replace_one({"_id": f"thread-{number}"}, {"crew": number}, upsert=True)
            for _ in range(20):
                with denied():
                    client.empire.plans.find_one()
                assert client.empire.ships.find_one({"_id": f"thread-{number}"})["crew"] == number
        except BaseException as error:
            failures.append(error)

    with connect(files.host, files.port, maxPoolSize=4) as client:
        threads = [threading.Thread(target=work, args=(client, number)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []


def test_a_changed_policy_counts_for_an_open_connection(proxied):
    files = proxied()
    with connect(files.host, files.port) as client:
        client.empire.ships.insert_one({})
        files.policy(READING)
        files.proxy.wait_for("in force")
        with denied():
            client.empire.ships.insert_one({})
        client.empire.ships.find_one()


def test_tls_closes(proxied):
    files = proxied()
    options = {"tls": True, "tlsInsecure": True, "serverSelectionTimeoutMS": 2000}
    with connect(files.host, files.port, **options) as client, pytest.raises(AutoReconnect):
        client.empire.ships.find_one()
    eventually(lambda: any("TLS, under which messages cannot be read" in line for line in files.proxy.lines))


def test_the_access_log_names_collections_and_operations(proxied):
    files = proxied()
    with connect(files.host, files.port) as client:
        client.empire.ships.find_one()
        with denied():
            client.empire.plans.find_one()

    def logged():
        entries = [entry for entry in files.entries() if "collections" in entry.get("genericL7", {}).get("fields", {})]
        return [(entry["entryType"], entry["genericL7"]["fields"]["collections"]) for entry in entries]

    eventually(lambda: len(logged()) == 2)
    assert logged() == [("Request", "empire.ships: find"), ("Denied", "empire.plans: find")]
