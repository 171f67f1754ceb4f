"""A receiver that is down: refusals at a fixed rate while a sink over HTTP cannot deliver, and then can again.

    python3 benches/reliability/sink_outage.py [target/debug/portcullis] [--seconds 10] [--outage 600] [--rate 5000] [--callers 8]

The receiver answers for `--seconds`, refuses connections for `--outage` (left out: as long), and answers again. Bars: every refusal that a
caller was given is an event at the receiver, none is there out of order, and refusals take no longer during the outage than before (p99
within 10 %). How far the two halves of the time before differ shows what such a comparison is worth on this machine.

The receiver is a process of its own, so that what it does with events is not in the callers' times. A request counts from when it was due:
a caller that is held up does not thereby ask less. Disk: about 2 kB for each refusal during the outage (the spool), and 512 MiB.
"""

import asyncio
import json
import multiprocessing
import resource
import time

import rig


class Told:
    """What came, by the number of each event: so a run of millions needs no memory for them."""

    def __init__(self):
        self.last, self.refusals, self.repeated, self.late, self.missing = 0, 0, 0, 0, set()

    def event(self, event):
        number = event["seq"]
        if number == self.last + 1:
            self.last = number
        elif number in self.missing:
            self.missing.discard(number)
            self.late += 1
        elif number <= self.last:
            # Delivery is at least once.
            self.repeated += 1
            return
        else:
            self.missing.update(range(self.last + 1, number))
            self.last = number
        self.refusals += event["kind"] == "access.denied"


class Receiver:
    """Takes NDJSON by POST, and can be down."""

    def __init__(self):
        self.server, self.address, self.told, self.writers = None, None, Told(), set()

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
                    self.told.event(json.loads(line))
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.writers.discard(writer)
            writer.close()


def receive(pipe):
    """The receiver's process: does what it is told, and answers each order."""

    async def main():
        receiver = Receiver()
        while (order := await asyncio.to_thread(pipe.recv)) != "end":
            if order == "up":
                await receiver.up()
            elif order == "down":
                await receiver.down()
            told = receiver.told
            pipe.send((receiver.address, (told.last, told.refusals, told.repeated, told.late, len(told.missing))))

    asyncio.run(main())


class Remote:
    """The receiver as the others see it."""

    def __init__(self):
        self.pipe, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.get_context("spawn").Process(target=receive, args=(theirs,), daemon=True)
        self.process.start()

    async def order(self, what):
        self.pipe.send(what)
        return await asyncio.to_thread(self.pipe.recv)

    def end(self):
        self.pipe.send("end")
        self.process.join(10)


async def caller(address, every, phase, times, done):
    caller = rig.Caller(address)
    due = time.monotonic()
    while not done.is_set():
        due += every
        began = due
        if (early := due - time.monotonic()) > 0:
            await asyncio.sleep(early)
            # What the timer is late is not the gateway's.
            began = time.monotonic()
        answer = await caller.ask("/no")
        assert answer.status == 403, answer.status
        times[phase[0]].append(time.monotonic() - began)
    caller.close()


def cpu(process):
    """The seconds of a processor that a process has used."""
    fields = open(f"/proc/{process.pid}/stat").read().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


