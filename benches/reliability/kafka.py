"""A sink for Kafka against another implementation of the protocol: the cluster that librdkafka has for tests, and its own consumer.

    cargo build --features kafka
    pip install confluent-kafka     # in an environment of its own
    python3 benches/reliability/kafka.py [target/debug/portcullis] [--refusals 3000]

Bars: every refusal is a record, in order, with the node as its key
and the event's id as header, all in the partition that librdkafka itself would choose for that key.
"""

import asyncio
import json
import time

import rig
from confluent_kafka import Consumer, Producer


def consume(address, topic, most, seconds):
    """The records of a topic, as librdkafka reads them (and it verifies their checksums)."""
    consumer = Consumer({
        "bootstrap.servers": address, "group.id": "check", "auto.offset.reset": "earliest", "check.crcs": True,
        "enable.partition.eof": False,
    })
    consumer.subscribe([topic])
    records, until = [], time.monotonic() + seconds
    while len(records) < most and time.monotonic() < until:
        message = consumer.poll(0.2)
        if message is not None and message.error() is None:
            records.append((message.partition(), message.key(), json.loads(message.value()), dict(message.headers() or [])))
    consumer.close()
    return records


async def main():
    options = rig.arguments(__doc__, refusals=(3000, "refused requests"))
    cluster = Producer({"bootstrap.servers": "none", "test.mock.num.brokers": 3, "partitioner": "murmur2_random"})
    brokers = [f"{broker.host}:{broker.port}" for broker in cluster.list_topics(timeout=10).brokers.values()]
    # It makes a topic for whoever writes to it first; and this is the partition of the gateway's name.
    chosen = []
    cluster.produce("refusals", key="gw-1", value="{}", on_delivery=lambda error, message: chosen.append((error, message.partition())))
    cluster.flush(10)
    upstream = await rig.Upstream().start()
    more = rig.ROUTE + (
        '[event]\nnode = "gw-1"\n[spool]\npath = "spool"\n[[sink]]\nname = "kafka"\nkind = "kafka"\n'
        f'[sink.kafka]\nbrokers = {json.dumps(brokers)}\ntopic = "refusals"\ntransport = "tcp"\n'
    )
    gateway = rig.Gateway(options.program, rig.config(upstream, more=more), rig.everybody(["GET /x"]))
    await gateway.start()
    caller = rig.Caller(gateway.address)
    for _ in range(options.refusals):
        assert (await caller.ask("/no")).status == 403
    caller.close()
    began = time.monotonic()
    while await gateway.metric("portcullis_event_queue_depth") > 0 and time.monotonic() - began < 60:
        await asyncio.sleep(0.1)
    failed = await gateway.metric('portcullis_events_dropped_total')
    status, _ = await gateway.stop()
    recorded = gateway.events()
    gateway.remove()
    found = await asyncio.to_thread(consume, ",".join(brokers), "refusals", len(recorded) + 1, 30)
    records = [record for record in found if record[2]]
    ids = [event["id"] for _, _, event, _ in records]
    rig.report("A sink for Kafka", [
        ("events recorded; records read", f"{len(recorded)}; {len(records)}", len(recorded) == len(records) > options.refusals),
        ("in the same order", "", ids == [event["id"] for event in recorded]),
        ("records whose key is the node", sum(key == b"gw-1" for _, key, _, _ in records), all(key == b"gw-1" for _, key, _, _ in records)),
        ("records with the event's id as header", "", all(headers == {"id": event["id"].encode()} for _, _, event, headers in records)),
        ("partition; librdkafka's own choice", f"{set(record[0] for record in records)}; {chosen}",
         {record[0] for record in records} == {partition for _, partition in chosen}),
        ("events dropped", f"{failed:.0f}", failed == 0),
        ("exit status", status, status == 0),
    ])


asyncio.run(main())
