"""A day of events: how long `events search` and `events stats` take, out of the index and by reading the files.

    python3 benches/reliability/event_history.py [target/debug/portcullis] [--events 2000000] [--files 1] [--principals 5000] [--addresses 20000]

It makes event files of one day, has a gateway index them, and asks as an operator does; of three times each counts the median. Bars: with the
index, the statistics of the day and every search are answered within a second; and the index changes no answer. `--files` of more than one
are rotated and compressed ones. Disk: 2 kB for each event, and the index (170 bytes each). `--plans` shows how SQLite goes about it.
"""

import asyncio
import datetime
import gzip
import json
import pathlib
import random
import re
import sqlite3
import subprocess
import time
import uuid

import rig

REASONS = [("rbac.no_matching_grant", 403), ("authn.missing", 401), ("authn.expired", 401), ("limit.rate", 429), ("ip.not_allowed", 403),
           ("ban.active", 403), ("rbac.explicit_deny", 403), ("authn.invalid", 401)]
ROUTES = [f"route-{number}" for number in range(40)]


def template(folder, program):
    """An event as the gateway writes it, for a known caller."""
    # The documentation's own example has every part of an event.
    text = (rig.REPOSITORY / "docs" / "events.md").read_text()
    block = re.search(r"```json\n(\{\"schema\":\"portcullis\.event/1\".*?)\n```", text, re.S).group(1)
    event = json.loads(block.replace("…", ""))
    event["integrity"] = {"prev": "sha256:" + "0" * 64, "hash": "sha256:" + "0" * 64}
    return event


def parts(event):
    """The line, cut where something is put in."""
    marks = {"id": "\x01", "time": "\x02", "seq": "\x03", "status": "\x04", "reason": "\x05"}
    event = {**event, **marks, "reasons": ["\x05"]}
    event["policy"] = {**event["policy"], "route": "\x06"}
    event["request"] = {**event["request"], "id": "\x01"}
    event["client"] = {**event["client"], "ip": "\x07"}
    event["identity"] = {**event["identity"], "id": "\x08", "type": "user"}
    line = json.dumps(event, separators=(",", ":"))
    line = line.replace('"\\u0003"', "\x03").replace('"\\u0004"', "\x04")
    for number in (1, 2, 5, 6, 7, 8):
        line = line.replace(f"\\u000{number}", chr(number))
    return re.split("([\x01-\x08])", line)


