"""A Kafka broker, newer than the parser's tables, with clients in C, Python and Java."""

import socket
import struct
import subprocess
import time
from pathlib import Path

import confluent_kafka
import kafka
import pytest
from confluent_kafka.admin import AdminClient, NewTopic
from kafka.errors import TopicAuthorizationFailedError
from tests.integration.addresses import free_port
from tests.integration.files import LIMIT, example
from tests.integration.proxy import eventually
from tests.protocols.conftest import Server, class_path, command

pytestmark = [pytest.mark.interop, pytest.mark.xdist_group("kafka")]

HERE = Path(__file__).with_name("kafka")
PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PROXIED://127.0.0.1:{upstream},DIRECT://127.0.0.1:{direct},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PROXIED://127.0.0.2:{proxied},DIRECT://127.0.0.1:{direct}
inter.broker.listener.name=DIRECT
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PROXIED:PLAINTEXT,DIRECT:PLAINTEXT
log.dirs={data}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
group.initial.rebalance.delay.ms=0
"""
ALLOWED = example("Kafka")
READING = """\
          rules:
            kafka: [{role: consume, topic: public}]"""
DENIED = confluent_kafka.KafkaError.TOPIC_AUTHORIZATION_FAILED


class Broker:
    """A broker whose clients come through the proxy: it calls itself by the proxy's address."""

    def __init__(self, scratch):
        self.java = command("java", "default-jre-headless")
        self.class_path = class_path(HERE)
        self.upstream, self.direct, controller = free_port(), free_port(), free_port()
        self.proxied = free_port("127.0.0.2")
        ports = {"upstream": self.upstream, "direct": self.direct, "controller": controller, "proxied": self.proxied}
        properties = scratch / "kafka.properties"
        properties.write_text(PROPERTIES.format(data=scratch / "kafka", **ports))
        self.run("kafka.tools.StorageTool", "format", "-t", "AAAAAAAAAAAAAAAAAAAAAA", "-c", str(properties))
        arguments = self.arguments("kafka.Kafka", str(properties))
        self.server = Server(arguments, self.upstream, scratch / "kafka.log").wait()
        admin = AdminClient({"bootstrap.servers": f"127.0.0.1:{self.direct}"})
        for created in admin.create_topics([NewTopic("public", 1), NewTopic("secret", 1)]).values():
            created.result(LIMIT)

    def arguments(self, main, *arguments):
        return [self.java, "-Xmx384m", "-XX:TieredStopAtLevel=1", "-cp", self.class_path, main, *arguments]

    def run(self, main, *arguments, **options):
        options = {"capture_output": True, "text": True, "timeout": 2 * LIMIT, **options}
        done = subprocess.run(self.arguments(main, *arguments), **options)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture(scope="session")
def broker(scratch):
    broker = Broker(scratch)
    yield broker
    broker.server.stop()


@pytest.fixture
def proxied(broker, start):
    """Starts a proxy in front of the broker: its files, and the address for clients."""
    return lambda rules=ALLOWED: start(broker.upstream, rules, port=broker.proxied)


def producer(address, **options):
    return confluent_kafka.Producer({"bootstrap.servers": address, "linger.ms": 0, **options})


def deliver(client, messages):
    """Sends messages by topic; the errors (None for none), in the order of the messages."""
    outcome = {}
    for index, (topic, value) in enumerate(messages):
        try:
            client.produce(topic, value, on_delivery=lambda error, _, index=index: outcome.update({index: error}))
        except confluent_kafka.KafkaException as error:
            # The client has asked for metadata since, and learnt that it may not.
            outcome[index] = error.args[0]
    assert client.flush(LIMIT) == 0
    return [outcome[index] and outcome[index].code() for index in range(len(messages))]


def consumer(address, group, **options):
    settings = {"bootstrap.servers": address, "group.id": group, "auto.offset.reset": "earliest", **options}
    return confluent_kafka.Consumer(settings)


def receive(client, wanted):
    """Reads until the values are there; those of this call."""
    found, deadline = [], time.monotonic() + LIMIT
    while not wanted <= set(found):
        assert time.monotonic() < deadline, found
        message = client.poll(0.5)
        if message is not None:
            assert message.error() is None, message.error()
            found.append(message.value())
    return found


def test_what_is_allowed_goes_through_a_consumer_group(proxied):
    files = proxied()
    assert deliver(producer(files.address), [("public", b"group-1"), ("public", b"group-2")]) == [None, None]
    client = consumer(files.address, "readers")
    client.subscribe(["public"])
    try:
        receive(client, {b"group-1", b"group-2"})
        client.commit(asynchronous=False)
        assert client.committed([confluent_kafka.TopicPartition("public", 0)], timeout=LIMIT)[0].offset >= 2
    finally:
        client.close()


