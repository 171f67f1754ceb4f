"""A gateway under a reliability measurement: its folder, its process, its ports, its memory limit. Used by the scripts beside it.

Everything is on loopback, on ports that the kernel chooses, and ends with the script, each process by its own id.
"""
import contextlib, os, re, resource, signal, socket, subprocess, sys, tempfile, threading, time

OPEN = """version = 1
[ban]
mode = "off"
[[resource]]
route = "app"
authentication = "none"
[[role]]
name = "everything"
permissions = [{ actions = ["* /**"] }]
[[assignment]]
name = "everybody"
role = "everything"
principals = ["anyone"]
scope = "*"
"""


class Site:
    """Started processes and a folder for them; a context manager that stops what it started."""

    def __enter__(self):
        self.started, self.closing = [], contextlib.ExitStack()
        self.folder = self.closing.enter_context(tempfile.TemporaryDirectory())
        os.chmod(self.folder, 0o755)
        # Thousands of connections, on both sides.
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        return self

    def __exit__(self, *_):
        for process in reversed(self.started):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.started:
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.closing.close()

    def start(self, command, **more):
        process = subprocess.Popen(command, **more)
        self.started.append(process)
        return process

    def nginx(self, core, location, server="", http=""):
        """An origin that answers as `location` says; returns its port. `server` and `http` are further directives."""
        port = free_port()
        folder = f"{self.folder}/nginx-{port}"
        os.makedirs(folder)
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        paths = " ".join(f"{name}_temp_path {folder}/{name};" for name in kinds)
        with open(f"{folder}/nginx.conf", "w") as file:
            file.write(
                f"daemon off; worker_processes 1; pid {folder}/pid; events {{ worker_connections 16384; }}\n"
                f"http {{ access_log off; keepalive_requests 1000000000; {paths} {http}\n"
                f"server {{ listen 127.0.0.1:{port} backlog=16384; {server} location / {{ {location} }} }} }}\n"
            )
        self.start([*pinned(core), "nginx", "-c", f"{folder}/nginx.conf", "-e", f"{folder}/error.log"])
        wait_for_port(port)
        return port

    def gateway(self, binary, origin, more="", core=None, workers=1, memory_mib=None):
        """Starts the gateway; `self.port` and `self.ops` are where it listens."""
        config = f"{self.folder}/gateway"
        os.makedirs(config)
        with open(f"{config}/policy.toml", "w") as file:
            file.write(OPEN)
        with open(f"{config}/portcullis.toml", "w") as file:
            file.write(
                f'version = 1\n[process]\nworkers = {workers}\n[[listener]]\nname = "main"\naddress = "127.0.0.1:0"\n'
                f'[ops]\naddress = "127.0.0.1:0"\n[[sink]]\nname = "events"\nkind = "file"\npath = "events.jsonl"\n'
                f'[[upstream]]\nname = "app"\nendpoints = ["http://127.0.0.1:{origin}"]\nmax_idle = 1024\n{more}\n'
            )
        limited, self.memory_limit, enter = memory_limit(self.closing, memory_mib)
        command = [*limited, *pinned(core), os.path.abspath(binary), "-c", f"{config}/portcullis.toml", "run"]
        process = self.start(command, stderr=subprocess.PIPE, text=True)
        enter(process.pid)
        self.port = self.ops = None
        for line in process.stderr:
            main = re.search(r" listening listener=main address=\S*:(\d+)", line)
            ops = re.search(r" ops listening address=\S*:(\d+)", line)
            self.port = int(main.group(1)) if main else self.port
            self.ops = int(ops.group(1)) if ops else self.ops
            if self.port and self.ops:
                break
        if not self.ops:
            sys.exit("the gateway did not start")
        # Nobody reads on, and a full pipe must not stop it.
        threading.Thread(target=lambda: [None for _ in process.stderr], daemon=True).start()
        self.process, self.events = process, f"{config}/events.jsonl"

    def metric(self, name):
        text = http(self.ops, "/metrics")[1]
        found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.M)
        return float(found.group(1)) if found else 0.0

    def peak_rss_mib(self):
        with open(f"/proc/{self.process.pid}/status") as file:
            return int(re.search(r"VmHWM:\s+(\d+) kB", file.read()).group(1)) / 1024


def pinned(core):
    return ["taskset", "-c", str(core)] if core is not None else []


def memory_limit(closing, mib):
    """How to start a process under a limit: a prefix for its command, the limit in words, and what to do with its id."""
    if mib is None:
        return [], "no memory limit", lambda pid: None
    for root, key in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
        group = f"{root}/portcullis-reliability-{os.getpid()}"
        try:
            os.mkdir(group)
            with open(f"{group}/{key}", "w") as file:
                file.write(str(mib << 20))
        except OSError:
            with contextlib.suppress(OSError):
                os.rmdir(group)
            continue
        closing.callback(lambda: os.rmdir(group))

        def enter(pid):
            with open(f"{group}/cgroup.procs", "w") as file:
                file.write(str(pid))

        return [], f"a memory cgroup of {mib} MiB", enter
    # Private writable memory (RLIMIT_DATA): what a process can grow by, apart from its socket buffers.
    return ["prlimit", f"--data={mib << 20}"], f"RLIMIT_DATA of {mib} MiB, since no cgroup can be made here", lambda pid: None


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(port):
    for _ in range(600):
        try:
            return socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
    sys.exit(f"nobody listens on {port}")


def http(port, target="/", timeout=30, source=None):
    """One GET on a connection of its own: status and text, or None and the problem."""
    try:
        address = (source, 0) if source else None
        with socket.create_connection(("127.0.0.1", port), timeout, source_address=address) as connection:
            connection.sendall(f"GET {target} HTTP/1.1\r\nhost: app.test\r\nconnection: close\r\n\r\n".encode())
            answer = b""
            while piece := connection.recv(1 << 16):
                answer += piece
    except OSError as problem:
        return None, str(problem)
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    return (int(words[1]), body.decode(errors="replace")) if len(words) > 1 else (None, "no answer")


class Poller(threading.Thread):
    """Asks a path again and again until it is stopped; keeps how long each answer took and what failed."""

    def __init__(self, port, target, every=0.02, source=None):
        super().__init__(daemon=True)
        self.port, self.target, self.every, self.source = port, target, every, source
        self.took, self.failed, self.stopped = [], [], threading.Event()

    def run(self):
        while not self.stopped.wait(self.every):
            began = time.monotonic()
            status, problem = http(self.port, self.target, source=self.source)
            self.took.append(time.monotonic() - began)
            if status != 200:
                self.failed.append((status, problem[:80]))

    def stop(self):
        self.stopped.set()
        self.join()
        return self


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")
