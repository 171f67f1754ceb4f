"""R8: upstreams that are down, hang, reset, break off or stall. Each is answered within its timeout, and nobody else notices.

    python3 benches/reliability/faults.py [target/debug/portcullis]
"""

import asyncio
import socket
import struct
import time

import rig

# What an upstream does, the status that the caller gets, and within how many seconds: the timeouts below, and some slack.
FAULTS = {
    "down": (502, 0.5),
    "hang": (504, 1.0),
    "reset": (502, 1.0),
    "half": (502, 1.0),
    "garbage": (502, 1.0),
    # Its head has been passed on by then: the answer is cut.
    "stall": ("cut", 1.0),
}
SLACK = 1.0


async def faulty(reader, writer, kind):
    try:
        await reader.readuntil(b"\r\n\r\n")
        if kind == "hang":
            await reader.read()
        elif kind == "reset":
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        elif kind == "half":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-le")
        elif kind == "garbage":
            writer.write(b"220 ready\r\n")
        elif kind == "stall":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
            await writer.drain()
            await reader.read()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main():
    options = rig.arguments(
        __doc__.splitlines()[0],
        seconds=(5.0, "how long each of the two phases lasts"),
        callers=(8, "callers of the healthy upstream"),
        faulty=(2, "callers of each of the faulty ones"),
    )
    config = '[limits]\nshed_after = "0s"\n' + rig.ROUTE
    servers = []
    for kind in FAULTS:
        if kind == "down":
            probe = socket.socket()
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        else:
            server = await asyncio.start_server(lambda r, w, kind=kind: faulty(r, w, kind), "127.0.0.1", 0)
            servers.append(server)
            port = server.sockets[0].getsockname()[1]
        config += f"""
[[upstream]]
name = "{kind}"
endpoints = ["http://127.0.0.1:{port}"]
timeouts = {{ connect = "500ms", first_byte = "1s", idle = "1s" }}
[[route]]
name = "{kind}"
paths = ["/{kind}/**"]
upstream = "{kind}"
"""
    policy = rig.everybody(["GET /**"])
    for kind in FAULTS:
        policy += f'[[resource]]\nroute = "{kind}"\nauthentication = "none"\npublic = true\n'
    gateway = rig.Gateway(options.program, rig.config(await rig.Upstream().start(), more=config), policy)
    await gateway.start()
    phase, stop = ["alone"], [False]
    healthy, wrong, seen = {"alone": [], "beside": []}, [], {kind: [] for kind in FAULTS}

    async def call_healthy():
        caller = rig.Caller(gateway.address)
        while not stop[0]:
            began, at = time.monotonic(), phase[0]
            answer = await caller.ask("/x")
            if answer.status != 200:
                wrong.append(answer.status)
            healthy[at].append(time.monotonic() - began)

    async def call_faulty(kind):
        while not stop[0]:
            caller, began = rig.Caller(gateway.address), time.monotonic()
            try:
                status = (await caller.ask(f"/{kind}/x")).status
            except (asyncio.IncompleteReadError, ConnectionError):
                status = "cut"
            caller.close()
            seen[kind].append((status, time.monotonic() - began))
            await asyncio.sleep(0.05)

    calling = [asyncio.create_task(call_healthy()) for _ in range(options.callers)]
    await asyncio.sleep(options.seconds)
    phase[0] = "beside"
    calling += [asyncio.create_task(call_faulty(kind)) for kind in FAULTS for _ in range(options.faulty)]
    await asyncio.sleep(options.seconds)
    stop[0] = True
    await asyncio.gather(*calling)
    status, _ = await gateway.stop()
    events = [event for event in gateway.events() if event["kind"] == "access.denied"]
    gateway.remove()
    alone, beside = (rig.quantile(healthy[at], 0.99) for at in ("alone", "beside"))
    rows = [
        ("healthy requests alone, beside the others", f"{len(healthy['alone'])}, {len(healthy['beside'])}", None),
        ("of them not 200", f"{len(wrong)} {wrong[:3]}", not wrong),
        ("healthy p99 alone, beside the others", f"{alone:.1f} ms, {beside:.1f} ms ({beside / alone:.2f} times)", None),
    ]
    for kind, (expected, within) in FAULTS.items():
        # A circuit breaker may have opened after the first ones.
        good = all(got == expected or got == 503 for got, _ in seen[kind]) and seen[kind][0][0] == expected
        slowest = max(took for _, took in seen[kind])
        statuses = sorted({str(got) for got, _ in seen[kind]})
        figure = f"{len(seen[kind])} times {', '.join(statuses)}, slowest {slowest * 1000:.0f} ms"
        rows.append((kind, figure, good and slowest < within + SLACK))
    refused = sum(got != "cut" for kind in FAULTS for got, _ in seen[kind])
    rows.append(("events, refusals", f"{len(events)}, {refused}", len(events) == refused))
    rows.append(("exit status", status, status == 0))
    rig.report("R8 faults of upstreams", rows)


asyncio.run(main())
