"""A browser under test: the W3C WebDriver protocol, spoken to chromedriver with Python's standard library."""

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from socket import socket

DEADLINE_SECONDS = 20
POLL_SECONDS = 0.05
# The key under which WebDriver passes element references (https://www.w3.org/TR/webdriver2/#elements).
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
# Control+A, then all modifiers released (https://www.w3.org/TR/webdriver2/#keyboard-actions).
SELECT_ALL = "\ue009a\ue000"
BACKSPACE = "\ue003"


# `npm ci` in target/tools/axe has put it there; see tests/run.
AXE = Path(
    os.environ.get("AXE_CORE", Path(__file__).parents[2] / "target/tools/axe/node_modules/axe-core/axe.min.js")
)
RUN_AXE = """
const done = arguments[arguments.length - 1];
axe.run(document, { resultTypes: ["violations"] }).then(
  (results) => done(results.violations.map(({ id, help, nodes }) => ({ id, help, at: nodes.map((node) => node.html) }))),
  (error) => done([{ id: "failed", help: String(error) }]),
);
"""


class WaitFailed(Exception):
    """A condition did not come true before the deadline, or an element is missing."""


class WebDriverError(Exception):
    """chromedriver refused a command."""

    def __init__(self, code, message):
        super().__init__(f"{code}: {message.splitlines()[0] if message else ''}")
        self.code = code


class Checks:
    """Counts and prints what was asserted."""

    def __init__(self):
        self.passed = self.failed = 0

    def that(self, claim, holds, detail=""):
        if holds:
            self.passed += 1
            print(f"ok   {claim}")
        else:
            self.failed += 1
            print(f"FAIL {claim}" + (f"\n     {detail}" if detail else ""))

    def summary(self):
        print(f"{self.passed} passed, {self.failed} failed")
        return 1 if self.failed or not self.passed else 0


def walk(usage, steps, recover=None):
    """What every check does: takes the arguments, starts a browser, and goes one step after the other. After a step that
    failed it ends, or goes on where `recover` leads."""
    if len(sys.argv) != 3:
        sys.exit(usage)
    began, shots, checks = time.monotonic(), Path(sys.argv[2]), Checks()
    shots.mkdir(parents=True, exist_ok=True)
    with Browser(
        sys.argv[1].rstrip("/"),
        os.environ.get("CHROMIUM", "/usr/bin/chromium"),
        os.environ.get("CHROMEDRIVER", "/usr/bin/chromedriver"),
    ) as browser:
        for step in steps:
            try:
                step(browser, checks, shots)
            except WaitFailed as failed:
                checks.that(step.__name__, False, str(failed))
                browser.screenshot(shots / f"failed-{step.__name__}.png")
                if recover is None:
                    break
                recover(browser)
    print(f"{time.monotonic() - began:.0f} s")
    sys.exit(checks.summary())


