#!/usr/bin/env python3
"""R5, floods of HTTP/2 frames: attackers that do nothing else, each connecting anew when it is closed, beside a good client.

    cargo build --profile dist
    python3 benches/reliability/http2_floods.py target/dist/portcullis [--seconds 10] [--attackers 4] [--only NAME]

Floods: streams that are opened and reset at once (CVE-2023-44487), streams that the server is made to reset (CVE-2025-8671),
CONTINUATION without an end (CVE-2024-27316), empty DATA, PING, SETTINGS. Bars, for each: every attacking connection is closed within 1 s or
1,000 frames of its flood; the good client has no error and a p99 of at most 5 times its own before (or 5 ms); memory grows by at most 64
MiB. Each closed connection is one event. The good client comes from 127.0.0.2. Needs nginx (Debian). It ends by itself, after 15 s a flood.
"""
import argparse, json, multiprocessing, socket, struct, time

from site_of_gateway import Poller, Site, percentile

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS = 1, 1, 4


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def block(*fields):
    out = b""
    for name, value in fields:
        out += bytes([0x10, len(name)]) + name + bytes([len(value)]) + value
    return out


def head(method=b"GET", path=b"/slow"):
    return block((b":method", method), (b":scheme", b"http"), (b":authority", b"flood.test"), (b":path", path))


def begins(then):
    """A flood on one stream that has to be opened first."""
    def flood(count):
        return (then[0] if count == 0 else b"") + then[1]
    return flood


def opened(closing):
    """A flood that opens a stream with each frame."""
    def flood(count):
        stream = 2 * count + 1
        return frame(HEADERS, END_HEADERS | END_STREAM, stream, head()) + closing(stream)
    return flood


FLOODS = {
    "reset": opened(lambda stream: frame(RST_STREAM, 0, stream, struct.pack(">I", 8))),
    "made-to-reset": opened(lambda stream: frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", 0x7FFFFFFF))),
    "continuation": begins((frame(HEADERS, END_STREAM, 1, head()), frame(CONTINUATION, 0, 1, block((b"x", b"y"))))),
    "empty-data": begins((frame(HEADERS, END_HEADERS, 1, head(b"POST")), frame(DATA, 0, 1))),
    "ping": lambda count: frame(PING, 0, 0, bytes(8)),
    "settings": lambda count: frame(SETTINGS, 0, 0),
}


def attack(name, port, until, results):
    flood = FLOODS[name]
    while time.monotonic() < until:
        try:
            connection = socket.create_connection(("127.0.0.1", port), timeout=5)
            connection.sendall(PREFACE + frame(SETTINGS, 0, 0))
            # Its settings first: an acknowledgement in the middle of a header block would be an error of its own.
            connection.recv(65536)
            connection.sendall(frame(SETTINGS, ACK, 0))
        except OSError:
            results.put((name, None, None))
            continue
        began, sent, closed, buffer = time.monotonic(), 0, False, b""
        connection.settimeout(0.0005)
        while not closed and time.monotonic() - began < 20:
            try:
                connection.settimeout(1)
                connection.sendall(b"".join(flood(count) for count in range(sent, sent + 25)))
                sent += 25
                connection.settimeout(0.0005)
                while True:
                    piece = connection.recv(65536)
                    buffer += piece
                    if not piece:
                        closed = True
                        break
            except (TimeoutError, BlockingIOError):
                pass
            except OSError:
                closed = True
            while len(buffer) >= 9 and len(buffer) >= 9 + int.from_bytes(buffer[:3], "big"):
                closed = closed or buffer[3] == GOAWAY
                buffer = buffer[9 + int.from_bytes(buffer[:3], "big"):]
        results.put((name, sent, time.monotonic() - began))
        connection.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--attackers", type=int, default=4)
    parser.add_argument("--only", choices=FLOODS)
    args = parser.parse_args()
    for name in [args.only] if args.only else FLOODS:
        with Site() as site:
            origin = site.nginx(None, 'return 200 "fine";')
            site.gateway(args.binary, origin, '[[route]]\nname = "app"\nupstream = "app"', workers=2)
            before = Poller(site.port, "/", every=0.01, source="127.0.0.2")
            before.start()
            time.sleep(4)
            before.stop()
            memory = site.peak_rss_mib()
            during = Poller(site.port, "/", every=0.01, source="127.0.0.2")
            during.start()
            results, until = multiprocessing.Queue(), time.monotonic() + args.seconds
            attackers = [multiprocessing.Process(target=attack, args=(name, site.port, until, results)) for _ in range(args.attackers)]
            for attacker in attackers:
                attacker.start()
            seen = []
            while any(attacker.is_alive() for attacker in attackers) or not results.empty():
                while not results.empty():
                    seen.append(results.get())
                time.sleep(0.05)
            during.stop()
            closed = [(sent, took) for _, sent, took in seen if sent is not None]
            worst = [each for each in closed if each[0] > 1_000 and each[1] > 1]
            steady, flooded = percentile(before.took, 0.99), percentile(during.took, 0.99)
            time.sleep(1)
            with open(site.events) as file:
                events = [json.loads(line)["reason"] for line in file]
            print(f"{name}: {len(closed)} connections closed, {len(seen) - len(closed)} not accepted")
            print(f"  frames until closed  median {percentile([sent for sent, _ in closed], 0.5)}, most {max(sent for sent, _ in closed)}; "
                  f"time median {percentile([took for _, took in closed], 0.5) * 1e3:.0f} ms, longest {max(took for _, took in closed) * 1e3:.0f} ms; "
                  f"over both bars (1,000 frames, 1 s): {len(worst)}")
            print(f"  good client          {len(during.took)} asked, {len(during.failed)} failed; p99 {steady * 1e3:.1f} ms before, {flooded * 1e3:.1f} ms during")
            print(f"  events               {events.count('limit.rate')} of limit.rate, {len(events) - events.count('limit.rate')} others")
            print(f"  memory               peak {memory:.0f} MiB before, {site.peak_rss_mib():.0f} MiB after; alive: {site.process.poll() is None}")


if __name__ == "__main__":
    main()
