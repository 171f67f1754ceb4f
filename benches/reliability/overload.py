#!/usr/bin/env python3
"""R7, overload: at twice the capacity, what is still served, how fast the rest is refused, and whether the ops listener answers.

    cargo build --profile dist
    python3 benches/reliability/overload.py target/dist/portcullis [--seconds 10] [--only upstream|cpu]

Two kinds of capacity. `upstream`: the origin serves 64 requests at once in 100 ms each, and the route has `max_concurrent = { route = 64 }`.
Twice the peak is offered, evenly, whatever becomes of the requests before. `cpu`: the origin is faster than the gateway's one worker, and 128
connections, twice as many as the peak needs, ask as fast as they are answered; then 512 and 3,000, far beyond. Client and origin are slower with so many connections themselves, and on two
processors they cannot be given more of one: so an nginx in the gateway's place is measured beside it, and what it keeps of its own
peak is what there was to keep. Peak is what is served when as many connections ask as can be served at once. Bars: goodput at least 80 % of the peak, refusals within
50 ms (p99, measured by the client, from the time at which the request was due), health within 100 ms, inside 512 MiB.

Needs nginx, h2load (nghttp2-client) and taskset, and two processors: the gateway has the first, origin and client share the second,
so that with `cpu` the client may be what is slow: its own share of refusals' times is in the figures. It ends by itself.
"""
import argparse, asyncio, collections, json, os, re, subprocess, sys, time

from site_of_gateway import Poller, Site, free_port, percentile, pinned, wait_for_port

AT_ONCE, SERVICE_S = 64, 0.1


async def slow_origin(port):
    """Serves AT_ONCE requests at a time, each in SERVICE_S; more wait."""
    room = asyncio.Semaphore(AT_ONCE)

    async def serve(reader, writer):
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                async with room:
                    await asyncio.sleep(SERVICE_S)
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


class Caller(asyncio.Protocol):
    """One connection that sends a request when it is told to, and says how long the answer took, from when it was due."""

    def __init__(self, idle, rows):
        self.idle, self.rows, self.due, self.answer = idle, rows, None, b""

    def connection_made(self, transport):
        self.transport = transport
        self.idle.append(self)

    def ask(self, due):
        self.due = due
        self.transport.write(b"GET / HTTP/1.1\r\nhost: app.test\r\n\r\n")

    def data_received(self, data):
        self.answer += data
        head, found, body = self.answer.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
        if found and len(body) >= int(length.group(1)):
            self.rows.append((int(head[9:12]), time.monotonic() - self.due))
            self.answer, self.due = b"", None
            self.idle.append(self)


async def at_rate(port, connections, seconds, rate):
    """Offers requests evenly, whatever becomes of those before; returns rows of (status, seconds) and what found no connection."""
    idle, rows, loop = collections.deque(), [], asyncio.get_running_loop()
    for _ in range(connections):
        await loop.create_connection(lambda: Caller(idle, rows), "127.0.0.1", port)
    began, sent, without = time.monotonic(), 0, 0
    while (now := time.monotonic() - began) < seconds:
        while sent < now * rate:
            if idle:
                idle.popleft().ask(began + sent / rate)
            else:
                without += 1
            sent += 1
        await asyncio.sleep(0.001)
    await asyncio.sleep(1)
    return rows, without


def as_fast_as_answered(site, connections, seconds, port=None, ended=lambda: None):
    """So many connections that ask again as soon as they are answered; returns rows of (status, seconds). `ended` is called when they
    are through, before the rows are read: that takes this process so long that a thread beside it would seem to wait for its answer."""
    log = f"{site.folder}/h2load.log"
    if os.path.exists(log):
        os.remove(log)
    command = [*pinned(1), "h2load", "--h1", "-t1", f"-c{connections}", f"-D{seconds}", "--warm-up-time=2", f"--log-file={log}"]
    run = subprocess.run([*command, f"http://127.0.0.1:{port or site.port}/"], capture_output=True, text=True)
    ended()
    if run.returncode:
        sys.exit(run.stdout + run.stderr)
    with open(log) as file:
        rows = [line.split() for line in file]
    return [(int(status), int(took) / 1e6) for _, status, took in rows]


