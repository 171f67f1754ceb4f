#!/usr/bin/env python3
"""R6, slow clients: 2,000 connections of slowhttptest that send heads (-H), bodies (-B) or read answers (-X) as slowly as they can, beside
a good client.

    cargo build --profile dist
    python3 benches/reliability/slow_clients.py target/dist/portcullis [--connections 2000] [--seconds 25] [--only H|B|X]

Bars: every request of the good client is answered with 200; and 15 s after the header timeout (10 s) has passed for the last slow
connection that was opened, its place is free again. The good client comes from 127.0.0.2. Bodies and answers have the idle
timeout (30 s) instead, which one byte in time satisfies, so that only the good client is judged there. Needs nginx and slowhttptest
(Debian packages of those names). It ends by itself, after half a minute for each kind.
"""
import argparse, subprocess, time

from site_of_gateway import Poller, Site, percentile

HEADER_TIMEOUT_S, GRACE_S = 10, 15
KINDS = {
    "H": ("heads", ["-H", "-i", "5"], "GET"),
    "B": ("bodies", ["-B", "-i", "5", "-s", "8192"], "POST"),
    "X": ("reading", ["-X", "-w", "10", "-y", "20", "-n", "5", "-z", "32", "-k", "3"], "GET"),
}

parser = argparse.ArgumentParser()
parser.add_argument("binary")
parser.add_argument("--connections", type=int, default=2_000)
parser.add_argument("--seconds", type=int, default=25)
parser.add_argument("--only", choices=KINDS)
args = parser.parse_args()

for kind in [args.only] if args.only else KINDS:
    name, options, verb = KINDS[kind]
    with Site() as site:
        answering = site.nginx(None, f'return 200 "{"x" * 4000}";')
        # One that reads the whole body before it answers.
        origin = site.nginx(None, f"proxy_pass http://127.0.0.1:{answering};")
        site.gateway(args.binary, origin, '[[route]]\nname = "app"\nupstream = "app"', workers=2)
        good = Poller(site.port, "/", every=0.05, source="127.0.0.2")
        good.start()
        command = ["slowhttptest", *options, "-c", str(args.connections), "-r", str(args.connections // 5), "-l", str(args.seconds)]
        attack = site.start(
            [*command, "-p", "60", "-t", verb, "-u", f"http://127.0.0.1:{site.port}/"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        most, began, free_at = 0, time.monotonic(), None
        # The last one is opened 5 s after the start.
        all_open_s = 5 + HEADER_TIMEOUT_S
        while attack.poll() is None or time.monotonic() - began < all_open_s + GRACE_S:
            open_now = site.metric("portcullis_connections")
            most = max(most, open_now)
            now = time.monotonic() - began
            if free_at is None and most > args.connections / 2 and open_now <= 10:
                free_at = now
            if attack.poll() is not None and free_at is not None:
                break
            time.sleep(0.1)
        good.stop()
        failed, asked = len(good.failed), len(good.took)
        print(f"{name}: at most {most:.0f} connections open at once")
        print(f"  good client        {asked - failed} of {asked} answered (bar: all), p99 {percentile(good.took, 0.99) * 1e3:.0f} ms; failures: {good.failed[:3]}")
        if kind == "H":
            after = "not at all" if free_at is None else f"{max(0, free_at - all_open_s):.1f} s"
            print(f"  places free        {after} after the header timeout of the last one (bar {GRACE_S} s)")
        print(f"  memory             peak {site.peak_rss_mib():.0f} MiB; alive: {site.process.poll() is None}")
