#!/usr/bin/env python3
"""Signs in to the cookie mode demo in a real browser, and refreshes in two tabs at the same moment, 200 times.

    tests/browser/cookie_demo.py BASE_URL SCREENSHOT_DIR

BASE_URL is a running `regrant dev`. Needs the Debian packages chromium and chromium-driver (or their paths in CHROMIUM
and CHROMEDRIVER), axe-core in target/tools/axe (or its path in AXE_CORE), and nothing besides Python's standard library.
"""

import base64
import hashlib
import json

from webdriver import walk

USER, PASSWORD = "demo", "demo-password"
CLIENT = "demo-public"
COOKIE = "__Host-rt-" + hashlib.sha256(CLIENT.encode()).hexdigest()[:8]
ROUNDS = 200
LATENCY_MS = 60

SIGN_IN = "//button[@id='sign-in-button']"
SIGNED_IN = "//section[@id='signed-in' and not(@hidden)]"
SIGNED_OUT = "//section[@id='signed-out' and not(@hidden)]"
NOTICE = "//*[@id='notice']/p"

# Both tabs refresh the moment the signal comes, without the demo's lock: the server alone keeps them together.
LISTEN = """
window.rounds = [];
window.signal = new BroadcastChannel("test");
window.signal.onmessage = async ({ data: round }) => {
  const answer = await fetch("/session/refresh", {
    method: "POST",
    headers: { "X-Requested-By": "oauth" },
    body: new URLSearchParams({ client_id: arguments_client }),
  });
  const body = await answer.json();
  window.rounds[round] = { status: answer.status, token: body.access_token, text: JSON.stringify(body) };
};
""".replace("arguments_client", json.dumps(CLIENT))


def sign_in(browser, password=PASSWORD):
    browser.fill("//input[@id='username']", USER)
    browser.fill("//input[@id='password']", password)
    browser.click(SIGN_IN)


def cookies(browser):
    """What the browser keeps, HttpOnly or not: a driver sees what no script does."""
    return {cookie["name"]: cookie for cookie in browser.call("GET", "/cookie")}


def claims(token):
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


def events(browser):
    return browser.script("return [...document.querySelectorAll('#events li')].map((item) => item.lastChild.textContent)")


def starts_signed_out(browser, checks, shots):
    browser.open("/demo")
    browser.wait(SIGNED_OUT, "the sign-in form")
    browser.accessibility(checks, "demo, signed out")
    browser.photograph(shots, "demo-1-signed-out")
    sign_in(browser, "wrong")
    browser.wait(NOTICE, "the refusal")
    checks.that("a wrong password is refused in words", "wrong" in browser.text(NOTICE), browser.text(NOTICE))
    checks.that("and sets no cookie", COOKIE not in cookies(browser), cookies(browser))
    browser.photograph(shots, "demo-2-wrong-password")


def signs_in(browser, checks, shots):
    sign_in(browser)
    browser.wait(SIGNED_IN, "the session")
    browser.accessibility(checks, "demo, signed in")
    cookie = cookies(browser).get(COOKIE, {})
    wanted = {"httpOnly": True, "secure": True, "sameSite": "Strict", "path": "/"}
    found = {name: cookie.get(name) for name in wanted}
    checks.that("the refresh token is in a __Host- cookie with every attribute", found == wanted, found)
    checks.that("the cookie is this host's alone", cookie.get("domain") == "127.0.0.1", cookie.get("domain"))
    checks.that("document.cookie does not show it", browser.script("return document.cookie") == "")
    stores_no_token(browser, checks)
    shown = browser.text("//*[@id='claims']")
    checks.that("the claims are shown", CLIENT in shown and "profile read write" in shown, shown)
    browser.photograph(shots, "demo-3-signed-in")


def stores_no_token(browser, checks):
    stored = browser.script("return JSON.stringify([{...localStorage}, {...sessionStorage}])")
    checks.that("no token is in the browser's storage", "rt_" not in stored and "eyJ" not in stored, stored)


def survives_a_reload(browser, checks, shots):
    before = cookies(browser)[COOKIE]["value"]
    browser.open("/demo")
    browser.wait(SIGNED_IN, "the session after a reload")
    checks.that("a reload finds the session again", "Found the session again" in events(browser)[0], events(browser))
    checks.that("and rotates the cookie", cookies(browser)[COOKIE]["value"] != before)


def second_tab(browser):
    """Opens the demo in a second tab, with the demo's own link, and returns both handles."""
    first = browser.window()
    browser.click("//a[@target='_blank']")
    browser.until(lambda: len(browser.call("GET", "/window/handles")) == 2, "the second tab")
    second = next(handle for handle in browser.call("GET", "/window/handles") if handle != first)
    browser.switch(second)
    browser.wait(SIGNED_IN, "the session in the second tab")
    return first, second


