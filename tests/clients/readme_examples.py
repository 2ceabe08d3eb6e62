"""Runs the APIs that README.md shows, exactly as it prints them, and sends them good and bad tokens of `regrant dev`.

Usage: readme_examples.py REGRANT JS_FOLDER NODE RUST_PROGRAM

RUST_PROGRAM is built from `examples/protect_api.rs`, which must be what README.md prints.
"""

import base64
import contextlib
import hashlib
import hmac
import http.server
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

ROOT = pathlib.Path(__file__).resolve().parents[2]
SECTION = "## Protect your API\n"
DEADLINE_SECONDS = 30
POLL_SECONDS = 0.05
# Closed when this program ends.
RESERVED = []


def free_port():
    """A port for a program to listen on. It stays bound here, so that nobody else gets it before: the programs listen with
    SO_REUSEADDR, which lets them join."""
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(("127.0.0.1", 0))
    RESERVED.append(reserved)
    return reserved.getsockname()[1]


@contextlib.contextmanager
def running(name, command, port, scratch, **environment):
    """A program, from when it listens on the port."""
    log = pathlib.Path(scratch) / f"{name}.log"
    with log.open("a") as output:
        program = subprocess.Popen(
            [str(part) for part in command], stdout=output, stderr=output, env={**os.environ, **environment}, cwd=scratch
        )
    try:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            if program.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{name} did not start:\n{log.read_text()}")
            time.sleep(POLL_SECONDS)
        yield
    finally:
        program.terminate()
        program.wait(DEADLINE_SECONDS)


