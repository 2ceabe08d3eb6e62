#!/usr/bin/env python3
"""Attacks a server of its own and prints what others notice of it.

    cargo build --release && benches/attack.py idle      # 10,000 idle connections and 200 clients of one byte a second
    cargo build --release && benches/attack.py flood     # 64 workers that guess passwords for a minute

`--binary FILE` is the server, `--seconds N` the length of the attack. It needs 10,500 open files for `idle`, and nothing but
Python 3.
"""

import argparse
import asyncio
import base64
import multiprocessing
import os
import random
import re
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from urllib.parse import quote, urlencode

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PASSWORD = "a good password"
FORM = "application/x-www-form-urlencoded"


class Server:
    """A server of its own: embedded store, a client, users."""

    def __init__(self, binary, **settings):
        self.folder = tempfile.TemporaryDirectory()
        with socket.socket() as public, socket.socket() as management:
            public.bind(("127.0.0.1", 0))
            management.bind(("127.0.0.1", 0))
            self.port, self.management = public.getsockname()[1], management.getsockname()[1]
        secret = base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip("=")
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("REGRANT_")},
            "REGRANT_ISSUER": f"http://127.0.0.1:{self.port}",
            "REGRANT_LISTEN": f"127.0.0.1:{self.port}",
            "REGRANT_MANAGEMENT_LISTEN": f"127.0.0.1:{self.management}",
            "REGRANT_STORE": f"sqlite:{self.folder.name}/regrant.db",
            "REGRANT_SECRET": secret,
            "RUST_LOG": "error",
            **settings,
        }
        self.binary = binary
        create = ["client", "create", "--id", "app", "--type", "public", "--scope", "read"]
        self.run([*create, "--grant-types", "password,refresh_token"])
        for user in ("anna", "bob"):
            self.run(["user", "create", "--username", user, "--password-stdin"], PASSWORD + "\n")
        self.process = subprocess.Popen([binary, "serve", "--init-keys"], env=self.environment)
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", self.management)).close()
                return
            except OSError:
                time.sleep(0.05)
        sys.exit("the server did not start")

    def run(self, arguments, text=None):
        command = [self.binary, *arguments]
        subprocess.run(command, env=self.environment, input=text, text=True, check=True, stdout=subprocess.DEVNULL)

    def status(self, name):
        with open(f"/proc/{self.process.pid}/status") as status:
            return int(re.search(rf"{name}:\s+(\d+)", status.read())[1])

    def rss(self):
        """MiB."""
        return self.status("VmRSS") / 1024

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.folder.cleanup()


class Client:
    """One connection, kept alive."""

    def __init__(self, server):
        self.server = server
        self.reader = self.writer = None

    async def connect(self):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.server.port)

    async def send(self, method, path, body="", **headers):
        """Status, headers in lower case, body."""
        if self.writer is None:
            await self.connect()
        headers = {"Host": "localhost", "Content-Length": str(len(body)), **headers}
        head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        try:
            self.writer.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n{body}".encode())
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        except (ConnectionError, asyncio.IncompleteReadError):
            self.writer = None
            raise
        lines = head.split("\r\n")
        found = [line.split(": ", 1) for line in lines[1:] if line]
        length = next(int(value) for name, value in found if name == "content-length")
        text = (await self.reader.readexactly(length)).decode()
        return int(lines[0].split()[1]), [(name.lower(), value) for name, value in found], text

    async def token(self, form, **headers):
        return await self.send("POST", "/oauth2/token", urlencode({"client_id": "app", **form}), Content_Type=FORM, **headers)


def token_in(text):
    return re.search(r'"refresh_token":"([^"]+)"', text)[1]


class Refreshing:
    """Clients that refresh, four times a second each, and note how long it took."""

    def __init__(self, server, clients):
        self.server, self.clients, self.times, self.failures, self.tasks = server, clients, [], Counter(), []

    async def start(self):
        for _ in range(self.clients):
            client = Client(self.server)
            login = {"grant_type": "password", "username": "bob", "password": PASSWORD}
            status, _, text = await client.token(login, X_Forwarded_For="192.0.2.1")
            assert status == 200, text
            self.tasks.append(asyncio.create_task(self.refresh(client, token_in(text))))

    async def refresh(self, client, token):
        while True:
            began = time.perf_counter()
            try:
                status, _, text = await client.token({"grant_type": "refresh_token", "refresh_token": token})
            except (ConnectionError, asyncio.IncompleteReadError) as error:
                self.failures[type(error).__name__] += 1
                continue
            self.times.append(time.perf_counter() - began)
            if status == 200:
                token = token_in(text)
            else:
                self.failures[status] += 1
            await asyncio.sleep(random.uniform(0.2, 0.3))

    def report(self, when):
        times, self.times = sorted(self.times), []
        at = lambda share: 1000 * times[min(int(share * len(times)), len(times) - 1)]
        print(
            f"{when:>8}: {len(times):6} refreshes, {sum(self.failures.values())} failed; "
            f"p50 {at(0.5):6.2f} ms, p99 {at(0.99):6.2f} ms, slowest {times[-1] * 1000:6.1f} ms; "
            f"server {self.server.rss():6.1f} MiB"
        )
        return at(0.99)


class Address:
    """What a `Client` needs to know of a server in another process."""

    def __init__(self, port):
        self.port = port