def test_a_denied_topic_is_an_authorization_error_for_producers(proxied):
    files = proxied()
    client = producer(files.address)
    assert deliver(client, [("public", b"a"), ("secret", b"b"), ("public", b"c")]) == [None, DENIED, None]


def test_a_denied_topic_is_an_authorization_error_for_consumers(proxied):
    files = proxied()
    client = consumer(files.address, "spies")
    client.subscribe(["secret"])
    try:
        message = eventually(lambda: client.poll(0.5))
        assert message.error().code() == DENIED
    finally:
        client.close()


def test_a_changed_policy_counts_for_an_open_connection(proxied):
    files = proxied()
    client = producer(files.address)
    assert deliver(client, [("public", b"before")]) == [None]
    files.policy(READING)
    files.proxy.wait_for("in force")
    assert deliver(client, [("public", b"after")]) == [DENIED]


def test_a_pipeline_stays_in_step(proxied):
    """Each reply goes to its request: denials come between the broker's replies, in the order of the requests."""
    files = proxied()
    # The client learns of both topics, which it may write, and then may write only one.
    files.policy("          rules: {kafka: [{role: produce}]}")
    files.proxy.wait_for("in force")
    client = producer(files.address, **{"max.in.flight": 5, "batch.num.messages": 1, "retries": 0})
    assert deliver(client, [("public", b"x"), ("secret", b"x")]) == [None, None]
    files.policy(ALLOWED)
    files.proxy.wait_for("in force")
    messages = [("secret" if index % 3 == 0 else "public", b"%d" % index) for index in range(300)]
    assert deliver(client, messages) == [DENIED if topic == "secret" else None for topic, _ in messages]


def test_kafka_python_agrees(proxied):
    files = proxied()
    client = kafka.KafkaProducer(bootstrap_servers=files.address, max_block_ms=LIMIT * 1000)
    try:
        client.send("public", b"python").get(LIMIT)
        with pytest.raises(TopicAuthorizationFailedError):
            client.send("secret", b"python").get(LIMIT)
    finally:
        client.close()
    reader = kafka.KafkaConsumer(
        "public",
        bootstrap_servers=files.address,
        group_id="python",
        auto_offset_reset="earliest",
        consumer_timeout_ms=LIMIT * 1000,
    )
    try:
        assert any(message.value == b"python" for message in reader)
    finally:
        reader.close()


def test_the_java_client_agrees(proxied, broker):
    files = proxied()
    address = ["--bootstrap-server", files.address]
    main = "org.apache.kafka.tools.consumer.ConsoleConsumer"
    assert deliver(producer(files.address), [("public", b"for java")]) == [None]
    read = broker.run(main, *address, "--topic", "public", "--from-beginning", "--max-messages", "1")
    assert "Processed a total of 1 messages" in read
    written = broker.run("org.apache.kafka.tools.ConsoleProducer", *address, "--topic", "secret", input="x\n")
    assert "TopicAuthorizationException" in written


def test_the_access_log_has_the_numbers_and_topics_of_requests_and_replies(proxied):
    files = proxied()
    deliver(producer(files.address), [("public", b"logged"), ("secret", b"logged")])

    def found():
        entries = [entry for entry in files.entries() if "kafka" in entry]
        produced = [entry for entry in entries if entry["kafka"].get("topics") == ["public"] and not key(entry)]
        denied = [entry for entry in entries if entry["entryType"] == "Denied"]
        return (produced, denied) if len(produced) >= 2 and denied else None

    produced, denied = eventually(found)
    request, response = produced[:2]
    assert (request["entryType"], response["entryType"]) == ("Request", "Response")
    assert request["kafka"]["correlationId"] == response["kafka"]["correlationId"]
    assert denied[0]["kafka"]["topics"] == ["secret"]
    assert denied[0]["kafka"]["errorCode"] == 29


def key(entry):
    return entry["kafka"].get("apiKey", 0)


def versions(address):
    """The versions that a server offers, by API key."""
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), LIMIT) as connection, connection.makefile("rb") as stream:
        connection.sendall(struct.pack(">ihhih", 10, 18, 0, 77, -1))
        length, number, error, count = struct.unpack(">iihi", stream.read(14))
        assert (number, error, length) == (77, 0, 10 + 6 * count)
        offers = [struct.unpack(">hhh", stream.read(6)) for _ in range(count)]
    return {api_key: (low, high) for api_key, low, high in offers}


def test_versions_that_cannot_be_read_are_not_offered(proxied, broker):
    files = proxied()
    offered, own = versions(files.address), versions(f"127.0.0.1:{broker.direct}")
    assert set(offered) < set(own)
    assert all(low == own[api_key][0] and high <= own[api_key][1] for api_key, (low, high) in offered.items())
    # ListOffsets has a version in this broker that the parser does not know.
    assert offered[2][1] < own[2][1]
    assert offered[0] == own[0]