def make(options, folder):
    """Files of one day that ends now, the oldest first; and what is to be found again."""
    chance, pieces = random.Random(7), parts(template(folder, options.program))
    end = datetime.datetime.now(datetime.timezone.utc)
    begin, step = end - datetime.timedelta(hours=23, minutes=59), (23 * 3600 + 59 * 60) / options.events
    users = [f"user-{number}" for number in range(options.principals)]
    addresses = [f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}" for number in range(options.addresses)]
    each, found, number = -(-options.events // options.files), {}, 0
    for file in range(options.files):
        last = file == options.files - 1
        moment = begin + datetime.timedelta(seconds=step * each * (file + 1))
        name = "events.jsonl" if last else f"events.jsonl-{moment:%Y%m%dT%H%M%S.%fZ}.gz"
        opened = open(folder / name, "wt", buffering=1 << 20) if last else gzip.open(folder / name, "wt", compresslevel=1)
        with opened as out:
            for _ in range(min(each, options.events - number)):
                number += 1
                at = begin + datetime.timedelta(seconds=step * number)
                millis = int(at.timestamp() * 1000)
                identity = str(uuid.UUID(int=millis << 80 | 7 << 76 | 2 << 62 | number))
                reason, status = REASONS[int(chance.random() ** 2 * len(REASONS))]
                values = {
                    "\x01": identity, "\x02": f"{at:%Y-%m-%dT%H:%M:%S.%fZ}", "\x03": str(number), "\x04": str(status), "\x05": reason,
                    "\x06": chance.choice(ROUTES), "\x07": chance.choice(addresses), "\x08": chance.choice(users),
                }
                out.write("".join([values.get(piece, piece) for piece in pieces]) + "\n")
                if number in (1, options.events // 2, options.events):
                    found[number] = (identity, values["\x08"], values["\x07"])
    return found


def indexed(folder):
    """How many events the index has."""
    try:
        with sqlite3.connect(f"file:{folder}/events.jsonl.index?mode=ro", uri=True, timeout=5) as db:
            return db.execute("SELECT count(*) FROM event").fetchone()[0]
    except sqlite3.Error:
        return 0


def ask(program, folder, config, *arguments):
    """How long it takes in milliseconds, the median of three; and the answer."""
    times = []
    for _ in range(3):
        began = time.monotonic()
        command = [program, "-c", str(folder / config), "-o", "json", "events", *arguments]
        answer = subprocess.run(command, capture_output=True, text=True)
        times.append((time.monotonic() - began) * 1000)
    assert answer.returncode in (0, 1), answer.stderr
    return sorted(times)[1], json.loads(answer.stdout) if answer.stdout.strip() else None


def plans(folder):
    """What SQLite does for the queries that are asked most, and how long its own part takes."""
    db = sqlite3.connect(f"file:{folder}/events.jsonl.index?mode=ro", uri=True)
    files = ",".join(str(row[0]) for row in db.execute("SELECT id FROM file"))
    principal = db.execute("SELECT id FROM word WHERE what = 3 LIMIT 1").fetchone()[0]
    queries = {
        "statistics": f"SELECT what, value, events FROM tally WHERE hour >= 0 AND hour < 9223372036854775807 AND file IN ({files})",
        "newest": f"SELECT time, seq, id, file, offset, length FROM event WHERE file IN ({files}) ORDER BY time DESC, seq DESC, id DESC LIMIT 50",
        "count": f"SELECT count(*) FROM event WHERE file IN ({files}) AND time >= 0",
        "principal": f"SELECT time, seq, id, file, offset, length FROM event WHERE file IN ({files}) AND principal IN ({principal}) "
                     "ORDER BY time DESC, seq DESC, id DESC LIMIT 50",
    }
    for name, query in queries.items():
        began = time.monotonic()
        rows = sum(1 for _ in db.execute(query))
        print(f"  {name}: {rows} rows in {(time.monotonic() - began) * 1000:.0f} ms")
        for row in db.execute("EXPLAIN QUERY PLAN " + query):
            print("    ", row[3])


async def main():
    options = rig.arguments(
        __doc__, events=(2_000_000, "events of the day"), files=(1, "files, of which the last is not compressed"),
        principals=(5_000, "different principals"), addresses=(20_000, "different addresses"), plans=(0, "1: show query plans"),
    )
    upstream = await rig.Upstream().start()
    more = rig.ROUTE + "[index]\nenabled = true\n"
    gateway = rig.Gateway(options.program, rig.config(upstream, more=more), rig.everybody(["GET /x"]))
    folder = pathlib.Path(gateway.folder)
    gateway.write("plain.toml", (folder / "portcullis.toml").read_text().replace("version = 1\n", "").replace("enabled = true", "enabled = false"))
    began = time.monotonic()
    found = make(options, folder)
    print(f"made {options.events} events in {time.monotonic() - began:.0f} s, "
          f"{sum(file.stat().st_size for file in folder.glob('events.jsonl*')) / 2**20:.0f} MiB")
    began = time.monotonic()
    await gateway.start()
    there = 0
    while there < options.events and time.monotonic() - began < 3600:
        await asyncio.sleep(1)
        there = await asyncio.to_thread(indexed, folder)
    taken = time.monotonic() - began
    size = (folder / "events.jsonl.index").stat().st_size
    status, _ = await gateway.stop()
    if options.plans:
        plans(folder)
    middle, (last_id, last_user, last_address) = found[options.events // 2], found[options.events]
    questions = {
        "stats, the whole day": ["stats"],
        "stats, refusals": ["stats", "--deny"],
        "stats of one principal": ["stats", "--user", last_user],
        "stats of a reason": ["stats", "--reason", "rbac.*"],
        "search, the newest": ["search"],
        "search by id": ["search", "--id", middle[0]],
        "search by principal": ["search", "--user", middle[1]],
        "search by address": ["search", "--ip", middle[2]],
        "search by network": ["search", "--ip", "10.0.0.0/24"],
        "search by reason and route": ["search", "--reason", "rbac.*", "--route", "route-7"],
        "search, an hour of yesterday": ["search", "--since", "20h", "--until", "19h"],
    }
    rows = [
        ("events in the index; its size", f"{there}; {size / 2**20:.0f} MiB", there >= options.events),
        ("indexing them, beside nothing else", f"{taken:.0f} s, {taken / options.events * 1e6:.0f} µs each", None),
        ("exit status", status, status == 0),
    ]
    for name, arguments in questions.items():
        quick, answer = ask(options.program, folder, "portcullis.toml", *arguments)
        rows.append((f"{name}, with the index", f"{quick:.0f} ms", quick < 1000))
    # Reading takes as long as it takes; what counts is that it says the same. Until a fixed moment, since time goes on meanwhile.
    until = ["--since", "2020-01-01T00:00:00Z", "--until", f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%dT%H:%M:%SZ}"]
    for name, arguments in {"stats": ["stats", *until], "search": ["search", "--user", middle[1], *until]}.items():
        slow, read = ask(options.program, folder, "plain.toml", *arguments)
        _, quick = ask(options.program, folder, "portcullis.toml", *arguments)
        rows.append((f"{name}, by reading; the same answer", f"{slow:.0f} ms", read == quick))
    gateway.remove()
    rig.report(f"A day of {options.events} events", rows)


asyncio.run(main())