async def idle_and_slow(port, pipe):
    """10,000 connections that ask once and idle, and 200 clients of one byte a second, until told to count and to close."""

    async def hold():
        client = Client(Address(port))
        await client.connect()
        await client.send("GET", "/nothing")
        return client

    began, held = time.perf_counter(), []
    while len(held) < 10_000:
        held += await asyncio.gather(*(hold() for _ in range(50)))
    pipe.send(f"10,000 connections were opened and asked once in {time.perf_counter() - began:.1f} s")
    statuses = Counter()

    async def drip():
        await asyncio.sleep(random.random())
        while True:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            start = f"POST /oauth2/token HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\nContent-Length: 900\r\n\r\n"
            body = random.random() < 0.5
            rest = start if body else start[:40]
            writer.write(rest.encode())
            answer = asyncio.create_task(reader.read(12))
            while not answer.done():
                writer.write(b"a")
                await asyncio.wait([answer], timeout=1)
            try:
                statuses[("body " if body else "header ") + (answer.result().decode()[9:] or "closed")] += 1
            except ConnectionError:
                statuses["reset"] += 1
            writer.close()

    drips = [asyncio.create_task(drip()) for _ in range(200)]
    await asyncio.to_thread(pipe.recv)
    pipe.send((sum(not client.reader.at_eof() for client in held), dict(statuses)))
    await asyncio.to_thread(pipe.recv)
    for task in drips:
        task.cancel()
    for client in held:
        client.writer.close()
    await asyncio.sleep(1)


def attacker(port, pipe):
    asyncio.run(idle_and_slow(port, pipe))


async def idle(server, seconds):
    others = Refreshing(server, 40)
    await others.start()
    await asyncio.sleep(3)
    others.report("warm-up")
    await asyncio.sleep(seconds)
    before, memory = others.report("before"), server.rss()

    # In a process of its own, so that its work does not count as the server's.
    processes = multiprocessing.get_context("spawn")
    pipe, theirs = processes.Pipe()
    attack = processes.Process(target=attacker, args=(server.port, theirs))
    attack.start()
    print(await asyncio.to_thread(pipe.recv))
    others.report("meanwhile")
    await asyncio.sleep(seconds)
    during = others.report("during")
    pipe.send("count")
    still, statuses = await asyncio.to_thread(pipe.recv)
    each = (server.rss() - memory) * 1024 / 10_200
    print(f"still connected: {still}; {each:.1f} KiB for each connection; slow clients ended: {statuses}")
    pipe.send("close")
    await asyncio.to_thread(attack.join)
    others.report("closing")
    await asyncio.sleep(seconds)
    others.report("after")
    print(f"p99 during / before: {during / before:.2f}")


async def flood(server, seconds):
    others = Refreshing(server, 40)
    await others.start()
    owner = Client(server)
    home = {"X_Forwarded_For": "198.51.100.7"}
    cookies = {}

    async def sign_in(cookies):
        status, headers, page = await owner.send("GET", "/login", Cookie=jar(cookies), **home)
        keep(cookies, headers)
        form = {"form_token": re.search(r'name="form_token" value="([^"]+)"', page)[1]}
        form |= {"username": "anna", "password": PASSWORD}
        action = re.search(r'<form method="post" action="([^"]+)"', page)[1].replace("&amp;", "&")
        status, headers, _ = await owner.send(
            "POST", action, urlencode(form), Cookie=jar(cookies), Content_Type=FORM, Origin=server.environment["REGRANT_ISSUER"], **home
        )
        keep(cookies, headers)
        return status

    jar = lambda cookies: "; ".join(f"{name}={value}" for name, value in cookies.items())

    def keep(cookies, headers):
        for name, value in headers:
            if name == "set-cookie":
                name, value = value.split(";")[0].split("=", 1)
                cookies[name] = value

    assert await sign_in(cookies) == 303
    device = {"__Host-regrant-device": cookies["__Host-regrant-device"]}
    await asyncio.sleep(10)
    others.report("before")
    answers, memory, signed_in = Counter(), [], Counter()
    end = time.perf_counter() + seconds

    async def guess(worker):
        client = Client(server)
        while time.perf_counter() < end:
            known = worker % 2 == 0
            form = {
                "grant_type": "password",
                "username": "anna" if known else f"nobody-{random.getrandbits(48)}",
                "password": f"wrong-{random.getrandbits(48)}",
            }
            address = ".".join(str(random.randrange(1, 255)) for _ in range(4))
            try:
                status, _, _ = await client.token(form, X_Forwarded_For=address)
                answers[("known" if known else "unknown", status)] += 1
            except (ConnectionError, asyncio.IncompleteReadError):
                answers["closed"] += 1

    workers = [asyncio.create_task(guess(number)) for number in range(64)]
    while time.perf_counter() < end:
        await asyncio.sleep(min(5, seconds / 4))
        memory.append(server.rss())
        began = time.perf_counter()
        # From the device that she signed in on before; 503 means that she presses the button again.
        signed_in[await sign_in(dict(device))] += 1
        print(f"  {seconds - (end - time.perf_counter()):5.1f} s: server {memory[-1]:.1f} MiB, the owner signed in after {1000 * (time.perf_counter() - began):.0f} ms")
    await asyncio.gather(*workers)
    others.report("during")
    print("guesses:", ", ".join(f"{kind}: {count}" for kind, count in sorted(answers.items(), key=str)))
    print(f"memory: {min(memory):.1f} to {max(memory):.1f} MiB, last {memory[-1]:.1f}; the owner's sign-ins (303 is success): {dict(signed_in)}")
    await asyncio.sleep(5)
    others.report("after")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("attack", choices=["idle", "flood"])
    parser.add_argument("--binary", default=os.path.join(ROOT, "target/release/regrant"))
    parser.add_argument("--seconds", type=int, default=0)
    arguments = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    attack, seconds = {"idle": (idle, 20), "flood": (flood, 60)}[arguments.attack]
    server = Server(arguments.binary, REGRANT_TRUSTED_PROXIES="127.0.0.1")
    try:
        asyncio.run(attack(server, arguments.seconds or seconds))
    finally:
        server.stop()


if __name__ == "__main__":
    main()
