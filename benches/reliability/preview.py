"""G3: a preview beside requests. The sample is filled with 50,000 requests under a policy as an organisation has it, a steady load goes on, and
changes of that policy are tried again and again. What each preview takes, and what the requests take before, meanwhile and afterwards.

    python3 benches/reliability/preview.py [target/debug/portcullis]

The load is paced, and what a request takes counts from when it was due: one that waits for the one before it has waited. What counts as meanwhile
is a request that was under way while a preview was. Callers and upstream run ahead of all other processes where the system lets them, as if on
machines of their own: what is measured is the gateway, and not how the callers wait for a processor. The figures of a debug build say nothing of
the bars.
"""

import asyncio
import base64
import hashlib
import json
import os
import random
import secrets
import time
import zlib

import rig

USERS, TEAMS, ROUTES, OFFICES = 400, 40, 12, 60
NO_SHEDDING = '[limits]\nshed_after = "0s"\n'


def policy(changed=False):
    """Teams with roles on their routes, from offices and from home; what changes: an office's network, a role's action, a team's grant."""
    lines = ['[ban]\nmode = "off"\n[risk]\nmode = "enforce"']
    for office in range(OFFICES):
        others = ", ".join(f'"10.{office}.{floor}.0/24"' for floor in range(20))
        # The callers come from the first four.
        own = f'"127.0.{office + 1}.0/{28 if changed and office == 0 else 24}", ' if office < 4 else ""
        lines.append(f'[[network]]\nname = "office-{office}"\naddresses = [{own}{others}]')
    lines.append('[[network]]\nname = "home"\naddresses = ["127.1.0.0/16"]')
    names = ", ".join(f'"office-{office}"' for office in range(OFFICES))
    for route in range(ROUTES):
        lines.append(f'[[resource]]\nroute = "s{route}"\nauthentication = "required"\nnetworks = {{ allow = [{names}, "home"] }}')
        actions = [f"GET /s{route}/**", f"POST /s{route}/orders"] + ([] if changed and route == 3 else [f"POST /s{route}/reports/{{id}}"])
        lines.append(f'[[role]]\nname = "writer-{route}"\ninherits = ["reader-{route}"]\npermissions = [{{ actions = {json.dumps(actions[1:])} }}]')
        lines.append(f'[[role]]\nname = "reader-{route}"\npermissions = [{{ actions = {json.dumps(actions[:1])} }}]')
    for team in range(TEAMS):
        members = ", ".join(f'"user:u{user}"' for user in range(team, USERS, TEAMS))
        lines.append(f'[[group]]\nname = "team-{team}"\nmembers = [{members}]')
        for number in range(4):
            route, when = (team + number * 5) % ROUTES, ""
            if number == 3 and changed and team == 7:
                continue
            if number % 2:
                when = f'\nwhen = {{ networks = ["office-{team % 4}", "home"] }}'
            role = "writer" if number < 2 else "reader"
            lines.append(
                f'[[assignment]]\nname = "team-{team}-{number}"\nrole = "{role}-{route}"\nprincipals = ["group:team-{team}"]\n'
                f'scope = "s{route}"{when}'
            )
    lines.append('[[deny]]\nname = "no-deletes"\nprincipals = ["anyone"]\nactions = ["DELETE /**"]\nscope = "*"')
    return "\n".join(lines) + "\n"


def key(user):
    """An API key as `portcullis key create` makes one, and its entry."""
    secret = secrets.token_bytes(32)
    body = f"pcl_k{user}_" + base64.b32encode(secret).decode().rstrip("=").lower()
    entry = f'[[key]]\nid = "k{user}"\nsha256 = "{hashlib.sha256(secret).hexdigest()}"\nprincipal = "user:u{user}"\n'
    return f"{body}_{zlib.crc32(body.encode()):08x}", entry


