"""A bare confluent-kafka loop: dictionaries, a heap, nothing durable. What the client can do."""

from collections import defaultdict

import orjson
from confluent_kafka import Consumer, KafkaException, Producer

from app.bench.meter import Job, Meter
from app.bench.simple_job import DictJob, encode

BATCH = 1000
POLL_SECONDS = 0.05


def run(job: Job, meter: Meter) -> None:
    """Do the job and report; a partition is in order of time, so each has a job of its own."""
    client = {"bootstrap.servers": job.broker, "log_level": 3}
    consumer = Consumer(
        {
            **client,
            "group.id": job.name,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    producer = Producer({**client, "linger.ms": 5})
    consumer.subscribe([job.source], on_assign=lambda *_: meter.assigned())
    jobs: dict[int, DictJob] = defaultdict(DictJob)
    taken = 0
    while taken < job.events:
        messages = consumer.consume(BATCH, timeout=POLL_SECONDS)
        if not taken and messages:
            meter.first()
        for message in messages:
            error = message.error()
            if error is not None:
                raise KafkaException(error)
            for fired in jobs[message.partition()].take(orjson.loads(message.value())):
                producer.produce(job.triggers, key=fired.member, value=encode(fired))
        taken += len(messages)
        producer.poll(0)
    producer.flush()
    meter.finish()
