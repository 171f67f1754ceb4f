"""Events and kill -9: which events are on disk when the gateway is killed at full load, by `[spool] fsync`.

    python3 benches/reliability/events_kill.py [target/debug/portcullis] [--seconds 3] [--connections 16] [--rounds 2]

Callers are refused as fast as they can ask, and note the id of each answer. Then SIGKILL, a new start, and the ids are looked for in
the event file. A killed process leaves what it had written to the operating system, so this shows what was in memory; a loss of power is
not tried. Bars: under `always` no answer is without its event, under `interval` none that was given more than 100 ms before the kill; every
next start says that the process before did not stop in order; and `audit verify` finds one chain.
"""

import asyncio
import json
import signal
import time

import rig


async def caller(address, answered):
    caller = rig.Caller(address)
    try:
        while True:
            await caller.send("/no")
            status, fields = await caller.head()
            answered.append((time.monotonic(), fields["x-request-id"]))
            assert status == 403, status
            await caller.reader.readexactly(int(fields["content-length"]))
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        caller.close()


def recorded(gateway):
    """The ids in the file, whose last line may have been cut short."""
    ids = set()
    for line in (gateway.folder / "events.jsonl").read_text().splitlines():
        try:
            ids.add(json.loads(line)["id"])
        except ValueError:
            pass
    return ids


async def killed(options, upstream, fsync):
    more = rig.ROUTE + f'[spool]\nfsync = "{fsync}"\n'
    gateway = rig.Gateway(options.program, rig.config(upstream, more=more), rig.everybody(["GET /x"]))
    answered, lost, windows, unclean = [], [], [], True
    for number in range(options.rounds):
        await gateway.start()
        if number > 0:
            unclean &= await gateway.metric("portcullis_events_unclean_start") == 1
        answers = []
        calling = [asyncio.create_task(caller(gateway.address, answers)) for _ in range(options.connections)]
        await asyncio.sleep(options.seconds)
        killed_at = time.monotonic()
        gateway.process.send_signal(signal.SIGKILL)
        await asyncio.gather(*calling)
        await gateway.process.wait()
        await gateway.reading
        there = recorded(gateway)
        missing = [when for when, identity in answers if identity not in there]
        answered += answers
        lost += missing
        windows += [killed_at - when for when in missing]
        gateway.log.clear()
    await gateway.start()
    unclean &= await gateway.metric("portcullis_events_unclean_start") == 1
    await gateway.stop()
    verify = await asyncio.create_subprocess_exec(
        gateway.program, "audit", "verify", str(gateway.folder / "events.jsonl"), stdout=asyncio.subprocess.PIPE
    )
    told = (await verify.communicate())[0].decode().splitlines()
    gateway.remove()
    window = max(windows, default=0) * 1000
    rate = len(answered) / options.seconds / options.rounds
    bars = {"always": not lost, "interval": window <= 100, "never": None}
    return [
        (f"{fsync}: refusals answered, a second", f"{len(answered)}, {rate:.0f}", len(answered) > 100),
        (f"{fsync}: answers without an event on disk", len(lost), not lost if fsync == "always" else None),
        (f"{fsync}: the first of them before the kill", f"{window:.1f} ms", bars[fsync]),
        (f"{fsync}: the next start says so", unclean, unclean),
        (f"{fsync}: audit verify", f"{verify.returncode}: {told[-1] if told else ''}", verify.returncode == 0),
    ]


async def main():
    options = rig.arguments(
        __doc__, seconds=(3.0, "load before each kill"), connections=(16, "callers"), rounds=(2, "kills for each policy")
    )
    upstream = await rig.Upstream().start()
    rows = []
    for fsync in ("always", "interval", "never"):
        rows += await killed(options, upstream, fsync)
    rig.report("Events after kill -9", rows)


asyncio.run(main())
