#!/usr/bin/env python3
"""Authorizes an app in a real browser: signs in, consents, denies, is told of a wrong password, signs out.

    tests/browser/sign_in.py BASE_URL SCREENSHOT_DIR

BASE_URL is a running `regrant dev`. Needs the Debian packages chromium and chromium-driver (or their paths in CHROMIUM
and CHROMEDRIVER), axe-core in target/tools/axe (or its path in AXE_CORE), and nothing besides Python's standard library.
"""

import base64
import functools
import hashlib
import http.server
import json
import threading
import urllib.parse
import urllib.request

from webdriver import walk

USER, PASSWORD = "demo", "demo-password"
VERIFIER = "a-verifier-of-at-least-forty-three-characters"
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
SIGN_IN = "//input[@name='password']"
PROBLEM = "//p[@role='alert']"
ALLOW, DENY = "//button[@value='allow']", "//button[@value='deny']"
STATE = "a state & more=<é>"


class Callback(http.server.BaseHTTPRequestHandler):
    """The page of the app that the browser comes back to."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><html lang=en><link rel=icon href=data:,><title>App</title><h1>Back in the app</h1>")

    def log_message(self, *_):
        pass


def authorization_request(redirect_uri, **changes):
    parameters = {
        "response_type": "code",
        "client_id": "demo-public",
        "redirect_uri": redirect_uri,
        "scope": "profile read write",
        "state": STATE,
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }
    return "/oauth2/authorize?" + urllib.parse.urlencode({**parameters, **changes})


def answer(browser, redirect_uri):
    """The parameters that the browser brought to the app."""
    browser.until(lambda: browser.call("GET", "/url").startswith(redirect_uri), "the browser is back in the app")
    query = urllib.parse.urlsplit(browser.call("GET", "/url")).query
    return dict(urllib.parse.parse_qsl(query))


def sign_in(browser, password=PASSWORD):
    browser.wait(SIGN_IN, "the sign-in page")
    browser.fill("//input[@name='username']", USER)
    browser.fill(SIGN_IN, password)
    browser.click("//main//button")


def is_told_of_a_wrong_password(browser, checks, shots, app):
    browser.open(authorization_request(app))
    browser.wait(SIGN_IN, "the sign-in page")
    checks.that("the page says for which app", "Demo Browser App" in browser.text("//main"), browser.text("//main"))
    browser.accessibility(checks, "sign-in for an app")
    browser.photograph(shots, "sign-in-1", german=True)
    sign_in(browser, "wrong")
    browser.wait(PROBLEM, "the refusal")
    checks.that("a wrong password is told", "wrong" in browser.text(PROBLEM), browser.text(PROBLEM))
    checks.that("the name is still there", browser.value("//input[@name='username']") == USER)
    focused = browser.script("return document.activeElement.name")
    checks.that("the password has the focus", focused == "password", focused)
    browser.accessibility(checks, "wrong password")
    browser.photograph(shots, "sign-in-2-wrong-password")


def denies(browser, checks, shots, app):
    sign_in(browser)
    browser.wait(DENY, "the consent page")
    for shown in ("Demo Browser App", "See who you are", "Read your data", "Change your data", "demo", "127.0.0.1"):
        checks.that(f"the page shows {shown}", shown in browser.text("//main"), browser.text("//main"))
    browser.accessibility(checks, "consent")
    browser.photograph(shots, "sign-in-3-consent", german=True)
    browser.click(DENY)
    parameters = answer(browser, app)
    checks.that("the app is told of the denial", parameters.get("error") == "access_denied", parameters)
    checks.that("with its state", parameters.get("state") == STATE, parameters)
    checks.that("and the issuer", parameters.get("iss") == browser.base, parameters)


def token_request(browser, redirect_uri, code, **client):
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri, "code_verifier": VERIFIER}
    request = urllib.request.Request(browser.base + "/oauth2/token", urllib.parse.urlencode({**form, **client}).encode())
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as response:
        return json.load(response)


def consents_each_time(browser, checks, shots, app):
    """Any app on this machine can pass for one without a secret (RFC 8252 section 8.6)."""
    for _ in range(2):
        browser.open(authorization_request(app))
        browser.wait(ALLOW, "the consent page")
        checks.that("the page does not offer to remember", not browser.present("//input[@name='remember']"))
        browser.click(ALLOW)
        parameters = answer(browser, app)
        checks.that("the app gets a code", parameters.get("code", "").startswith("ac_"), parameters)
        tokens = token_request(browser, app, parameters.get("code", ""), client_id="demo-public")
        checks.that("the code becomes tokens", bool(tokens.get("access_token") and tokens.get("refresh_token")), tokens)


def consents_once(browser, checks, shots, app):
    request = authorization_request(app, client_id="demo")
    browser.open(request)
    browser.wait("//input[@name='remember']", "the offer to remember")
    browser.accessibility(checks, "consent that can be remembered")
    browser.photograph(shots, "sign-in-6-consent-to-remember")
    browser.click(ALLOW)
    parameters = answer(browser, app)
    secret = {"client_id": "demo", "client_secret": "demo-secret"}
    tokens = token_request(browser, app, parameters.get("code", ""), **secret)
    checks.that("the code becomes tokens for an app with a secret", bool(tokens.get("access_token")), tokens)
    browser.open(request)
    again = answer(browser, app)
    checks.that("the second time nothing is asked", again.get("code", "").startswith("ac_"), again)
    browser.open(authorization_request(app, client_id="demo", prompt="login"))
    sign_in(browser)
    again = answer(browser, app)
    checks.that("after a sign-in the form ends in the app", again.get("code", "").startswith("ac_"), again)


def shows_what_is_wrong(browser, checks, shots, app):
    browser.open(authorization_request("https://evil.example/"))
    browser.wait("//h1", "the error page")
    checks.that("a foreign address is not followed", browser.call("GET", "/url").startswith(browser.base))
    browser.accessibility(checks, "error")
    browser.photograph(shots, "sign-in-4-error")


def finds_nothing(browser, checks, shots, app):
    browser.open("/nothing-here")
    browser.wait("//h1", "the page")
    checks.that("an address where nothing is says so", browser.text("//h1") == "There is no such page", browser.text("//h1"))
    browser.accessibility(checks, "not found")
    browser.photograph(shots, "sign-in-7-not-found", german=True)


def signs_out(browser, checks, shots, app):
    browser.open("/logout")
    browser.wait("//main//button", "the question")
    browser.accessibility(checks, "sign-out")
    browser.photograph(shots, "sign-in-5-sign-out", german=True)
    browser.click("//main//button")
    browser.wait("//main//a", "the answer")
    checks.that("signed out", "signed out" in browser.text("//h1"), browser.text("//h1"))
    browser.photograph(shots, "sign-in-8-signed-out")
    browser.open(authorization_request(app))
    checks.that("nobody is signed in any more", bool(browser.wait(SIGN_IN, "the sign-in page")))


def stayed_quiet(browser, checks, shots, app):
    # Chromium reports the status of an error page; that was meant.
    messages = [entry["message"] for entry in browser.log("browser") if entry["level"] in ("SEVERE", "WARNING")]
    console = [message for message in messages if "responded with a status of 40" not in message]
    checks.that("the console has no errors and no CSP violations", not console, "\n".join(console))


STEPS = [
    is_told_of_a_wrong_password,
    denies,
    consents_each_time,
    consents_once,
    shows_what_is_wrong,
    finds_nothing,
    signs_out,
    stayed_quiet,
]


if __name__ == "__main__":
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Callback) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        app = f"http://127.0.0.1:{server.server_address[1]}/callback"
        try:
            walk(__doc__, [functools.update_wrapper(functools.partial(step, app=app), step) for step in STEPS])
        finally:
            server.shutdown()
