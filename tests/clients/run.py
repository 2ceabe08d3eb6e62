"""Runs OAuth client libraries against a server started by `regrant dev`, side by side, and counts what they say.

Usage: run.py BASE_URL JS_FOLDER NODE RUST_PROGRAM

JS_FOLDER holds copies of `js/` beside its `node_modules`. This interpreter has the Python libraries.
"""

import os
import pathlib
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
DEADLINE_SECONDS = 150
# Each library makes at least these calls.
CALLS = [
    "discovery",
    "password",
    "refresh_token",
    "client_credentials",
    "code + PKCE",
    "code + PKCE, public",
    "device",
    "introspect",
    "revoke",
]


class Program(threading.Thread):
    """One library's program, run while the others run: a device waits between its polls."""

    def __init__(self, library, command, base_url):
        super().__init__()
        self.library, self.command = library, [*command, base_url]
        self.calls, self.noise, self.seconds = [], [], 0.0

    def run(self):
        began = time.monotonic()
        environment = {**os.environ, "PYTHON": sys.executable, "USER_AGENT": str(HERE / "user_agent.py")}
        try:
            run = subprocess.run(
                self.command, capture_output=True, text=True, env=environment, timeout=DEADLINE_SECONDS, check=False
            )
            lines, self.noise = run.stdout.splitlines(), run.stderr.splitlines()
            if run.returncode != 0:
                self.noise.append(f"exit status {run.returncode}")
        except subprocess.TimeoutExpired as error:
            lines, self.noise = (error.stdout or b"").decode().splitlines(), [str(error)]
        except OSError as error:
            lines, self.noise = [], [str(error)]
        self.seconds = time.monotonic() - began
        self.calls = [line.split("\t") for line in lines if line.count("\t") == 4]
        self.noise += [line for line in lines if line.count("\t") != 4]

    def results(self):
        """The calls, and a failure for each that the program never came to."""
        made = {call[3] for call in self.calls}
        version = self.calls[0][2] if self.calls else "?"
        return self.calls + [
            ["FAILED", self.library, version, call, "the program never came to it"] for call in CALLS if call not in made
        ]


def main():
    base_url, js, node, rust = sys.argv[1].rstrip("/"), *sys.argv[2:5]
    programs = [
        Program("openid-client", [node, f"{js}/openid_client.js"], base_url),
        Program("oauth4webapi", [node, f"{js}/oauth4webapi.js"], base_url),
        Program("Authlib", [sys.executable, HERE / "python/authlib_client.py"], base_url),
        Program("requests-oauthlib", [sys.executable, HERE / "python/requests_oauthlib_client.py"], base_url),
        Program("oauth2", [rust], base_url),
    ]
    for program in programs:
        program.start()
    table = []
    for program in programs:
        program.join()
        results = program.results()
        for status, library, version, call, detail in results:
            print(f"{status:<7} {library} {version}  {call}" + (f": {detail}" if detail else ""))
        # A call that the metadata does not offer has failed, too.
        failed = [call for call in results if call[0] != "ok"]
        if failed:
            print(*program.noise[-30:], sep="\n")
        table.append((program.library, results[0][2], len(results) - len(failed), len(failed), program.seconds))
    print(f"\n{'library':<20}{'version':<10}{'calls passed':>13}{'failed':>8}{'seconds':>9}")
    for library, version, passed, failed, seconds in table:
        print(f"{library:<20}{version:<10}{passed:>13}{failed:>8}{seconds:>9.1f}")
    passed, failed = sum(row[2] for row in table), sum(row[3] for row in table)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
