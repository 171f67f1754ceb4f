"""What the reliability scripts share: an upstream, a gateway in a folder of its own, and callers that count.

Everything runs on loopback with ports from the kernel, in one Python process beside the gateway, with the standard library alone.
"""

import asyncio
import base64
import hashlib
import json
import os
import pathlib
import re
import secrets
import shutil
import signal
import tempfile
import time
import urllib.request

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


def arguments(description, **more):
    """The common options: the gateway's program, and what `more` adds as name=(default, help)."""
    import argparse

    parser = argparse.ArgumentParser(description=description)
    default = REPOSITORY / "target" / "debug" / "portcullis"
    parser.add_argument("program", nargs="?", default=str(default), help="the gateway (default: the debug build)")
    for name, (value, text) in more.items():
        parser.add_argument("--" + name.replace("_", "-"), type=type(value), default=value, help=f"{text} ({value})")
    return parser.parse_args()


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body


class Caller:
    """One keep-alive connection."""

    def __init__(self, address, source=None):
        self.address, self.source = address, source
        self.reader = self.writer = None

    async def open(self):
        local = (self.source, 0) if self.source else None
        self.reader, self.writer = await asyncio.open_connection(*self.address, local_addr=local)

    def close(self):
        if self.writer:
            self.writer.close()
        self.reader = self.writer = None

    async def head(self):
        raw = await self.reader.readuntil(b"\r\n\r\n")
        lines = raw.decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
        return int(lines[0].split(" ")[1]), headers

    async def send(self, target, headers=None, method="GET"):
        if self.writer is None:
            await self.open()
        fields = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        self.writer.write(f"{method} {target} HTTP/1.1\r\nhost: a.test\r\n{fields}\r\n".encode())

    async def ask(self, target, headers=None, method="GET"):
        await self.send(target, headers, method)
        status, fields = await self.head()
        if "content-length" in fields:
            body = await self.reader.readexactly(int(fields["content-length"]))
        elif fields.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(await self.reader.readline(), 16):
                body += (await self.reader.readexactly(size + 2))[:-2]
            await self.reader.readline()
        else:
            body = b""
        if fields.get("connection") == "close":
            self.close()
        return Answer(status, fields, body)


class Upstream:
    """Answers at once; `/slow` after 0.4 s; `/events` streams; a WebSocket handshake opens an echo."""

    def __init__(self):
        self.server = None

    async def start(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0, backlog=1024)
        return self.server.sockets[0].getsockname()

    async def serve(self, reader, writer):
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                target = head.split(" ", 2)[1]
                key = re.search(r"sec-websocket-key: (\S+)", head)
                if "\r\nupgrade: websocket" in head and key:
                    # Base64 is case-sensitive, so the key is asked for by a header of its own.
                    original = re.search(r"x-key: ([0-9a-f]+)", head).group(1)
                    accept = base64.b64encode(hashlib.sha1(bytes.fromhex(original) + GUID).digest()).decode()
                    writer.write(
                        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
                        f"sec-websocket-accept: {accept}\r\n\r\n".encode()
                    )
                    while piece := await reader.read(65536):
                        writer.write(piece)
                        await writer.drain()
                    return
                if target.startswith("/events"):
                    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
                    while True:
                        writer.write(b"c\r\ndata: tick\n\n\r\n")
                        await writer.drain()
                        await asyncio.sleep(0.5)
                if target.startswith("/slow"):
                    await asyncio.sleep(0.4)
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


async def websocket(caller, target, headers=None):
    """Opens a WebSocket; its status."""
    key = base64.b64encode(secrets.token_bytes(16)).decode()
    await caller.send(
        target,
        {
            "connection": "upgrade",
            "upgrade": "websocket",
            "sec-websocket-version": "13",
            "sec-websocket-key": key,
            "x-key": key.encode().hex(),
            **(headers or {}),
        },
    )
    status, fields = await caller.head()
    if status != 101:
        await caller.reader.readexactly(int(fields.get("content-length", 0)))
    return status