def two_tabs_share_one_session(browser, checks, shots):
    first, second = second_tab(browser)
    shared = events(browser)[-1]
    checks.that("a second tab gets the access token from the first", shared.startswith("Another tab"), shared)
    browser.click("//button[@id='refresh']")
    browser.until(lambda: events(browser)[0] == "Refreshed", "the second tab has refreshed")
    browser.switch(first)
    browser.until(lambda: events(browser)[0] == "Another tab: refreshed", "the first tab has heard of it")
    tokens = []
    for handle in (first, second):
        browser.switch(handle)
        tokens.append(browser.text("//*[@id='claims']"))
    checks.that("both tabs show the same token", tokens[0] == tokens[1], tokens)


def refreshes_in_both_tabs_at_once(browser, checks, shots):
    handles = browser.call("GET", "/window/handles")
    for handle in handles:
        browser.switch(handle)
        browser.script(LISTEN)
        # Both requests are on their way before the first answer is seen, as between a browser and a distant server.
        network(browser, latency=LATENCY_MS)
    statuses, together, texts, values = [], 0, [], set()
    for number in range(ROUNDS):
        # The tab that sends a signal doesn't hear it, so it is told by itself, in the same turn.
        browser.script("const channel = new BroadcastChannel('test'); channel.postMessage(arguments[0]); channel.close()", number)
        answers = []
        for handle in handles:
            browser.switch(handle)
            answers.append(browser.until(lambda: browser.script("return window.rounds[arguments[0]]", number), f"round {number}"))
        statuses += [answer["status"] for answer in answers]
        together += len({claims(answer["token"])["jti"] for answer in answers}) == 1
        texts += [answer["text"] for answer in answers]
        values.add(cookies(browser)[COOKIE]["value"])
    checks.that(f"{ROUNDS} times two refreshes at the same moment: no logout", statuses == [200] * (2 * ROUNDS), statuses)
    # The rest came one after the other, because a busy machine woke the second tab late.
    print(f"     in {together} rounds both tabs got the very same token")
    checks.that("tabs that refresh together get the same token", together > ROUNDS / 2, together)
    checks.that("and the browser one new cookie each time", len(values) == ROUNDS, len(values))
    names = [name for name in cookies(browser) if name.startswith("__Host-rt-")]
    checks.that("there is one cookie", names == [COOKIE], names)
    checks.that("no answer let a script read the refresh token", not any("refresh_token" in text for text in texts))
    for handle in handles:
        browser.switch(handle)
        network(browser)
        checks.that("document.cookie is empty", browser.script("return document.cookie") == "")
        stores_no_token(browser, checks)
        browser.open("/demo")
        checks.that("the tab is still signed in", bool(browser.wait(SIGNED_IN, "the session")))


def logs_out_in_both_tabs(browser, checks, shots):
    first, second = browser.call("GET", "/window/handles")
    browser.switch(second)
    browser.click("//button[@id='sign-out']")
    browser.wait(SIGNED_OUT, "the sign-in form")
    checks.that("a logout says so", browser.text(NOTICE) == "You are signed out.", browser.text(NOTICE))
    checks.that("and deletes the cookie", COOKIE not in cookies(browser), cookies(browser))
    browser.photograph(shots, "demo-4-signed-out")
    browser.switch(first)
    browser.wait(SIGNED_OUT, "the sign-in form in the other tab")
    browser.open("/demo")
    checks.that("a reload finds nothing", bool(browser.wait(SIGNED_OUT, "the sign-in form")))


def recovers_after_a_lost_network(browser, checks, shots):
    sign_in(browser)
    browser.wait(SIGNED_IN, "the session")
    network(browser, offline=True)
    browser.click("//button[@id='refresh']")
    browser.until(lambda: events(browser)[0].startswith("No answer"), "the network error")
    checks.that("without a network the session stays", browser.present(SIGNED_IN))
    network(browser)
    browser.until(lambda: events(browser)[0] == "Refreshed silently", "the same refresh again")
    checks.that("the same refresh is sent again", True)


def network(browser, offline=False, latency=0):
    browser.call("POST", "/goog/cdp/execute", {"cmd": "Network.enable", "params": {}})
    conditions = {"offline": offline, "latency": latency, "downloadThroughput": -1, "uploadThroughput": -1}
    browser.call("POST", "/goog/cdp/execute", {"cmd": "Network.emulateNetworkConditions", "params": conditions})


def stayed_quiet(browser, checks, shots):
    # Chromium reports each refused request and each lost connection; those were meant.
    meant = ("the server responded with a status of 400", "net::ERR_INTERNET_DISCONNECTED")
    messages = [entry["message"] for entry in browser.log("browser") if entry["level"] in ("SEVERE", "WARNING")]
    console = [message for message in messages if not any(text in message for text in meant)]
    checks.that("the console has no errors and no CSP violations", not console, "\n".join(console))


STEPS = [
    starts_signed_out,
    signs_in,
    survives_a_reload,
    two_tabs_share_one_session,
    refreshes_in_both_tabs_at_once,
    logs_out_in_both_tabs,
    recovers_after_a_lost_network,
    stayed_quiet,
]

if __name__ == "__main__":
    walk(__doc__, STEPS)
