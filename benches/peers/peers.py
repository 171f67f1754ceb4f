"""The configuration of each peer for each scenario: the least that does the same job, one worker, keep-alive both ways."""
import json, os


def temporary(folder):
    names = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    return " ".join(f"{name}_temp_path {folder}/{name};" for name in names)


LOGGED = ("time_iso8601", "request_id", "remote_addr", "request_method", "host", "uri", "status", "http_user_agent")


def nginx_command(folder, http):
    os.makedirs(folder, exist_ok=True)
    with open(f"{folder}/nginx.conf", "w") as file:
        file.write(
            f"daemon off; worker_processes 1; pid {folder}/pid; events {{ worker_connections 16384; }}\n"
            f"http {{ keepalive_requests 1000000000; keepalive_timeout 300s; {temporary(folder)} {http} }}\n"
        )
    return ["nginx", "-c", f"{folder}/nginx.conf", "-e", f"{folder}/error.log"]


def origin(folder, port):
    """Answers each path with a file of that many bytes."""
    os.makedirs(f"{folder}/files", exist_ok=True)
    for size in (128, 16384, 1048576):
        with open(f"{folder}/files/{size}", "wb") as file:
            file.write(b"x" * size)
    cached = "open_file_cache max=16; sendfile on; tcp_nopush on; access_log off;"
    small = f'location = /128 {{ return 200 "{"x" * 128}"; }}'
    return nginx_command(folder, f"{cached} server {{ listen 127.0.0.1:{port} backlog=4096; {small} location / {{ root {folder}/files; }} }}")


def nginx(bench):
    upstream = f"upstream origin {{ server 127.0.0.1:{bench.origin}; keepalive 256; keepalive_requests 1000000000; }}"
    forward = 'proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection "";'
    log = "access_log off;"
    if bench.scenario == "deny":
        line = ",".join(f'"{key}":"${key}"' for key in LOGGED)
        upstream = f"log_format line escape=json '{{{line}}}';"
        log = f"access_log {bench.folder}/nginx.jsonl line buffer=64k flush=1s;"
        forward = "return 403;"
    if bench.scenario == "1m":
        # With its default buffers it takes far more; this is what it does best.
        forward += "proxy_buffer_size 64k; proxy_buffers 16 64k; proxy_busy_buffers_size 128k; proxy_max_temp_file_size 0;"
    tls = ""
    if bench.tls:
        tls = f"ssl_certificate {bench.certificate}; ssl_certificate_key {bench.key}; ssl_protocols TLSv1.3; ssl_session_tickets off;"
    listen = f"listen 127.0.0.1:{bench.port['nginx']}{' ssl' if bench.tls else ''}{' http2' if bench.http2 else ''} backlog=4096;"
    # The shipped limit would have a client connect anew again and again.
    tls += " keepalive_requests 1000000000; http2_max_concurrent_streams 128;" if bench.http2 else ""
    return nginx_command(f"{bench.folder}/nginx", f"{upstream} {log} server {{ {listen} {tls} location / {{ {forward} }} }}")


def haproxy(bench):
    bind = f"bind 127.0.0.1:{bench.port['haproxy']} backlog 4096"
    bind += f" ssl crt {bench.pem} alpn http/1.1" if bench.tls else ""
    bind += " proto h2" if bench.http2 else ""
    front, log = "", ""
    if bench.scenario == "deny":
        log = "log stdout format raw local0"
        front = (
            'log-format \'{"ts":"%Ts.%ms","client":"%ci","method":"%HM","path":"%HP","status":%ST}\'\n'
            "  http-request deny deny_status 403"
        )
    size = "tune.bufsize 65536" if bench.scenario == "1m" else ""
    path = f"{bench.folder}/haproxy.cfg"
    with open(path, "w") as file:
        file.write(f"""global
  maxconn 9500
  nbthread 1
  ssl-default-bind-options ssl-min-ver TLSv1.3 no-tls-tickets
  tune.ssl.cachesize 0
  {size}
defaults
  mode http
  timeout client 300s
  timeout server 300s
  timeout connect 5s
  timeout http-keep-alive 300s
  option http-keep-alive
  http-reuse always
frontend f
  {bind}
  {log}
  {front}
  default_backend b
backend b
  server s 127.0.0.1:{bench.origin} pool-max-conn 1024
""")
    return ["haproxy", "-db", *([] if log else ["-q"]), "-f", path]


def typed(name, kind, **fields):
    return {"name": name, "typed_config": {"@type": "type.googleapis.com/" + kind, **fields}}