def read(asked):
    """What a preview says."""
    head, body = asked[2].split(b"\r\n\r\n", 1)
    if not head.startswith(b"HTTP/1.1 200"):
        raise SystemExit(asked[2].decode())
    return json.loads(body)


class Load:
    """Callers: each a connection from an address of its own, with requests of everybody's."""

    def __init__(self, gateway, keys):
        self.gateway, self.keys, self.random = gateway, keys, random.Random(8)
        self.times, self.phase, self.stop = {}, "fill", False
        self.failed = []

    def source(self, number):
        return f"127.0.{1 + number % 4}.{1 + number % 250}" if number % 3 else f"127.1.0.{1 + number % 250}"

    async def one(self, caller, began=None):
        user, route = self.random.randrange(USERS), self.random.randrange(ROUTES)
        method, path = self.random.choice((("GET", f"/s{route}/items/{user}"), ("POST", f"/s{route}/orders"), ("POST", f"/s{route}/reports/{user}")))
        began = began or time.monotonic()
        try:
            answer = await caller.ask(path, {"x-api-key": self.keys[user], "user-agent": "bench/1.0", "content-length": "0"}, method)
        except Exception as error:
            self.failed.append(repr(error))
            return caller.close()
        ended = time.monotonic()
        if answer.status not in (200, 403, 404):
            self.failed.append(str(answer.status))
        self.times.setdefault(self.phase, []).append((began, ended))

    async def fill(self, number):
        caller = rig.Caller(self.gateway.address, self.source(number))
        while self.phase == "fill":
            await self.one(caller)
        caller.close()

    async def steady(self, number, connections, rate):
        caller = rig.Caller(self.gateway.address, self.source(number))
        await caller.open()
        step = connections / rate
        due = time.monotonic() + step * self.random.random()
        while not self.stop:
            await asyncio.sleep(max(0, due - time.monotonic()))
            await self.one(caller, due)
            due += step
        caller.close()


async def ask(socket, path, body):
    """What the control channel says to a POST, unread, and how long that took."""
    began = time.monotonic()
    reader, writer = await asyncio.open_unix_connection(str(socket), limit=1 << 26)
    head = f"POST {path} HTTP/1.1\r\nhost: portcullis\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    writer.write(head.encode() + body)
    answer = await reader.read(-1)
    writer.close()
    return began, time.monotonic(), answer


def ms(times, share):
    return rig.quantile([ended - began for began, ended in times], share)


def spread(times):
    return f"{ms(times, 0.5):.2f}, {ms(times, 0.99):.2f} ms ({len(times)} requests)"