class Gateway:
    """A gateway in a folder of its own. `config` and `policy` are TOML without their version, `file` more of its file of events."""

    def __init__(self, program, config, policy, keys=None, file=""):
        self.program = os.path.abspath(program)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="portcullis-reliability-"))
        self.log, self.changed = [], asyncio.Event()
        self.process = self.address = self.ops = None
        events = '\n[[sink]]\nname = "events"\nkind = "file"\npath = "events.jsonl"\nqueue = 1000000\n' + file
        self.write("portcullis.toml", config + events)
        self.write("policy.toml", policy)
        if keys is not None:
            self.write("keys.toml", keys)

    def write(self, name, text):
        path = self.folder / name
        path.with_suffix(".new").write_text("version = 1\n" + text)
        path.with_suffix(".new").rename(path)

    async def start(self, **more):
        command = [self.program, "-c", str(self.folder / "portcullis.toml"), "run"]
        self.process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE, **more)
        self.reading = asyncio.create_task(self.read_log())
        self.address = await self.place(" listening listener=")
        self.ops = await self.place(" ops listening ")

    async def place(self, words):
        line = await self.logged(words)
        host, port = line.split("address=")[1].strip().rsplit(":", 1)
        return host, int(port)

    async def read_log(self):
        async for line in self.process.stderr:
            self.log.append(line.decode())
            self.changed.set()
        self.log.append("the process has ended")
        self.changed.set()

    async def logged(self, words, after=0, within=20):
        """The first line with these words behind the first `after` lines."""
        deadline = time.monotonic() + within
        while True:
            for line in self.log[after:]:
                if words in line:
                    return line
                if line == "the process has ended":
                    raise SystemExit("the gateway has ended:\n" + "".join(self.log))
            self.changed.clear()
            await asyncio.wait_for(self.changed.wait(), deadline - time.monotonic())

    async def reload(self):
        """SIGHUP; how long it took until the gateway said that it is done, in seconds."""
        after, began = len(self.log), time.monotonic()
        self.process.send_signal(signal.SIGHUP)
        line = await self.logged("reloaded", after)
        if "not reloaded" in line:
            raise SystemExit("".join(self.log[after:]))
        return time.monotonic() - began

    async def metric(self, name):
        """The sum over all rows of a metric."""
        url = f"http://{self.ops[0]}:{self.ops[1]}/metrics"
        text = await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=10).read().decode())
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if re.match(name + r"[{ ]", line))

    def rss_kib(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status).group(1))

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def events(self):
        path = self.folder / "events.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    async def stop(self):
        """SIGTERM; the exit status, and how long it took."""
        began = time.monotonic()
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        status = await self.process.wait()
        await self.reading
        return status, time.monotonic() - began

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)


def config(upstream, listen="127.0.0.1:0", more=""):
    host, port = upstream
    return f"""
[[listener]]
name = "main"
address = "{listen}"
[ops]
address = "127.0.0.1:0"
[[upstream]]
name = "app"
endpoints = ["http://{host}:{port}"]
{more}
"""


ROUTE = '[[route]]\nname = "app"\nupstream = "app"\nupgrades = ["websocket"]\n'


def everybody(actions):
    """A policy that lets everybody do this, and nobody be banned."""
    return f"""
[[resource]]
route = "app"
authentication = "none"
public = true
[[role]]
name = "some"
permissions = [{{ actions = {json.dumps(actions)} }}]
[[assignment]]
name = "everybody"
role = "some"
principals = ["anyone"]
scope = "*"
[ban]
mode = "off"
"""


def ahead_of_all():
    """Lets this process run before all others, but none that it starts: as a client on another machine, it does not wait for the gateway's
    processors. Whether the system lets it."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))
        return True
    except OSError:
        return False


def quantile(times, share):
    return sorted(times)[min(len(times) - 1, int(len(times) * share))] * 1000 if times else float("nan")


def report(title, rows):
    """Prints figures with their bars, and ends with 1 if one is missed. A row: what, figure, whether it holds or None."""
    print(f"\n{title}")
    for what, figure, holds in rows:
        mark = {True: "ok  ", False: "MISS", None: "    "}[holds]
        print(f"  {mark} {what:<52} {figure}")
    raise SystemExit(1 if any(holds is False for _, _, holds in rows) else 0)
