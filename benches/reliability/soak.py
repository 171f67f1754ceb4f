"""R10: a long run at half capacity, with a reload and a key rotation each minute, bans, WebSockets and event streams.

    python3 benches/reliability/soak.py [target/debug/portcullis] --minutes 20

It prints what the gateway failed at (5xx), how memory and file descriptors developed, and whether there is exactly one event for each
refusal.
"""

import asyncio
import base64
import hashlib
import secrets
import time
import zlib

import rig

ATTACKERS = [f"127.0.0.{number}" for number in range(60, 64)]
POLICY = """
[[role]]
name = "reader"
permissions = [{{ actions = ["GET /**"], not_actions = ["GET /forbidden/**"] }}]
[[assignment]]
name = "known-read"
role = "reader"
principals = ["authenticated"]
scope = "*"
[ban]
first = "10s"
credentials = {{ level = 5, half = "1m" }}
# {}
"""


def key(identifier):
    """A new API key: what the caller sends, and its entry."""
    secret = secrets.token_bytes(32)
    body = f"pcl_{identifier}_" + base64.b32encode(secret).decode().rstrip("=").lower()
    entry = f'\n[[key]]\nid = "{identifier}"\nsha256 = "{hashlib.sha256(secret).hexdigest()}"\n'
    return f"{body}_{zlib.crc32(body.encode()):08x}", entry + 'principal = "user:soak"\n'


def slope(samples):
    """Of the least squares line through (seconds, value), per hour."""
    count = len(samples)
    mean_x, mean_y = (sum(sample[axis] for sample in samples) / count for axis in (0, 1))
    spread = sum((x - mean_x) ** 2 for x, _ in samples)
    return sum((x - mean_x) * (y - mean_y) for x, y in samples) / spread * 3600 if spread else 0.0


