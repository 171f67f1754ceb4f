#!/usr/bin/env python3
"""Instructions of a whole request, the gateway's and its libraries', counted by callgrind: a figure that does not depend on how busy a machine is.

    cargo build --profile dist
    python3 benches/request.py target/dist/portcullis [plain|jwt|deny …] [--requests 4000] [--limit plain=48000]

The gateway runs under valgrind with everything on, in front of an nginx, and is asked over 4 connections that are kept: as `compare.py` configures
it. Counting begins after the first 200 requests, so that what is made once is not in it. The kernel's share of a request is not counted, and
callgrind has no instructions for SHA: a token from the cache is dearer here than it is. With `--limit` it ends with 1 where a figure is above.

Needs valgrind, nginx and h2load (nghttp2-client). It ends by itself.
"""
import argparse, os, re, signal, subprocess, sys, tempfile, time

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, f"{here}/peers")
import peers
from tokens import free_port, mint

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("binary")
parser.add_argument("scenarios", nargs="*", default=["plain", "jwt", "deny"])
parser.add_argument("--requests", type=int, default=4000)
parser.add_argument("--limit", action="append", default=[], metavar="SCENARIO=INSTRUCTIONS")
args = parser.parse_args()
limits = {name: int(most) for name, most in (limit.split("=") for limit in args.limit)}


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def ask(port, requests, headers):
    output = run("h2load", "--h1", "-c4", f"-n{requests}", *headers, f"http://127.0.0.1:{port}/128")
    done = int(re.search(r"requests: \d+ total, \d+ started, (\d+) done", output).group(1))
    codes = [int(count) for count in re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", output).groups()]
    return done, codes


def count(scenario, folder, origin):
    port, log = free_port(), f"{folder}/callgrind.out"
    jwks = f"{folder}/jwks.json"
    headers = ["-H", f"Authorization: Bearer {mint(folder, jwks)}"] if scenario == "jwt" else []
    # `portcullis.py` becomes the program that it is given: here valgrind, through a script.
    under = f"{folder}/under-valgrind"
    with open(under, "w") as file:
        file.write(f'#!/bin/sh\nexec valgrind --tool=callgrind --callgrind-out-file={log} --instr-atstart=no -q "{os.path.abspath(args.binary)}" "$@"\n')
    os.chmod(under, 0o755)
    command = [sys.executable, f"{here}/peers/portcullis.py", "--binary", under, "--scenario", scenario, "--listen", f"127.0.0.1:{port}"]
    command += ["--upstream", f"127.0.0.1:{origin}", "--work", folder, *(["--jwks", jwks] if headers else [])]
    # Under valgrind everything is late.
    command += ["--shed-after", "0s"]
    gateway = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(300):
            if gateway.poll() is not None:
                sys.exit(f"the gateway ended with {gateway.returncode}")
            if subprocess.run(["curl", "-s", "-o", "/dev/null", f"http://127.0.0.1:{port}/128"]).returncode == 0:
                break
            time.sleep(0.1)
        ask(port, 200, headers)
        run("callgrind_control", "-i", "on", str(gateway.pid))
        done, codes = ask(port, args.requests, headers)
        run("callgrind_control", "-i", "off", str(gateway.pid))
        run("callgrind_control", "-d", str(gateway.pid))
    finally:
        gateway.send_signal(signal.SIGTERM)
        gateway.wait(60)
    expected = 2 if scenario == "deny" else 0
    if done != args.requests or codes[expected] != done:
        sys.exit(f"{scenario}: {done} answers, {codes} of 2xx, 3xx, 4xx and 5xx")
    total = 0
    for name in os.listdir(folder):
        if name.startswith("callgrind.out"):
            with open(f"{folder}/{name}") as file:
                found = re.findall(r"^totals: (\d+)", file.read(), re.M)
                total = max([total, *map(int, found)])
    if total == 0:
        sys.exit(f"{scenario}: callgrind counted nothing")
    return round(total / done)


failed = False
print("| scenario | instructions a request |\n|---|---|")
for scenario in args.scenarios:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        port = free_port()
        os.makedirs(f"{folder}/gateway")
        origin = subprocess.Popen(peers.origin(f"{folder}/origin", port), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            figure = count(scenario, f"{folder}/gateway", port)
        finally:
            origin.send_signal(signal.SIGTERM)
            origin.wait(10)
        over = figure > limits.get(scenario, figure)
        failed |= over
        print(f"| {scenario} | {figure:,}{f' (above {limits[scenario]:,})' if over else ''} |", flush=True)
sys.exit(failed)
