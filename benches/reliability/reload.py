"""R1: reloads under load. 100 reloads in 10 s under 64 connections; no request fails, and none is judged by an old policy once the
gateway has said that the new one is in force.

    python3 benches/reliability/reload.py [target/debug/portcullis]
"""

import asyncio
import time

import rig


# This is about reloads: on a machine that is too small for its callers, load shedding would answer some with 503.
NO_SHEDDING = "[limits]\nshed_after = \"0s\"\n"


async def main():
    options = rig.arguments(
        __doc__.splitlines()[0],
        reloads=(100, "how many"),
        seconds=(10.0, "within how long"),
        connections=(64, "how many callers"),
        warm=(10.0, "how long they call before the first reload"),
        first=(20, "how many reloads there are before memory is first looked at"),
        settle=(60.0, "how long to wait before memory is looked at again"),
    )
    upstream = rig.Upstream()
    halves = [rig.everybody([f"GET /{half}/**"]) for half in ("left", "right")]
    gateway = rig.Gateway(options.program, rig.config(await upstream.start(), more=rig.ROUTE + NO_SHEDDING), halves[0])
    await gateway.start()
    # What is in force: the number of the policy, and None while a reload is under way.
    state = {"policy": 0, "stop": False}
    times = {"steady": [], "reloading": []}
    phase, failed, stale, served = ["steady"], [], [], [0]

    async def call(number):
        caller = rig.Caller(gateway.address)
        while not state["stop"]:
            half = (number + served[0]) % 2
            known, began = state["policy"], time.monotonic()
            try:
                answer = await caller.ask("/" + ("left", "right")[half] + "/x")
            except Exception as error:
                failed.append(repr(error))
                caller.close()
                continue
            times[phase[0]].append(time.monotonic() - began)
            served[0] += 1
            if answer.status not in (200, 403):
                failed.append(str(answer.status))
            # Begun and ended under one policy that was known to be in force.
            elif known is not None and known == state["policy"] and (answer.status == 200) != (half == known % 2):
                stale.append((known, half, answer.status))
        caller.close()

    callers = [asyncio.create_task(call(number)) for number in range(options.connections)]
    # Long enough that what requests take by themselves (connections, tables, each thread's heap) is there before.
    await asyncio.sleep(options.warm)
    untouched = gateway.rss_kib()

    async def reload(number, pause):
        began = time.monotonic()
        gateway.write("policy.toml", halves[number % 2])
        state["policy"] = None
        took.append(await gateway.reload())
        state["policy"] = number
        await asyncio.sleep(max(0, began + pause - time.monotonic()))

    # What a reload takes by itself (its code, what the workers' heaps keep of it) is there before, too: the bar is about what a hundred
    # more of them leave behind.
    took = []
    for number in range(1, options.first + 1):
        await reload(number, options.seconds / options.reloads)
    before = gateway.rss_kib()
    phase[0] = "reloading"
    began, took = time.monotonic(), []
    for number in range(options.first + 1, options.first + options.reloads + 1):
        await reload(number, options.seconds / options.reloads)
    lasted = time.monotonic() - began
    await asyncio.sleep(0.5)
    state["stop"] = True
    await asyncio.gather(*callers)
    peak = gateway.rss_kib()
    await asyncio.sleep(options.settle)
    after = gateway.rss_kib()
    status, _ = await gateway.stop()
    events = gateway.events()
    reloaded = sum(event["kind"] == "policy.reloaded" for event in events)
    gateway.remove()
    steady, busy = rig.quantile(times["steady"], 0.99), rig.quantile(times["reloading"], 0.99)
    rig.report(
        f"R1 reload: {options.reloads} reloads in {lasted:.1f} s under {options.connections} connections",
        [
            ("requests", served[0], served[0] > 1000),
            ("failed requests", f"{len(failed)} {failed[:3]}", not failed),
            ("judged by an old policy after the reload was reported", f"{len(stale)} {stale[:3]}", not stale),
            ("reloads recorded as events", reloaded, reloaded == options.first + options.reloads),
            ("from SIGHUP to the report, median and worst", f"{rig.quantile(took, 0.5):.1f} ms, {max(took) * 1000:.1f} ms", None),
            ("p99 steady, while reloading", f"{steady:.1f} ms, {busy:.1f} ms ({busy / steady:.2f} times)", None),
            (f"memory before any reload, after {options.first}", f"{untouched}, {before} KiB", None),
            ("memory at the end, settled", f"{peak}, {after} KiB", after <= before * 1.1),
            ("exit status", status, status == 0),
        ],
    )


asyncio.run(main())