async def main():
    options = rig.arguments(
        __doc__.splitlines()[0],
        minutes=(20.0, "how long"),
        connections=(16, "how many callers"),
        streams=(8, "how many WebSockets, and how many event streams"),
        pause=(60.0, "seconds between reloads"),
    )
    current = key("k0")
    # A machine that is shared with others may be overloaded at half of what it could do a minute ago.
    config = '[limits]\nshed_after = "0s"\n[[identity.api_key]]\nname = "keys"\nheader = "x-api-key"\nfile = "keys.toml"\n' + rig.ROUTE
    gateway = rig.Gateway(
        options.program, rig.config(await rig.Upstream().start(), more=config), POLICY.format(0), current[1]
    )
    await gateway.start()
    state = {"key": current[0], "stop": False, "wait": 0.0}
    counts = {"served": 0, "refused": 0, "5xx": [], "broken": [], "reopened": 0}

    def headers():
        return {"x-api-key": state["key"]}

    def count(answer_status):
        if answer_status >= 500:
            counts["5xx"].append(answer_status)
        if answer_status >= 400:
            counts["refused"] += 1
        counts["served"] += 1

    async def call(number):
        caller = rig.Caller(gateway.address)
        while not state["stop"]:
            target = "/forbidden/x" if number == 0 and counts["served"] % 50 == 0 else "/x"
            try:
                count((await caller.ask(target, headers())).status)
            except Exception as error:
                counts["broken"].append(repr(error))
                caller.close()
            await asyncio.sleep(state["wait"])
        caller.close()

    async def attack(source):
        while not state["stop"]:
            caller = rig.Caller(gateway.address, source)
            try:
                count((await caller.ask("/x", {"x-api-key": "pcl_k0_guess"})).status)
            except Exception as error:
                counts["broken"].append(repr(error))
            caller.close()
            await asyncio.sleep(0.5)

    async def stream(kind):
        # A key that is withdrawn ends its streams: then another one is opened with the new key.
        while not state["stop"]:
            caller = rig.Caller(gateway.address)
            try:
                if kind == "websocket":
                    if (status := await rig.websocket(caller, "/ws", headers())) != 101:
                        count(status)
                    else:
                        while not state["stop"]:
                            caller.writer.write(b"\x82\x01x")
                            await asyncio.wait_for(caller.reader.readexactly(3), 5)
                            await asyncio.sleep(0.5)
                else:
                    await caller.send("/events", headers())
                    status, fields = await caller.head()
                    if status != 200:
                        count(status)
                        await caller.reader.readexactly(int(fields.get("content-length", 0)))
                    while status == 200 and not state["stop"]:
                        if not await asyncio.wait_for(caller.reader.read(4096), 5):
                            break
            except (asyncio.IncompleteReadError, ConnectionError):
                pass
            counts["reopened"] += not state["stop"]
            caller.close()
            await asyncio.sleep(0.1)

    calling = [asyncio.create_task(call(number)) for number in range(options.connections)]
    await asyncio.sleep(3)
    # Half of what it can do: as long a pause as a request takes.
    rate = counts["served"] / 3
    state["wait"] = options.connections / rate
    calling += [asyncio.create_task(attack(source)) for source in ATTACKERS]
    calling += [asyncio.create_task(stream(kind)) for kind in ("websocket", "events") for _ in range(options.streams)]
    began, reloads, samples, descriptors = time.monotonic(), 0, [], []
    end = began + options.minutes * 60
    turn = began + options.pause
    while (now := time.monotonic()) < end:
        await asyncio.sleep(min(1.0, max(0.05, end - now)))
        samples.append((now - began, gateway.rss_kib()))
        descriptors.append(gateway.descriptors())
        if now >= turn:
            turn += options.pause
            reloads += 1
            before, current = current, key(f"k{reloads}")
            gateway.write("policy.toml", POLICY.format(reloads))
            # Both keys at first, then the new one alone.
            gateway.write("keys.toml", before[1] + current[1])
            await gateway.reload()
            state["key"] = current[0]
            await asyncio.sleep(1.0)
            gateway.write("keys.toml", current[1])
            await gateway.reload()
    state["stop"] = True
    await asyncio.gather(*calling)
    # What they still had open counts as open until the gateway has seen it close.
    await asyncio.sleep(1)
    last = await gateway.metric("portcullis_tunnels")
    dropped = await gateway.metric("portcullis_events_dropped_total")
    status, _ = await gateway.stop()
    events = gateway.events()
    gateway.remove()
    denied = [event for event in events if event["kind"] == "access.denied"]
    ended = [event for event in denied if event["reason"] == "session.terminated"]
    bans = sum(event["kind"] == "ban.created" for event in events)
    warm = [sample for sample in samples if sample[0] > samples[-1][0] * 0.25]
    growth = slope(warm) / 1024
    long_enough = options.minutes >= 10
    refusals = len(denied) - len(ended)
    rig.report(
        f"R10 soak: {options.minutes:g} minutes at half of {rate:.0f} requests/s",
        [
            ("requests, 5xx of the gateway", f"{counts['served']}, {len(counts['5xx'])}", not counts["5xx"]),
            ("broken connections", f"{len(counts['broken'])} {counts['broken'][:3]}", not counts["broken"]),
            ("reloads, of them rotations", f"{reloads * 2}, {reloads}", None),
            ("bans", bans, bans > 0),
            ("streams ended by a rotation, opened again", f"{len(ended)}, {counts['reopened']}", None),
            ("tunnels at the end", last, last == 0),
            ("refusals as callers saw them, as events", f"{counts['refused']}, {refusals}", counts["refused"] == refusals),
            ("events dropped", dropped, dropped == 0),
            ("memory: first, last", f"{samples[0][1]}, {samples[-1][1]} KiB", None),
            ("memory: slope after a quarter of the time", f"{growth:.2f} MiB/h", growth < 1 if long_enough else None),
            ("descriptors: least, most, last", f"{min(descriptors)}, {max(descriptors)}, {descriptors[-1]}", None),
            ("exit status", status, status == 0),
        ],
    )


asyncio.run(main())
