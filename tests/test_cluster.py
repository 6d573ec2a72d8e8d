"""Three brokers on one machine: one of them may always be missing."""

import time
from collections.abc import Callable, Iterator

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from app.stack.cluster import Cluster, Ports
from app.stack.files import lasting_ports
from app.stack.kafka import Door

PATIENCE = 60.0


ELSEWHERE = (1, 2, 3)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    ports = iter(lasting_ports(9))
    places = [
        Ports(next(ports), next(ports), (Door(next(ports), advertised),))
        for advertised in ELSEWHERE
    ]
    made = Cluster(tmp_path_factory.mktemp("cluster"), places, print, {})
    try:
        made.prepare()
        made.start()
        yield made
    finally:
        made.stop()
        assert not any(node.find() for node in made.nodes)


def write(cluster: Cluster, values: range) -> None:
    """Return when all are acknowledged."""
    errors: list[object] = []
    producer = Producer({"bootstrap.servers": cluster.broker, "acks": "all", "linger.ms": 0})
    for value in values:
        producer.produce("numbers", str(value), on_delivery=lambda error, _: errors.append(error))
        producer.poll(0)
    assert producer.flush(PATIENCE) == 0
    assert errors == [None] * len(values)


def written(cluster: Cluster, count: int) -> list[int]:
    consumer = Consumer({"bootstrap.servers": cluster.broker, "group.id": "readers"})
    found: list[int] = []
    try:
        consumer.assign([TopicPartition("numbers", 0, 0)])
        ends = time.monotonic() + PATIENCE
        while len(found) < count and time.monotonic() < ends:
            messages = consumer.consume(count, timeout=1)
            found += [int(message.value()) for message in messages if not message.error()]
    finally:
        consumer.close()
    return found


def in_sync(admin: AdminClient) -> set[int]:
    """The brokers that have all of the topic."""
    try:
        topics = admin.describe_topics(TopicCollection(["numbers"]), request_timeout=10)
        return {node.id for node in topics["numbers"].result().partitions[0].isr}
    except KafkaException:
        return set()


def eventually(there: Callable[[], bool], what: str) -> None:
    ends = time.monotonic() + PATIENCE
    while not there():
        assert time.monotonic() < ends, f"{what} did not come"
        time.sleep(0.1)


@pytest.mark.kafka
@pytest.mark.chaos
def test_who_comes_by_a_door_is_told_where_to_come_to_for_each_broker(cluster: Cluster) -> None:
    def told(brokers: str) -> set[int]:
        client = AdminClient({"bootstrap.servers": brokers, "log_level": 0})
        return {one.port for one in client.list_topics(timeout=PATIENCE).brokers.values()}

    for place in cluster.ports:
        assert told(f"127.0.0.1:{place.doors[0].port}") == set(ELSEWHERE)
    clients = {int(address.rpartition(":")[2]) for address in cluster.broker.split(",")}
    assert told(cluster.broker) == clients


@pytest.mark.kafka
@pytest.mark.chaos
def test_a_cluster_writes_on_without_any_one_of_its_brokers_which_catches_up(
    cluster: Cluster,
) -> None:
    admin = AdminClient({"bootstrap.servers": cluster.broker})
    admin.create_topics([NewTopic("numbers", 1)])["numbers"].result(PATIENCE)
    eventually(lambda: in_sync(admin) == {1, 2, 3}, "the copies of the topic")
    write(cluster, range(100))

    leader = admin.list_topics("numbers", timeout=PATIENCE).topics["numbers"].partitions[0].leader
    cluster.kill_node(leader - 1)
    assert not cluster.runs(leader - 1)
    write(cluster, range(100, 200))
    assert leader not in in_sync(admin)

    cluster.start_node(leader - 1)
    eventually(lambda: in_sync(admin) == {1, 2, 3}, "the copy that was behind")

    other = leader % 3
    cluster.kill_node(other)
    write(cluster, range(200, 300))
    # At least once: a producer without idempotence may have repeated itself while the leader moved.
    assert sorted(set(written(cluster, 300))) == list(range(300))