def envoy(bench):
    http = "envoy.extensions.filters.http"
    filters, log = [], []
    anything = {"permissions": [{"any": True}], "principals": [{"any": True}]}
    if bench.scenario == "jwt" or bench.tokens:
        provider = {"issuer": "bench", "audiences": ["gateway"], "local_jwks": {"filename": bench.jwks}, "payload_in_metadata": "jwt", "forward": True}
        if not bench.tokens:
            provider["jwt_cache_config"] = {"jwt_cache_size": 1000}
        filters.append(typed("envoy.filters.http.jwt_authn", f"{http}.jwt_authn.v3.JwtAuthentication", providers={"p": provider},
                             rules=[{"match": {"prefix": "/"}, "requires": {"provider_name": "p"}}]))
        claim = {"filter": "envoy.filters.http.jwt_authn", "path": [{"key": "jwt"}, {"key": "sub"}], "value": {"string_match": {"exact": "u-1234567"}}}
        anything = {"permissions": [{"any": True}], "principals": [{"metadata": claim}]}
        filters.append(typed("envoy.filters.http.rbac", f"{http}.rbac.v3.RBAC", rules={"action": "ALLOW", "policies": {"p": anything}}))
    if bench.scenario == "deny":
        filters.append(typed("envoy.filters.http.rbac", f"{http}.rbac.v3.RBAC", rules={"action": "DENY", "policies": {"p": anything}}))
        line = {"ts": "%START_TIME%", "client": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", "method": "%REQ(:METHOD)%",
                "path": "%REQ(:PATH)%", "status": "%RESPONSE_CODE%", "reason": "%RESPONSE_CODE_DETAILS%"}
        log = [typed("f", "envoy.extensions.access_loggers.file.v3.FileAccessLog", path=f"{bench.folder}/envoy.jsonl", log_format={"json_format": line})]
    filters.append(typed("envoy.filters.http.router", f"{http}.router.v3.Router", suppress_envoy_headers=True))
    route = {"match": {"prefix": "/"}, "route": {"cluster": "u", "timeout": "0s"}}
    manager = typed("envoy.filters.network.http_connection_manager",
                    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                    stat_prefix="h", codec_type="HTTP2" if bench.http2 else "HTTP1", generate_request_id=False, use_remote_address=False, access_log=log,
                    route_config={"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [route]}]}, http_filters=filters)
    chain = {"filters": [manager]}
    if bench.tls:
        version = {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"}
        certificate = {"certificate_chain": {"filename": bench.certificate}, "private_key": {"filename": bench.key}}
        chain["transport_socket"] = typed("tls", "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                                          disable_stateless_session_resumption=True,
                                          common_tls_context={"tls_params": version, "tls_certificates": [certificate]})
    address = lambda port: {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    most = 1_000_000_000
    breakers = {"thresholds": [{"max_connections": most, "max_pending_requests": most, "max_requests": most, "max_retries": 3}]}
    endpoint = {"endpoint": {"address": address(bench.origin)}}
    cluster = {"name": "u", "type": "STATIC", "connect_timeout": "5s", "circuit_breakers": breakers,
               "load_assignment": {"cluster_name": "u", "endpoints": [{"lb_endpoints": [endpoint]}]}}
    listener = {"name": "l", "address": address(bench.port["envoy"]), "tcp_backlog_size": 4096, "filter_chains": [chain]}
    path = f"{bench.folder}/envoy.json"
    with open(path, "w") as file:
        json.dump({"static_resources": {"listeners": [listener], "clusters": [cluster]}}, file)
    return ["envoy", "-c", path, "--concurrency", "1", "--disable-hot-restart", "-l", "error"]


def caddy(bench):
    port = bench.port["caddy"]
    site = f"reverse_proxy 127.0.0.1:{bench.origin} {{\n transport http {{\n keepalive_idle_conns_per_host 1024\n }}\n }}"
    if bench.scenario == "deny":
        site = f'log {{\n output file {bench.folder}/caddy.jsonl {{\n roll_disabled\n }}\n format json\n }}\n respond "denied" 403'
    head, tls = (f"https://localhost:{port}", f"tls {bench.certificate} {bench.key} {{\n protocols tls1.3\n }}\n") if bench.tls else (f"http://:{port}", "")
    path = f"{bench.folder}/Caddyfile"
    with open(path, "w") as file:
        file.write(
            "{\n admin off\n auto_https off\n persist_config off\n servers {\n protocols PROTOCOLS\n }\n log {\n level ERROR\n }\n}\n".replace("PROTOCOLS", "h1 h2c" if bench.http2 else "h1")
            + f"{head} {{\n bind 127.0.0.1\n {tls}{site}\n}}\n"
        )
    return ["caddy", "run", "--adapter", "caddyfile", "--config", path]


PEERS = {"nginx": nginx, "haproxy": haproxy, "envoy": envoy, "caddy": caddy}