def measure(binary, kind, seconds, crowd=0):
    with Site() as site:
        if kind == "upstream":
            crowd, origin = 8 * AT_ONCE, free_port()
            site.start([*pinned(1), sys.executable, __file__, "--origin", str(origin)])
            wait_for_port(origin)
            limits, enough = f"max_concurrent = {{ route = {AT_ONCE} }}", AT_ONCE
        else:
            origin = site.nginx(1, 'return 200 "ok";')
            limits, enough = "", 64
        route = f'[[route]]\nname = "app"\nupstream = "app"\n{limits}'
        site.gateway(binary, origin, route, core=0, memory_mib=512)
        peak = sum(status == 200 for status, _ in as_fast_as_answered(site, enough, seconds)) / seconds
        health = Poller(site.ops, "/livez")
        health.start()
        if kind == "upstream":
            # In a process of its own, so that it does not wait for the thread that asks for health.
            offer = [*pinned(1), sys.executable, __file__, "--offer", f"{site.port} {crowd} {seconds} {2 * peak}"]
            rows, without = json.loads(subprocess.run(offer, capture_output=True, text=True, check=True).stdout)
            offered = f"offered {2 * peak:.0f}/s over {crowd} connections ({without} found none free)"
        else:
            rows = as_fast_as_answered(site, crowd, seconds, ended=health.stop)
            offered = f"{crowd} connections ask as fast as they are answered"
        if kind == "upstream":
            health.stop()
        if kind == "cpu":
            reference = site.nginx(0, "proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection '';",
                                      http=f"upstream origin {{ server 127.0.0.1:{origin}; keepalive 1024; }}")
            kept = [sum(status == 200 for status, _ in as_fast_as_answered(site, many, seconds, reference)) for many in (enough, crowd)]
        served = [took for status, took in rows if status == 200]
        refused = [took for status, took in rows if status in (429, 503)]
        others = len(rows) - len(served) - len(refused)
        dropped = site.metric('portcullis_events_dropped_total{sink="events",cause="queue_full"}')
        print(f"{kind}: peak {peak:.0f}/s; {offered}, answered {len(rows) / seconds:.0f}/s")
        print(f"  goodput            {len(served) / seconds:8.0f}/s = {len(served) / seconds / peak:.0%} of the peak (bar 80 %)")
        if kind == "cpu":
            print(f"  an nginx there     {kept[1] / seconds:8.0f}/s = {kept[1] / kept[0]:.0%} of its peak of {kept[0] / seconds:.0f}/s")
        print(f"  refused            {len(refused) / seconds:8.0f}/s, p50 {percentile(refused, 0.5) * 1e3:.1f} ms, p99 {percentile(refused, 0.99) * 1e3:.1f} ms (bar 50 ms)")
        print(f"  served in          p50 {percentile(served, 0.5) * 1e3:.1f} ms, p99 {percentile(served, 0.99) * 1e3:.1f} ms; other answers: {others}")
        print(f"  health             {len(health.took)} asked, {len(health.failed)} failed, slowest {max(health.took) * 1e3:.1f} ms (bar 100 ms)")
        print(f"  memory             peak {site.peak_rss_mib():.0f} MiB, under {site.memory_limit}; alive: {site.process.poll() is None}; events dropped: {dropped:.0f}")


parser = argparse.ArgumentParser()
parser.add_argument("binary", nargs="?")
parser.add_argument("--seconds", type=int, default=10)
parser.add_argument("--only", choices=["upstream", "cpu"])
parser.add_argument("--origin", type=int, help=argparse.SUPPRESS)
parser.add_argument("--offer", help=argparse.SUPPRESS)
args = parser.parse_args()
if args.offer:
    port, connections, seconds, rate = args.offer.split()
    print(json.dumps(asyncio.run(at_rate(int(port), int(connections), int(seconds), float(rate)))))
    sys.exit()
if args.origin:
    asyncio.run(slow_origin(args.origin))
for kind in [args.only] if args.only else ["upstream", "cpu"]:
    for crowd in (0,) if kind == "upstream" else (128, 512, 3_000):
        measure(args.binary, kind, args.seconds, crowd)
