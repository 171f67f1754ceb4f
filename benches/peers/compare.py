#!/usr/bin/env python3
"""CPU per request of Portcullis beside nginx, in one interleaved run on loopback: nginx's plain proxy beside a permitted request with
all checks on, or (`--scenario deny`) nginx's `return 403` with one buffered line of JSON beside a refusal with its event on disk.

    cargo build --profile dist
    python3 benches/peers/compare.py target/dist/portcullis [--scenario plain|deny] [--rounds 5] [--seconds 2] [--size small|full]

Needs nginx and wrk (Debian packages of those names) and two processors: the proxies, one worker each, share the first; the origin
(another nginx that answers 128 bytes) and wrk share the second. CPU is the run time of all threads of the proxy, read from
/proc/PID/task/*/schedstat, divided by the requests. Only ratios within one run mean something. It ends by itself.
"""
import argparse, os, re, signal, socket, statistics, subprocess, sys, tempfile, time

parser = argparse.ArgumentParser()
parser.add_argument("binary")
parser.add_argument("--scenario", choices=["plain", "deny"], default="plain")
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--seconds", type=int, default=2)
parser.add_argument("--size", choices=["small", "full"], default="small")
args = parser.parse_args()
here = os.path.dirname(os.path.abspath(__file__))
started = []


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(core, command, port):
    process = subprocess.Popen(["taskset", "-c", str(core), *command], stdout=subprocess.DEVNULL)
    started.append(process)
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return process
        except OSError:
            if process.poll() is not None:
                sys.exit(f"{command[0]} ended with {process.returncode}")
            time.sleep(0.1)
    sys.exit(f"{command[0]} does not listen on {port}")


def nginx(folder, core, port, location):
    os.makedirs(folder)
    paths = " ".join(f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    silent = "" if "access_log" in location[0] else "access_log off;"
    with open(f"{folder}/nginx.conf", "w") as file:
        file.write(
            f"daemon off; worker_processes 1; pid {folder}/pid; events {{ worker_connections 4096; }}\n"
            f"http {{ {silent} keepalive_requests 1000000000; {paths} {location[0]}\n"
            f"server {{ listen 127.0.0.1:{port}; location / {{ {location[1]} }} }} }}\n"
        )
    return start(core, ["nginx", "-c", f"{folder}/nginx.conf", "-e", f"{folder}/error.log"], port)


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


def load(pid, port):
    before = cpu_seconds(pid)
    command = ["taskset", "-c", "1", "wrk", "-t1", "-c64", f"-d{args.seconds}s", f"http://127.0.0.1:{port}/128"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    answered = re.search(r"(\d+) requests in", output).group(1)
    if (refused.group(1) if refused else "0") != (answered if args.scenario == "deny" else "0"):
        sys.exit(output)
    requests = int(answered)
    return (cpu_seconds(pid) - before) / requests * 1e6


try:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        origin, plain, ours = free_port(), free_port(), free_port()
        nginx(f"{folder}/origin", 1, origin, ("", f'return 200 "{"x" * 128}";'))
        upstream = f"upstream origin {{ server 127.0.0.1:{origin}; keepalive 256; keepalive_requests 1000000000; }}"
        forward = 'proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection "";'
        keys = ("time_iso8601", "request_id", "remote_addr", "request_method", "host", "uri", "status", "http_user_agent")
        line = ",".join(f'"{key}":"${key}"' for key in keys)
        log = f"log_format line escape=json '{{{line}}}'; access_log {folder}/denials.jsonl line buffer=64k flush=1s;"
        peer, location = {
            "plain": ("nginx, plain proxy", (upstream, forward)),
            "deny": ("nginx, 403 and a line", (log, "return 403;")),
        }[args.scenario]
        proxies = {peer: (nginx(f"{folder}/plain", 0, plain, location).pid, plain)}
        os.makedirs(f"{folder}/ours")
        command = [sys.executable, f"{here}/portcullis.py", "--binary", os.path.abspath(args.binary), "--scenario", args.scenario]
        command += ["--listen", f"127.0.0.1:{ours}", "--upstream", f"127.0.0.1:{origin}", "--work", f"{folder}/ours"]
        proxies["portcullis, " + {"plain": "everything on", "deny": "403 and event"}[args.scenario]] = (start(0, [*command, "--size", args.size], ours).pid, ours)
        figures = {name: [] for name in proxies}
        for _ in range(args.rounds):
            for name, (pid, port) in proxies.items():
                figures[name].append(load(pid, port))
        base = statistics.median(figures[peer])
        for name, values in figures.items():
            median = statistics.median(values)
            print(f"{name:28} {median:6.2f} us a request ({min(values):.2f} to {max(values):.2f})  ratio {median / base:.2f}")
finally:
    for process in started:
        process.send_signal(signal.SIGTERM)
    for process in started:
        process.wait()