class Browser:
    """One headless Chromium with a profile of its own."""

    def __init__(self, base, chromium, chromedriver):
        self.base = base
        self.chromium = chromium
        self.chromedriver = chromedriver
        self.seen = []
        self.session = None

    def __enter__(self):
        self.profile = tempfile.mkdtemp(prefix="regrant-browser-")
        with socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.driver = subprocess.Popen(
            [self.chromedriver, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            self.until(self._driver_is_ready, "chromedriver is ready")
            self.session = self._new_session()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        try:
            if self.session:
                self.call("DELETE", "")
        finally:
            self.driver.terminate()
            self.driver.wait()
            shutil.rmtree(self.profile, ignore_errors=True)

    def _driver_is_ready(self):
        if self.driver.poll() is not None:
            raise WaitFailed("chromedriver ended at once")
        try:
            return self._http("GET", "/status")["ready"]
        except OSError:
            return False

    def _new_session(self):
        flags = [
            "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--disable-dev-shm-usage", "--window-size=1280,900", f"--user-data-dir={self.profile}",
        ]  # fmt: skip
        capabilities = {
            "browserName": "chrome",
            "goog:chromeOptions": {"binary": self.chromium, "args": flags},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        answer = self._http("POST", "/session", {"capabilities": {"alwaysMatch": capabilities}})
        return answer["sessionId"]

    def _http(self, method, path, body=None):
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, content, {"Content-Type": "application/json"}, method=method)
        # No proxy from the environment may come between the test and its own driver.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=60) as response:
                return json.load(response)["value"]
        except urllib.error.HTTPError as refused:
            value = json.load(refused)["value"]
            raise WebDriverError(value["error"], value["message"]) from None

    def call(self, method, path, body=None):
        return self._http(method, f"/session/{self.session}{path}", body)

    # Waiting

    def until(self, condition, what):
        """Polls until the condition holds; an element that React replaced meanwhile counts as not yet."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        last = None
        while time.monotonic() < deadline:
            try:
                result = condition()
                if result:
                    return result
            except WebDriverError as error:
                last = error
            time.sleep(POLL_SECONDS)
        raise WaitFailed(f"not within {DEADLINE_SECONDS} s: {what}" + (f" ({last})" if last else ""))

    def wait(self, xpath, what):
        return self.until(lambda: self.find_all(xpath), what)[0]

    def wait_gone(self, xpath, what):
        self.until(lambda: not self.find_all(xpath), what)

    # Looking

    def find_all(self, xpath):
        found = self.call("POST", "/elements", {"using": "xpath", "value": xpath})
        # A window that is just closing answers null.
        return [element[ELEMENT] for element in found or []]

    def present(self, xpath):
        return bool(self.find_all(xpath))

    def text(self, xpath, missing=None):
        if missing is not None and not self.present(xpath):
            return missing
        element = self.wait(xpath, f"text of {xpath}")
        return self.call("GET", f"/element/{element}/text")

    def value(self, xpath):
        return self.call("GET", f"/element/{self.wait(xpath, xpath)}/property/value")

    def attributes(self, xpath, name):
        found = [self.call("GET", f"/element/{element}/attribute/{name}") for element in self.find_all(xpath)]
        return [value for value in found if value]

    def screenshot(self, path):
        path.write_bytes(base64.b64decode(self.call("GET", "/screenshot")))

    def photograph(self, shots, name, german=False):
        """The whole page on a desktop and on a phone, light and dark; on request, loaded again, in German as well."""
        for language in ("en", "de") if german else ("en",):
            if german:
                self.read_in(language)
            for device, width, height in (("desktop", 1280, 800), ("phone", 390, 844)):
                self.resize(width, height)
                self.resize(width, max(height, self.script("return document.documentElement.scrollHeight")))
                for scheme in ("light", "dark"):
                    self.emulate(scheme)
                    self.screenshot(shots / f"{name}-{device}-{scheme}{'-de' if language == 'de' else ''}.png")
        if german:
            self.read_in("en")
        self.emulate("light")
        self.call("POST", "/goog/cdp/execute", {"cmd": "Emulation.clearDeviceMetricsOverride", "params": {}})

    def sticks_out(self):
        """Whether the page is wider than a phone."""
        self.resize(390, 844)
        wide = self.script("return document.documentElement.scrollWidth > document.documentElement.clientWidth")
        self.call("POST", "/goog/cdp/execute", {"cmd": "Emulation.clearDeviceMetricsOverride", "params": {}})
        return wide

    def log(self, kind):
        return self.call("POST", "/se/log", {"type": kind})

    def requested(self):
        """The URL of every request so far, from DevTools' network events."""
        for entry in self.log("performance"):
            event = json.loads(entry["message"])["message"]
            if event["method"] == "Network.requestWillBeSent":
                self.seen.append(event["params"]["request"]["url"])
        return self.seen

    def accessibility(self, checks, page):
        """Checks the page with axe-core, at WCAG 2.2 A and AA and its best practices, light and dark."""
        for scheme in ("light", "dark"):
            self.emulate(scheme)
            self.script(AXE.read_text())
            found = self.call("POST", "/execute/async", {"script": RUN_AXE, "args": []})
            checks.that(f"axe-core finds nothing wrong: {page}, {scheme}", not found, json.dumps(found, indent=1))
        self.emulate("light")

    # Acting

    def open(self, path):
        self.call("POST", "/url", {"url": self.base + path})

    def click(self, xpath):
        def attempt():
            for element in self.find_all(xpath)[:1]:
                self.click_element(element)
                return True
            return False

        self.until(attempt, f"click {xpath}")

    def click_element(self, element):
        self.call("POST", f"/element/{element}/click", {})

    def fill(self, xpath, text):
        def attempt():
            element = self.wait(xpath, f"to fill {xpath}")
            # Typed over, as a person does it: React doesn't notice when WebDriver clears a field.
            self.call("POST", f"/element/{element}/value", {"text": SELECT_ALL + BACKSPACE + text})
            return self.value(xpath) == text

        self.until(attempt, f"fill {xpath}")

    def select(self, xpath, value):
        self.wait(xpath, f"to select in {xpath}")
        self.click(f"{xpath}/option[@value='{value}']")
        self.until(lambda: self.value(xpath) == value, f"select {value}")

    def scroll_to(self, xpath):
        self.script("arguments[0].scrollIntoView({block: 'start'})", {ELEMENT: self.wait(xpath, xpath)})

    def script(self, source, *arguments):
        return self.call("POST", "/execute/sync", {"script": source, "args": list(arguments)})

    def resize(self, width, height):
        self.call("POST", "/goog/cdp/execute", {
            "cmd": "Emulation.setDeviceMetricsOverride",
            "params": {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": True},
        })  # fmt: skip

    def emulate(self, scheme):
        self.call("POST", "/goog/cdp/execute", {
            "cmd": "Emulation.setEmulatedMedia",
            "params": {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
        })  # fmt: skip

    def read_in(self, language):
        """Asks for another language, and for the page again."""
        headers = {"headers": {"Accept-Language": language}}
        self.call("POST", "/goog/cdp/execute", {"cmd": "Network.enable", "params": {}})
        self.call("POST", "/goog/cdp/execute", {"cmd": "Network.setExtraHTTPHeaders", "params": headers})
        self.call("POST", "/refresh", {})
        self.until(lambda: self.script("return document.documentElement.lang") == language, f"the page in {language}")

    # Windows

    def window(self):
        return self.call("GET", "/window")

    def only_window(self):
        """Whether all other windows are gone, or go before the deadline."""
        try:
            return self.until(lambda: len(self.call("GET", "/window/handles")) == 1, "other windows are closed")
        except WaitFailed:
            return False

    def switch(self, handle):
        self.call("POST", "/window", {"handle": handle})

    def pass_sign_in(self, main, username, password, shot, done):
        """Signs in and consents in whatever windows the click opened, until `done` shows in the main one."""
        pressed = None

        def step():
            nonlocal pressed
            self.switch(main)
            if self.present(done):
                return True
            others = [handle for handle in self.call("GET", "/window/handles") if handle != main]
            if others:
                try:
                    self.switch(others[0])
                    pressed = self._press_on(username, password, shot, pressed)
                except WebDriverError:
                    pass  # The window closed under us: that is how the flow ends.
            return False

        try:
            self.until(step, "sign-in and consent are passed")
        finally:
            self.switch(main)

    def _press_on(self, username, password, shot, pressed):
        """Fills in a sign-in form or presses the consent button, once per page."""
        buttons = self.find_all("//form//button[not(@value='deny') and (not(@type) or @type='submit')]")
        page = (self.call("GET", "/url"), self.call("GET", "/title"), tuple(buttons))
        if not buttons or page == pressed:
            return pressed
        self.screenshot(shot)
        if self.present("//input[@type='password']"):
            if self.present("//input[@name='username']"):
                self.fill("//input[@name='username']", username)
            self.fill("//input[@type='password']", password)
        self.click_element(buttons[0])
        return page