async def main():
    options = rig.arguments(
        __doc__,
        seconds=(10.0, "before the outage, and after it"),
        outage=(0.0, "how long it is; 0: as long as the others"),
        rate=(5000, "refusals a second asked for"),
        callers=(8, "connections"),
    )
    outage = options.outage or options.seconds
    upstream, receiver = await rig.Upstream().start(), Remote()
    (host, port, *_), _ = await receiver.order("up")
    more = rig.ROUTE + (
        '[spool]\npath = "spool"\nmax_size = "64GiB"\n[[sink]]\nname = "siem"\nkind = "http"\n'
        f'[sink.http]\nurl = "http://{host}:{port}/events"\nallow_http = true\nbody = "ndjson"\ngzip = false\n'
    )
    # The file is not what is measured, and must not fill the disk.
    file = 'rotate_size = "256MiB"\nrotate_keep = 1\nrotate_compress = false\n'
    gateway = rig.Gateway(options.program, rig.config(upstream, more=more), rig.everybody(["GET /x"]), file=file)
    await gateway.start()
    lengths = {"warming up": 2, "before": options.seconds / 2, "before, too": options.seconds / 2, "outage": outage, "after": options.seconds}
    phase, times, used, done = [""], {name: [] for name in lengths}, {}, asyncio.Event()
    phase[0] = "warming up"
    every = options.callers / options.rate
    calling = [
        asyncio.create_task(caller(gateway.address, every, phase, times, done)) for _ in range(options.callers)
    ]
    depth = spool = 0
    for name, seconds in lengths.items():
        if name == "outage":
            await receiver.order("down")
        elif name == "after":
            depth = await gateway.metric("portcullis_event_queue_depth")
            spool = await gateway.metric("portcullis_event_spool_bytes")
            await receiver.order("up")
        before, phase[0] = cpu(gateway.process), name
        await asyncio.sleep(seconds)
        used[name] = (cpu(gateway.process) - before) / seconds
    done.set()
    await asyncio.gather(*calling)
    refused, began = sum(len(each) for each in times.values()), time.monotonic()
    patience = 120 + outage
    while await gateway.metric("portcullis_event_queue_depth") > 0 and time.monotonic() - began < patience:
        await asyncio.sleep(0.2)
    caught_up = time.monotonic() - began
    dropped = await gateway.metric("portcullis_events_dropped_total")
    status, _ = await gateway.stop()
    _, (last, refusals, repeated, late, missing) = await receiver.order("say")
    receiver.end()
    gateway.remove()
    halves = [rig.quantile(times[name], 0.99) for name in ("before", "before, too")]
    both = times["before"] + times["before, too"]
    p99 = {"before": rig.quantile(both, 0.99), **{name: rig.quantile(times[name], 0.99) for name in ("outage", "after")}}
    p50 = {"before": rig.quantile(both, 0.5), **{name: rig.quantile(times[name], 0.5) for name in ("outage", "after")}}
    rate = {"before": len(both) / options.seconds, "outage": len(times["outage"]) / outage, "after": len(times["after"]) / options.seconds}
    listed = lambda figures, unit: ", ".join(f"{figures[name]:{unit}}" for name in ("before", "outage", "after"))
    rig.report("A sink that is down", [
        ("refusals; the last event's number", f"{refused}; {last}", refused > 100),
        ("a second: before, during, after (asked for)", f"{listed(rate, '.0f')} ({options.rate})", None),
        ("waiting at the end of the outage; size of the spool", f"{depth:.0f}; {spool / 2**20:.0f} MiB", depth > 0),
        ("refusals at the receiver, less those that callers had", refusals - refused, refusals == refused),
        ("numbers missing at the receiver; out of order; repeated", f"{missing}; {late}; {repeated}", missing + late == 0),
        ("events dropped", f"{dropped:.0f}", dropped == 0),
        ("after the last refusal until nothing waits", f"{caught_up:.1f} s", caught_up < patience),
        ("median before, during, after", f"{listed(p50, '.2f')} ms", None),
        ("p99 before, during, after", f"{listed(p99, '.2f')} ms", p99["outage"] <= p99["before"] * 1.1),
        ("p99 of the two halves before", ", ".join(f"{half:.2f} ms" for half in halves), None),
        ("processors the gateway used: before, during, after",
         ", ".join(f"{used[name]:.2f}" for name in ("before, too", "outage", "after")), None),
        ("the callers' own process used so many seconds", f"{resource.getrusage(resource.RUSAGE_SELF).ru_utime:.0f}", None),
        ("exit status", status, status == 0),
    ])


if __name__ == "__main__":
    asyncio.run(main())
