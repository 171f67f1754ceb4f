#!/usr/bin/env python3
"""Runs Portcullis as one of the proxies of a side-by-side benchmark: writes its configuration, then becomes it.

    portcullis.py --binary PATH --scenario plain|jwt|cold|acl|deny --listen HOST:PORT --upstream HOST:PORT --work DIR
                  [--jwks FILE] [--acl FILE] [--log FILE] [--size small|full] [--certificate FILE --key FILE]
                  [--shed-after DURATION] [--usage on|off]

What is on: the whole stack, risk (enforced), bans, events, metrics. `jwt` verifies RS256, ES256 and EdDSA tokens of issuer `bench` and
audience `gateway`; `--usage` adds a store, and counts in it which permissions are used or, with `off`, does not; `cold` remembers 1,000 of them, so that more different ones are verified each time. `--size full` adds 10,000 roles, 100,000 assignments, 1,000 routes and 1,000,000 network entries, of which the
request touches its own. One worker, so that one core is measured.
"""
import argparse, os, random, socket

parser = argparse.ArgumentParser()
for name in ("binary", "scenario", "listen", "upstream", "work"):
    parser.add_argument("--" + name, required=True)
for name in ("jwks", "acl", "log", "certificate", "key", "shed-after"):
    parser.add_argument("--" + name)
parser.add_argument("--size", choices=["small", "full"], default="small")
parser.add_argument("--usage", choices=["on", "off"])
args = parser.parse_args()
work = os.path.abspath(args.work)
token = args.scenario in ("jwt", "cold")
full = args.size == "full"


def write(name, lines):
    with open(os.path.join(work, name), "w") as file:
        file.write("\n".join(lines) + "\n")


gateway = [
    "version = 1",
    '[policy]\npath = "policy.toml"',
    "[process]\nworkers = 1",
    f'[[listener]]\nname = "bench"\naddress = "{args.listen}"'
    + (f'\ntls = {{ certificate = "{args.certificate}", key = "{args.key}", min_version = "1.3" }}' if args.certificate else ""),
    f'[[upstream]]\nname = "origin"\nendpoints = ["http://{args.upstream}"]\nmax_idle = 1024',
    '[[route]]\nname = "main"\nupstream = "origin"',
    "[ops]\nenabled = false",
    f'[[sink]]\nname = "events"\nkind = "file"\npath = "{os.path.abspath(args.log) if args.log else "events.jsonl"}"',
]
if args.shed_after:
    gateway.append(f'[limits]\nshed_after = "{args.shed_after}"')
if args.usage:
    gateway.append(f'[store]\npath = "state.db"\n[audit]\nenabled = {"true" if args.usage == "on" else "false"}')
if args.scenario == "cold":
    gateway.append("[identity]\ntoken_cache = 1000")
if token:
    gateway.append(
        '[[identity.jwt]]\nname = "bench"\nissuer = "bench"\naudiences = ["gateway"]\n'
        f'jwks = {{ file = "{os.path.abspath(args.jwks)}" }}'
    )
policy = ["version = 1", '[risk]\nmode = "enforce"']
if args.scenario == "deny":
    # Every request is refused by policy, and nobody is banned for it, as the bench itself would be.
    policy.append('[ban]\nmode = "off"')
permissions = '{ actions = ["GET,HEAD,POST /**"] }'
policy.append(f'[[role]]\nname = "bench"\npermissions = [{permissions}]')
who = "user:u-1234567" if token else "anyone"
if args.scenario != "deny":
    policy.append(f'[[assignment]]\nname = "bench"\nrole = "bench"\nprincipals = ["{who}"]\nscope = "main"')
resource = ['[[resource]]\nroute = "main"', f'authentication = "{"required" if token else "none"}"']
networks = []
if args.acl:
    networks.append(("list", os.path.abspath(args.acl)))
if full:
    source = os.path.join(work, "million.txt")
    numbers = random.Random(7)
    with open(source, "w") as file:
        file.write("127.0.0.0/8\n")
        for _ in range(1_000_000):
            address = numbers.randrange(0x0B000000, 0xDF000000) & ~0xFF
            if address >> 24 != 127:
                file.write(socket.inet_ntoa(address.to_bytes(4, "big")) + "/24\n")
    networks.append(("million", source))
    for route in range(999):
        gateway.append(f'[[route]]\nname = "r{route}"\nhosts = ["r{route}.test"]\nupstream = "origin"')
    for role in range(10_000):
        policy.append(f'[[role]]\nname = "role{role}"\npermissions = [{{ actions = ["GET /r{role}/**", "POST /r{role}/*/x"] }}]')
    for number in range(100_000):
        policy.append(
            f'[[assignment]]\nname = "a{number}"\nrole = "role{number % 10_000}"\n'
            f'principals = ["user:u{number % 20_000}"]\nscope = "r{number % 999}"'
        )
for name, path in networks:
    policy.append(f'[[network]]\nname = "{name}"\nfiles = ["{path}"]')
if networks:
    allowed = ", ".join(f'"{name}"' for name, _ in networks)
    resource.append(f"networks = {{ allow = [{allowed}] }}")
policy.append("\n".join(resource))
write("portcullis.toml", gateway)
write("policy.toml", policy)
os.execv(args.binary, [args.binary, "-q", "-c", os.path.join(work, "portcullis.toml"), "run"])
