#!/usr/bin/env python3
"""Stands before a server and loses one answer in ten: the request arrives, the connection ends without a response.

Usage: lossy_proxy.py SERVER_URL. Prints its own URL. GET /-/seen tells what it saw, as JSON."""

import http.client
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

ONE_IN = 10
# What the server is told of the client's request.
KEPT = ("accept", "authorization", "content-type")


class Seen:
    def __init__(self):
        self.lock = threading.Lock()
        self.refreshes = 0
        self.lost = 0
        self.tokens = set()

    def refresh(self, token):
        """Counts a refresh. Says whether its answer is to be lost."""
        with self.lock:
            self.refreshes += 1
            self.tokens.add(token)
            lose = self.refreshes % ONE_IN == 0
            self.lost += lose
            return lose

    def report(self):
        with self.lock:
            return {"refreshes": self.refreshes, "lost": self.lost, "tokens": len(self.tokens)}


class Proxy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    upstream = ""
    seen = Seen()

    def do_GET(self):
        self.answer(200, [("Content-Type", "application/json")], json.dumps(self.seen.report()).encode())

    def do_POST(self):
        body = self.body()
        connection = http.client.HTTPConnection(self.upstream, timeout=30)
        headers = {name: value for name, value in self.headers.items() if name.lower() in KEPT}
        connection.request("POST", self.path, body, headers)
        response = connection.getresponse()
        content = response.read()
        connection.close()
        form = parse_qs(body.decode())
        if form.get("grant_type") == ["refresh_token"] and self.seen.refresh(form["refresh_token"][0]):
            self.close_connection = True
            return
        kept = [(name, value) for name, value in response.getheaders() if name.lower() in ("content-type", "retry-after")]
        self.answer(response.status, kept, content)

    def body(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers["Content-Length"]))
        # Java's client sends a form of unknown length.
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def answer(self, status, headers, content):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    Proxy.upstream = urlsplit(sys.argv[1]).netloc
    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
