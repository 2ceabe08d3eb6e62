"""Prints one line a call, for run.py to count: status, library, version, call, detail, separated by tabs."""

import importlib.metadata
import json
import pathlib
import subprocess
import sys
import urllib.request

DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
REDIRECT_URI = "http://127.0.0.1:9/callback"
USER_AGENT = str(pathlib.Path(__file__).resolve().parent.parent / "user_agent.py")


class Report:
    def __init__(self, library):
        self.library, self.version = library, importlib.metadata.version(library)

    def call(self, name, offered, run):
        status, detail = "ok", ""
        if offered:
            try:
                run()
            except Exception as error:  # Whatever a library raises is what its user would see.
                status, detail = "FAILED", " ".join(f"{type(error).__name__}: {error}".split())
        else:
            status, detail = "missing", "not offered by this server"
        print(status, self.library, self.version, name, detail, sep="\t", flush=True)

    def calls(self, metadata, password, refresh, client_credentials, code, device, introspect, revoke):
        """Every call after the discovery, if the metadata offers it."""
        grants = metadata.get("grant_types_supported", [])
        has_code = "authorization_endpoint" in metadata and "authorization_code" in grants
        has_device = "device_authorization_endpoint" in metadata and DEVICE in grants
        self.call("password", "password" in grants, password)
        self.call("refresh_token", "refresh_token" in grants, refresh)
        self.call("client_credentials", "client_credentials" in grants, client_credentials)
        self.call("code + PKCE", has_code, lambda: code(public=False))
        self.call("code + PKCE, public", has_code, lambda: code(public=True))
        self.call("device", has_device, device)
        self.call("introspect", "introspection_endpoint" in metadata, introspect)
        self.call("revoke", "revocation_endpoint" in metadata, revoke)


def begin(library):
    """The first call: the metadata of the server that the command line names."""
    report, metadata = Report(library), {}
    report.call("discovery", True, lambda: metadata.update(discover(sys.argv[1].rstrip("/"))))
    return report, metadata


def check(holds, what):
    if not holds:
        raise AssertionError(f"it does not hold that {what}")


def discover(issuer):
    """RFC 8414 §3.1: the well-known path goes between the host and the issuer's own path, which is empty here."""
    with urllib.request.urlopen(f"{issuer}/.well-known/oauth-authorization-server", timeout=10) as response:
        metadata = json.load(response)
    check(metadata["issuer"] == issuer, "the issuer is where it was looked for")
    return metadata


def browser(*arguments):
    """The person with the browser."""
    run = subprocess.run([sys.executable, USER_AGENT, *arguments], capture_output=True, text=True, timeout=120)
    if run.returncode != 0:
        raise RuntimeError(f"the user agent: {run.stderr.strip().splitlines()[-1]}")
    return run.stdout.strip()
