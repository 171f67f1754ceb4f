"""A free port, and a token with the key set that verifies it, for the benchmarks beside."""
import base64, json, socket, subprocess, time


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def openssl(*arguments, **options):
    return subprocess.run(["openssl", *arguments], check=True, capture_output=True, **options).stdout


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def mint(folder, jwks):
    """An RS256 token of `u-1234567` for an hour, and the key set that verifies it."""
    key = f"{folder}/token.key"
    openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", key)
    modulus = openssl("rsa", "-in", key, "-noout", "-modulus").decode().strip().split("=")[1]
    with open(jwks, "w") as file:
        json.dump({"keys": [{"kty": "RSA", "kid": "bench", "alg": "RS256", "use": "sig", "n": encoded(bytes.fromhex(modulus)), "e": "AQAB"}]}, file)
    now = int(time.time())
    claims = {"iss": "bench", "aud": "gateway", "sub": "u-1234567", "iat": now, "exp": now + 3600}
    signed = ".".join(encoded(json.dumps(part).encode()) for part in ({"alg": "RS256", "kid": "bench", "typ": "JWT"}, claims))
    return f"{signed}.{encoded(openssl('dgst', '-sha256', '-sign', key, input=signed.encode()))}"