def blocks():
    """The code of the section, by language."""
    section = (ROOT / "README.md").read_text().split(SECTION, 1)[1].split("\n## ", 1)[0]
    return dict(re.findall(r"^```(python|js|rust)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL))


def encode(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def decode(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Tokens:
    """Asks a server for tokens through its metadata."""

    def __init__(self, issuer):
        self.issuer = issuer

    def get(self, url):
        with urllib.request.urlopen(url, timeout=10) as response:
            return json.load(response)

    def client_credentials(self, client_id="demo", secret="demo-secret", scope="read"):
        metadata = self.get(f"{self.issuer}/.well-known/oauth-authorization-server")
        credentials = base64.b64encode(f"{client_id}:{secret}".encode()).decode()
        request = urllib.request.Request(
            metadata["token_endpoint"],
            urllib.parse.urlencode({"grant_type": "client_credentials", "scope": scope}).encode(),
            {"Authorization": f"Basic {credentials}"},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)["access_token"]

    def public_key(self, token):
        kid = json.loads(decode(token.split(".")[0]))["kid"]
        keys = self.get(self.get(f"{self.issuer}/.well-known/oauth-authorization-server")["jwks_uri"])["keys"]
        return next(key for key in keys if key["kid"] == kid)


def resigned(token, sign=None, claims=None, **header):
    """The token with other claims and another header, under its old signature or one that is made for it."""
    old_header, old_payload, signature = token.split(".")
    new_header = encode(json.dumps({**json.loads(decode(old_header)), **header}).encode()) if header else old_header
    payload = encode(json.dumps({**json.loads(decode(old_payload)), **claims}).encode()) if claims else old_payload
    signature = signature if sign is None else encode(sign(f"{new_header}.{payload}".encode()))
    return f"{new_header}.{payload}.{signature}"


@contextlib.contextmanager
def tokens_of_regrant(regrant, port, scratch):
    """The issuer while it runs with its normal settings, and its tokens: (what, token, expected status)."""
    issuer = f"http://127.0.0.1:{port}"

    def server(data, **environment):
        command = [regrant, "dev", "--listen", f"127.0.0.1:{port}", "--data", f"{scratch}/{data}"]
        management = f"127.0.0.1:{free_port()}"
        return running("regrant", command, port, scratch, REGRANT_MANAGEMENT_LISTEN=management, **environment)

    ask = Tokens(issuer)
    with server("others"):
        foreign = ask.client_credentials()
    # Its life is over before the APIs have started.
    short = {"REGRANT_LIFETIMES__ACCESS_TOKEN_SECONDS": "1", "REGRANT_LIFETIMES__GRACE_SECONDS": "1"}
    with server("data", **short):
        expired = ask.client_credentials()
    with server("data"):
        create = [regrant, "client", "create", "--store", f"sqlite:{scratch}/data/regrant.db", "--json", "--id", "elsewhere"]
        create += ["--type", "confidential", "--grant-types", "client_credentials", "--scope", "read"]
        create += ["--audience", "https://elsewhere.example"]
        created = json.loads(subprocess.run(create, capture_output=True, text=True, check=True, cwd=scratch).stdout)
        good = ask.client_credentials(scope="profile read")
        public = json.dumps(ask.public_key(good)).encode()
        # The Rust library counts whole seconds, and accepts the last one to its end.
        while time.time() < json.loads(decode(expired.split(".")[1]))["exp"] + 1:
            time.sleep(POLL_SECONDS)
        yield issuer, [
            ("a good token", good, 200),
            ("no token", None, 401),
            ("no JWT", "nonsense", 401),
            ("a token for another audience", ask.client_credentials("elsewhere", created["client_secret"]), 401),
            ("an expired token", expired, 401),
            ("a token with another key's signature", foreign, 401),
            ("a token with a changed claim", resigned(good, claims={"scope": "read write admin"}), 401),
            ("a token that lives longer than signed", resigned(expired, claims={"exp": 4_000_000_000}), 401),
            ("an unsigned token", resigned(good, lambda _: b"", alg="none"), 401),
            (
                "a token signed with the public key as if it were a secret",
                resigned(good, lambda text: hmac.new(public, text, hashlib.sha256).digest(), alg="HS256"),
                401,
            ),
            ("a token with too little scope", ask.client_credentials(scope="profile write"), 403),
        ]


@contextlib.contextmanager
def tokens_of_a_sloppy_issuer(port):
    """An issuer that signs what Regrant never does: (what, token, expected status)."""
    issuer = f"http://127.0.0.1:{port}"
    key = ec.generate_private_key(ec.SECP256R1())
    jwk = {**json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key())), "kid": "1", "alg": "ES256", "use": "sig"}
    documents = {
        "/.well-known/oauth-authorization-server": {"issuer": issuer, "jwks_uri": f"{issuer}/keys"},
        "/keys": {"keys": [jwk]},
    }

    class Documents(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(documents[self.path]).encode())

        def log_message(self, *_):
            pass

    def token(typ="at+jwt", without=None, **changed):
        claims = {"iss": issuer, "aud": issuer, "sub": "alice", "scope": "read", "exp": int(time.time()) + 600, **changed}
        claims.pop(without, None)
        return jwt.encode(claims, key, "ES256", {"typ": typ, "kid": "1"})

    with http.server.ThreadingHTTPServer(("127.0.0.1", port), Documents) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield issuer, [
            ("a good token of another issuer that it trusts", token(), 200),
            ("a JWT that is no access token", token(typ="JWT"), 401),
            ("a token that names another issuer", token(iss="https://elsewhere.example"), 401),
            *((f"a token without {claim}", token(without=claim), 401) for claim in ("iss", "aud", "sub", "exp")),
            ("a token without scope", token(without="scope"), 403),
        ]
        server.shutdown()


def status(port, token):
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/hello", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, ""
    except urllib.error.HTTPError as error:
        return error.code, error.headers.get("WWW-Authenticate", "")


def main():
    regrant, js, node, rust = (os.path.abspath(path) for path in sys.argv[1:5])
    code = blocks()
    passed = failed = 0

    def check(what, holds):
        nonlocal passed, failed
        passed, failed = passed + holds, failed + (not holds)
        print(f"{'ok    ' if holds else 'FAILED'} {what}")

    check("README.md prints what examples/protect_api.rs is", code["rust"] == (ROOT / "examples/protect_api.rs").read_text())
    with tempfile.TemporaryDirectory() as scratch:
        (pathlib.Path(scratch) / "api.py").write_text(code["python"])
        script = pathlib.Path(js) / "readme_api.mjs"
        script.write_text(code["js"])
        for make_tokens in (
            lambda: tokens_of_regrant(regrant, free_port(), scratch),
            lambda: tokens_of_a_sloppy_issuer(free_port()),
        ):
            with make_tokens() as (issuer, tokens), contextlib.ExitStack() as stack:
                ports = {name: free_port() for name in ("FastAPI", "Express", "poem")}
                uvicorn = [sys.executable, "-m", "uvicorn", "api:api", "--port", ports["FastAPI"]]
                commands = {
                    "FastAPI": (uvicorn, {}),
                    "Express": ([node, script], {"PORT": str(ports["Express"])}),
                    "poem": ([rust], {"LISTEN": f"127.0.0.1:{ports['poem']}"}),
                }
                for name, (command, environment) in commands.items():
                    stack.enter_context(running(name, command, ports[name], scratch, ISSUER=issuer, **environment))
                for name, port in ports.items():
                    for what, token, expected in tokens:
                        answer, challenge = status(port, token)
                        # RFC 6750 §3: a refusal says how to do it right.
                        right = answer == expected and (expected == 200 or challenge.startswith("Bearer"))
                        instead = "" if right else f", not {answer} {challenge}"
                        check(f"{name} answers {what} with {expected}{instead}", right)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
