"""A receiver that is down: refusals at a fixed rate while a sink over HTTP cannot deliver, and then can again.

    python3 benches/reliability/sink_outage.py [target/debug/portcullis] [--seconds 10] [--rate 5000] [--callers 8]

Three times as long as `--seconds`: the receiver answers, then refuses connections, then answers again. Bars: no event lost, each node's
events in the order of their numbers, and refusals as fast during the outage as before (p99 within 10 %, or 1 ms).
"""

import asyncio
import json
import time

import rig


class Receiver:
    """Takes NDJSON by POST, and can be down."""

    def __init__(self):
        self.server, self.address, self.numbers, self.ids, self.writers = None, None, [], set(), set()

    async def up(self):
        self.server = await asyncio.start_server(self.serve, *(self.address or ("127.0.0.1", 0)), limit=1 << 24)
        self.address = self.server.sockets[0].getsockname()

    async def down(self):
        self.server.close()
        for writer in list(self.writers):
            writer.close()

    async def serve(self, reader, writer):
        self.writers.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                length = int(head.split("content-length: ")[1].split("\r\n")[0])
                for line in (await reader.readexactly(length)).splitlines():
                    event = json.loads(line)
                    # Delivery is at least once: a repetition is told by its id.
                    if event["id"] not in self.ids:
                        self.ids.add(event["id"])
                        self.numbers.append(event["seq"])
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.writers.discard(writer)
            writer.close()


async def caller(address, every, phase, times, done):
    caller = rig.Caller(address)
    due = time.monotonic()
    while not done.is_set():
        due += every
        await asyncio.sleep(max(0, due - time.monotonic()))
        began = time.monotonic()
        answer = await caller.ask("/no")
        assert answer.status == 403, answer.status
        times[phase[0]].append(time.monotonic() - began)
    caller.close()


async def main():
    options = rig.arguments(
        __doc__, seconds=(10.0, "each phase"), rate=(5000, "refusals a second asked for"), callers=(8, "connections")
    )
    upstream, receiver = await rig.Upstream().start(), Receiver()
    await receiver.up()
    url = f"http://{receiver.address[0]}:{receiver.address[1]}/events"
    more = rig.ROUTE + (
        '[spool]\npath = "spool"\nmax_size = "16GiB"\n[[sink]]\nname = "siem"\nkind = "http"\n'
        f'[sink.http]\nurl = "{url}"\nallow_http = true\nbody = "ndjson"\ngzip = false\n'
    )
    gateway = rig.Gateway(options.program, rig.config(upstream, more=more), rig.everybody(["GET /x"]))
    await gateway.start()
    phase, times, done = ["before"], {"before": [], "outage": [], "after": []}, asyncio.Event()
    every = options.callers / options.rate
    calling = [
        asyncio.create_task(caller(gateway.address, every, phase, times, done)) for _ in range(options.callers)
    ]
    await asyncio.sleep(options.seconds)
    await receiver.down()
    phase[0] = "outage"
    await asyncio.sleep(options.seconds)
    depth = await gateway.metric("portcullis_event_queue_depth")
    spool = await gateway.metric("portcullis_event_spool_bytes")
    await receiver.up()
    phase[0] = "after"
    await asyncio.sleep(options.seconds)
    done.set()
    await asyncio.gather(*calling)
    refused, began = sum(len(each) for each in times.values()), time.monotonic()
    while await gateway.metric("portcullis_event_queue_depth") > 0 and time.monotonic() - began < 120:
        await asyncio.sleep(0.2)
    caught_up = time.monotonic() - began
    dropped = await gateway.metric("portcullis_events_dropped_total")
    status, _ = await gateway.stop()
    recorded = gateway.events()
    gateway.remove()
    lost = len({event["id"] for event in recorded} - receiver.ids)
    order = sum(later < earlier for earlier, later in zip(receiver.numbers, receiver.numbers[1:]))
    p99 = {name: rig.quantile(each, 0.99) for name, each in times.items()}
    rate = {name: len(each) / options.seconds for name, each in times.items()}
    slower = p99["outage"] <= max(p99["before"] * 1.1, p99["before"] + 1)
    rig.report("A sink that is down", [
        ("refusals", refused, refused > 100),
        ("a second: before, during, after", ", ".join(f"{rate[name]:.0f}" for name in times), None),
        ("waiting at the end of the outage; size of the spool", f"{depth:.0f}; {spool / 2**20:.0f} MiB", depth > 0),
        ("events recorded and not received", lost, lost == 0),
        ("events out of order", order, order == 0),
        ("events dropped", f"{dropped:.0f}", dropped == 0),
        ("after the last refusal until nothing waits", f"{caught_up:.1f} s", caught_up < 120),
        ("p99 before, during, after", ", ".join(f"{p99[name]:.1f} ms" for name in times), slower),
        ("exit status", status, status == 0),
    ])


asyncio.run(main())
