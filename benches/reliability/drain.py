"""R3: stops under load. SIGTERM loses no request that was begun before, and a restart refuses no connection.

    python3 benches/reliability/drain.py [target/debug/portcullis]

Three rounds: a stop; a second process that takes over on the same address; and a socket that somebody else keeps open
(LISTEN_FDS), as a service manager does, while one process ends and the next starts.
"""

import asyncio
import os
import socket
import time

import rig


async def stop(options, upstream):
    gateway = rig.Gateway(options.program, rig.config(upstream, more=rig.ROUTE), rig.everybody(["GET /**"]))
    await gateway.start()
    told, lost, closed, answered, last = [None], [], [0], [0], [0]

    async def call(number):
        caller = rig.Caller(gateway.address)
        await caller.open()
        while True:
            began = time.monotonic()
            try:
                answer = await caller.ask("/slow" if number % 2 else "/x")
                assert answer.status == 200, answer.status
                answered[0] += 1
            except Exception as error:
                # Who asks on a connection that is just being closed for being idle has begun too late.
                if told[0] is None or began < told[0]:
                    lost.append(repr(error))
                else:
                    closed[0] += 1
                return
            if caller.writer is None:
                last[0] += 1
                return

    callers = [asyncio.create_task(call(number)) for number in range(options.connections)]
    await asyncio.sleep(3)
    told[0] = time.monotonic()
    status, took = await gateway.stop()
    await asyncio.gather(*callers)
    gateway.remove()
    return [
        (f"stop: requests answered, over {options.connections} connections", answered[0], answered[0] > 100),
        ("stop: begun before SIGTERM and lost", f"{len(lost)} {lost[:3]}", not lost),
        ("stop: connections told `Connection: close`, closed idle", f"{last[0]}, {closed[0]}", None),
        ("stop: exit status, after", f"{status}, {took:.2f} s", status == 0 and took < 31),
    ]


async def callers_until(address, done, failures, counts):
    async def call():
        while not done.is_set():
            caller = rig.Caller(address)
            try:
                answer = await caller.ask("/x", {"connection": "close"})
                assert answer.status == 200, answer.status
            except Exception as error:
                failures.append(repr(error))
            caller.close()
            counts[0] += 1

    await asyncio.gather(*(call() for _ in range(8)))


async def restarts(options, upstream, what):
    """Restarts under load of connections with one request each: `overlap`, or `passed` with a kept socket."""
    kept = socket.socket()
    if what == "overlap":
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    kept.bind(("127.0.0.1", 0))
    address = kept.getsockname()
    if what == "passed":
        kept.listen(1024)

    async def begin():
        listen = f"{address[0]}:{address[1]}"
        gateway = rig.Gateway(options.program, rig.config(upstream, listen, rig.ROUTE), rig.everybody(["GET /**"]))
        if what == "passed":
            script = 'if [ "$1" != 3 ]; then eval "exec 3<&$1"; fi; shift; export LISTEN_PID=$$; exec "$@"'
            program = gateway.program
            gateway.program = "/bin/sh"
            config = str(gateway.folder / "portcullis.toml")
            command = ["/bin/sh", "-c", script, "sh", str(kept.fileno()), program, "-c", config, "run"]
            environment = {**os.environ, "LISTEN_FDS": "1", "LISTEN_FDNAMES": "main"}
            gateway.process = await asyncio.create_subprocess_exec(
                *command, stderr=asyncio.subprocess.PIPE, pass_fds=[kept.fileno()], env=environment
            )
            gateway.reading = asyncio.create_task(gateway.read_log())
            gateway.address = await gateway.place(" listening listener=")
        else:
            await gateway.start()
        return gateway

    old = await begin()
    done, failures, counts = asyncio.Event(), [], [0]
    calling = asyncio.create_task(callers_until(address, done, failures, counts))
    for _ in range(options.restarts):
        await asyncio.sleep(0.5)
        if what == "overlap":
            new = await begin()
            await asyncio.sleep(0.5)
            await old.stop()
        else:
            await old.stop()
            new = await begin()
        old.remove()
        old = new
    await asyncio.sleep(0.5)
    done.set()
    await calling
    await old.stop()
    old.remove()
    kept.close()
    return [
        (f"{what}: connections over {options.restarts} restarts", counts[0], counts[0] > 100),
        (f"{what}: failed", f"{len(failures)} {failures[:3]}", not failures),
    ]


async def main():
    options = rig.arguments(
        __doc__.splitlines()[0],
        connections=(64, "how many callers of the stop"),
        restarts=(5, "how many restarts of each kind"),
    )
    upstream = await rig.Upstream().start()
    rows = await stop(options, upstream)
    rows += await restarts(options, upstream, "overlap")
    rows += await restarts(options, upstream, "passed")
    rig.report("R3 drain", rows)


asyncio.run(main())
