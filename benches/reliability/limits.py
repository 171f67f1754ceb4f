#!/usr/bin/env python3
"""R4, limits: each default limit is what it says, seen on the wire, one step below it and one above.

    cargo build --profile dist
    python3 benches/reliability/limits.py target/dist/portcullis

Sizes are tried at the limit and one over it; times are measured by how long the gateway lets a connection wait, all at once, so
that it takes as long as the longest of them, 75 s. `max_connections` is tried with 10,000 connections and needs as many file
descriptors. Exit status 1 if a limit is not what it says. Needs nginx. It ends by itself.
"""
import argparse, socket, sys, threading, time

from site_of_gateway import Site, http

parser = argparse.ArgumentParser()
parser.add_argument("binary")
args = parser.parse_args()
wrong = []


def report(limit, said, seen, right):
    print(f"{limit:28} {said:>22}   {seen:24} {'as it says' if right else 'WRONG'}")
    if not right:
        wrong.append(limit)


def status_of(port, request):
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        connection.sendall(request)
        return int(connection.recv(1 << 16)[9:12] or 0)


def head(lines, target="/"):
    return "\r\n".join([f"GET {target} HTTP/1.1", "host: app.test", *lines, "", ""]).encode()


def sizes(port):
    """Each builder makes a request at the limit (0 over) and one over it."""
    fields = lambda over: head([f"x-{number}: 1" for number in range(99 + over)])
    field = lambda over: head(["x-long: " + "a" * (16 * 1024 - len("x-long: ") + over)])
    uri = lambda over: head([], "/" + "a" * (8 * 1024 - 1 + over))

    def whole(over):
        # Request line and host, then lines of 16 KiB at most until the head has 64 KiB, its final empty line included.
        room = 64 * 1024 - len(head([])) + over
        lines = []
        while room > 0:
            line = min(room, 16 * 1024)
            # A last line that is too short for a field is taken from the one before.
            line -= 16 if 0 < room - line < 16 else 0
            lines.append("x-a: " + "a" * (line - len("x-a: ") - 2))
            room -= line
        return head(lines)

    for limit, said, build, expected in (
        ("max_header_fields", "100", fields, 431),
        ("max_field_bytes", "16384", field, 431),
        ("max_header_bytes", "65536", whole, 431),
        ("max_uri_bytes", "8192", uri, 414),
    ):
        seen = (status_of(port, build(0)), status_of(port, build(1)))
        report(limit, f"{said}; then {expected}", f"{seen[0]}, one more: {seen[1]}", seen == (200, expected))


def wait_for_end(port, begin):
    """Seconds from the last byte that `begin` sends to the end of the connection, and the status that came before, if any."""
    with socket.create_connection(("127.0.0.1", port), 120) as connection:
        begin(connection)
        began, answer = time.monotonic(), b""
        took = None
        while True:
            piece = connection.recv(1 << 16)
            took = took or time.monotonic() - began
            if not piece:
                break
            answer += piece
        return took, int(answer[9:12] or 0)


def times(port, to_silent_origin):
    def one_request(connection):
        connection.sendall(head([]))
        answer = b""
        while not answer.endswith(b"ok"):
            answer += connection.recv(1 << 16)

    post = b"POST / HTTP/1.1\r\nhost: app.test\r\ncontent-length: 10\r\n\r\n12345"
    cases = {
        "first_byte_timeout": (port, 10, 0, lambda connection: None),
        "header_timeout": (port, 10, 408, lambda connection: connection.sendall(b"GET / HTTP/1.1\r\nhost: app")),
        "body_idle_timeout": (to_silent_origin, 30, 408, lambda connection: connection.sendall(post)),
        "keep_alive_timeout": (port, 75, 0, one_request),
    }
    seen = {}
    threads = [
        threading.Thread(target=lambda limit=limit, at=at, begin=begin: seen.update({limit: wait_for_end(at, begin)}))
        for limit, (at, _, _, begin) in cases.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for limit, (_, said, status, _) in cases.items():
        took, answered = seen.get(limit, (float("nan"), None))
        right = said - 0.1 <= took <= said + 1.5 and answered == status
        report(limit, f"{said} s; then {status or 'closed'}", f"{took:.1f} s, then {answered or 'closed'}", right)


def connections(site):
    """One over the limit waits, and is served when another one ends."""
    held = []
    try:
        for _ in range(10_000):
            held.append(socket.create_connection(("127.0.0.1", site.port), 20))
    except OSError as problem:
        report("max_connections", "10000; then waiting", f"only {len(held)}: {problem}", False)
        return
    for _ in range(100):
        if site.metric("portcullis_connections") >= 10_000:
            break
        time.sleep(0.05)
    most = site.metric("portcullis_connections")
    refused, _ = http(site.port, timeout=1)
    held.pop().close()
    served, _ = http(site.port, timeout=20)
    for connection in held:
        connection.close()
    seen = f"{most:.0f}, then {refused or 'waiting'}, {served}"
    report("max_connections", "10000; then waiting", seen, most == 10_000 and refused is None and served == 200)


with Site() as site:
    # The origin takes what the gateway takes.
    origin = site.nginx(None, 'return 200 "ok";', "large_client_header_buffers 8 128k; client_header_buffer_size 128k;")
    # One worker, since each has its share of the connections.
    site.gateway(args.binary, origin, '[[route]]\nname = "app"\nupstream = "app"')
    sizes(site.port)
    connections(site)
    # An origin that takes connections and says nothing, so that the body is waited for.
    with Site() as other, socket.create_server(("127.0.0.1", 0)) as silent:
        other.gateway(args.binary, silent.getsockname()[1], '[[route]]\nname = "app"\nupstream = "app"')
        times(site.port, other.port)
sys.exit(1 if wrong else 0)
