"""A free port, and tokens with the key set that verifies them, for the benchmarks beside."""
import base64, json, os, socket, subprocess, time


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


# One key, and so many tokens of it with a `jti` each; the key set on the first line.
MANY = r"""
const crypto = require('node:crypto');
const [algorithm, count] = process.argv.slice(1);
const kinds = { RS256: ['rsa', { modulusLength: 2048 }, 'sha256'], ES256: ['ec', { namedCurve: 'P-256' }, 'sha256'], EdDSA: ['ed25519', {}, null] };
const [type, options, hash] = kinds[algorithm];
const pair = crypto.generateKeyPairSync(type, options);
const lines = [JSON.stringify({ keys: [{ ...pair.publicKey.export({ format: 'jwk' }), kid: 'bench', alg: algorithm, use: 'sig' }] })];
const now = Math.floor(Date.now() / 1000);
const encoded = (part) => Buffer.from(JSON.stringify(part)).toString('base64url');
const header = encoded({ alg: algorithm, kid: 'bench', typ: 'JWT' });
for (let number = 0; number < Number(count); number++) {
  const signed = header + '.' + encoded({ iss: 'bench', aud: 'gateway', sub: 'u-1234567', iat: now, exp: now + 3600, jti: String(number) });
  const signature = crypto.sign(hash, Buffer.from(signed), { key: pair.privateKey, dsaEncoding: 'ieee-p1363' });
  lines.push(signed + '.' + signature.toString('base64url'));
}
process.stdout.write(lines.join('\n') + '\n');
"""


def mint_many(folder, jwks, algorithm, count):
    """So many tokens of `u-1234567`, all different, in a file of which the path is returned; and the key set that verifies them."""
    node = os.environ.get("PORTCULLIS_NODE", "node")
    text = subprocess.run([node, "-e", MANY, algorithm, str(count)], check=True, capture_output=True, text=True).stdout
    keys, tokens = text.split("\n", 1)
    for path, content in ((jwks, keys), (f"{folder}/tokens", tokens)):
        with open(path, "w") as file:
            file.write(content)
    return f"{folder}/tokens"