async def main():
    options = rig.arguments(
        __doc__.splitlines()[0],
        requests=(50_000, "how many requests the sample has at least"),
        previews=(60, "how many"),
        pause=(0.3, "seconds between two"),
        connections=(32, "how many callers"),
        rate=(400.0, "how many requests a second they make together"),
        seconds=(10.0, "how long before, and how long afterwards"),
        most=(2.0, "the most seconds of a preview"),
        slower=(1.2, "the most times that requests may take longer meanwhile, at the median and at p99"),
    )
    keys, file = zip(*(key(user) for user in range(USERS)))
    routes = "".join(f'[[route]]\nname = "s{route}"\npaths = ["/s{route}/**"]\nupstream = "app"\n' for route in range(ROUTES))
    kept = f"[sample]\nrecent = {options.requests}\nmost = {options.requests * 6 // 5}\n"
    identity = '[[identity.api_key]]\nname = "keys"\nheader = "x-api-key"\nfile = "keys.toml"\n'
    upstream = rig.Upstream()
    config = rig.config(await upstream.start(), more=routes + kept + identity + NO_SHEDDING)
    gateway = rig.Gateway(options.program, config, policy(), keys="".join(file))
    await gateway.start()
    ahead = rig.ahead_of_all()
    socket, load = gateway.folder / "portcullis.sock", Load(gateway, keys)
    candidate = json.dumps({"name": "policy.toml", "text": "version = 1\n" + policy(changed=True)}).encode()

    async def preview():
        return await ask(socket, "/v1/policy/preview", candidate)

    # As fast as the callers can; the gateway takes 512 requests of each worker into the sample five times a second.
    filling = [asyncio.create_task(load.fill(number)) for number in range(options.connections)]
    began = time.monotonic()
    while True:
        await asyncio.sleep(5)
        report = read(await preview())["report"]
        taken = report["coverage"]["taken"]
        print(f"{taken} of {options.requests} requests are taken after {time.monotonic() - began:.0f} s", flush=True)
        if taken >= options.requests:
            break
    load.phase = "settling"
    await asyncio.gather(*filling)
    callers = [asyncio.create_task(load.steady(number, options.connections, options.rate)) for number in range(options.connections)]
    await asyncio.sleep(2)
    load.phase = "before"
    await asyncio.sleep(options.seconds)
    load.phase = "during"
    previews = []
    for _ in range(options.previews):
        previews.append(await preview())
        await asyncio.sleep(options.pause)
    load.phase = "after"
    await asyncio.sleep(options.seconds)
    load.stop = True
    await asyncio.gather(*callers)
    cpu = open(f"/proc/{gateway.process.pid}/stat").read().rsplit(") ", 1)[1].split()
    status, _ = await gateway.stop()
    gateway.remove()

    reports = [read(each) for each in previews]
    took = [ended - began for began, ended, _ in previews]
    last = reports[-1]["report"]
    decided = [sum(report["report"][part]["requests"] for part in ("recent", "older")) for report in reports]
    kept = [report["report"]["recent"]["requests"] for report in reports]
    before, after = load.times["before"], load.times["after"]
    meets = lambda times, each: times[0] < each[1] and times[1] > each[0]
    meanwhile = [times for times in load.times["during"] if any(meets(times, each) for each in previews)]
    between = [times for times in load.times["during"] if not any(meets(times, each) for each in previews)]
    still = before + after
    ratio = lambda share: ms(meanwhile, share) / ms(still, share)
    print("\n".join(reports[-1]["text"]))
    rig.report(
        f"G3 preview: {options.previews} previews over {max(kept)} requests, with {options.rate:.0f} requests a second beside them",
        [
            ("requests decided on again, the fewest", min(kept), min(kept) >= options.requests * 99 // 100),
            ("the same with the earlier kinds, by their weight", min(decided), None),
            ("would be newly denied, permitted", f"{last['recent']['newly_denied']['requests']}, {last['recent']['newly_permitted']['requests']}", last["recent"]["newly_denied"]["requests"] > 0),
            ("kinds of request that change, never seen", f"{last['coverage']['changed']}, {last['coverage']['never_seen']}", last["coverage"]["changed"] > 0),
            ("what the comparison left out", last["coverage"]["incomplete"], not last["coverage"]["incomplete"]),
            ("a preview, median and worst", f"{rig.quantile(took, 0.5) / 1000:.3f}, {max(took):.3f} s", max(took) <= options.most),
            ("p50, p99 before", spread(before), None),
            ("p50, p99 while a preview is made", spread(meanwhile), len(meanwhile) >= 100),
            ("p50, p99 between two", spread(between), None),
            ("p50, p99 afterwards", spread(after), None),
            ("meanwhile / before and after: p50, p99", f"{ratio(0.5):.2f}, {ratio(0.99):.2f}", max(ratio(0.5), ratio(0.99)) <= options.slower),
            ("callers and upstream run ahead of all others", "yes" if ahead else "no: the system does not let them", None),
            ("CPU of the gateway altogether", f"{(int(cpu[11]) + int(cpu[12])) / os.sysconf('SC_CLK_TCK'):.1f} s", None),
            ("failed requests", f"{len(load.failed)} {load.failed[:3]}", not load.failed),
            ("exit status", status, status == 0),
        ],
    )


asyncio.run(main())
