#!/usr/bin/env python3
"""Administers a server in a real browser: reads the plots, looks a user up, revokes a grant, shuts a client out.

    tests/browser/admin.py BASE_URL SCREENSHOT_DIR

BASE_URL is a running `regrant dev`, whose user `demo` is an administrator. Needs the Debian packages chromium and
chromium-driver (or their paths in CHROMIUM and CHROMEDRIVER), axe-core in target/tools/axe (or its path in AXE_CORE), and
nothing besides Python's standard library.
"""

import base64
import json
import urllib.error
import urllib.parse
import urllib.request

from webdriver import walk

USER, PASSWORD = "demo", "demo-password"
DONE = "//p[@role='status']"
SIGN_IN = "//input[@name='password']"
PLOTS = "//figure[@class='plot']"
GRANTS = "//section[@aria-labelledby='grants-title']"


def button(value):
    return f"//button[@name='action' and @value='{value}']"


def ask_for_tokens(browser, client="demo", agent="okhttp/4.12.0", **form):
    """Asks for tokens as an app does, so that there is something to see; `None` when refused."""
    headers = {"User-Agent": agent}
    if client == "demo":
        headers["Authorization"] = "Basic " + base64.b64encode(b"demo:demo-secret").decode()
    form = urllib.parse.urlencode({"client_id": client, **form}).encode()
    request = urllib.request.Request(browser.base + "/oauth2/token", form, headers, method="POST")
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as response:
            return json.load(response)
    except urllib.error.HTTPError:
        return None


def log_in(browser, **more):
    return ask_for_tokens(browser, grant_type="password", username=USER, password=PASSWORD, **more)


def refresh(browser, token, **more):
    return ask_for_tokens(browser, grant_type="refresh_token", refresh_token=token, **more)


def signs_in_on_the_way(browser, checks, shots):
    log_in(browser)
    log_in(browser, client="demo-public", agent="curl/8.14.1")
    stolen = log_in(browser)["refresh_token"]
    newer = refresh(browser, stolen)["refresh_token"]
    refresh(browser, newer)
    checks.that("a replay is refused", refresh(browser, stolen, agent="thief/1") is None)
    browser.open("/admin")
    browser.wait(SIGN_IN, "the sign-in page")
    browser.fill("//input[@name='username']", USER)
    browser.fill(SIGN_IN, PASSWORD)
    browser.click("//main//button")
    browser.wait(PLOTS, "the administration page")
    text = browser.text("//main")
    for shown in ("5 granted, 1 refused, 0 not answered", "used twice, and its grant ended", "beyond", "has signed for"):
        checks.that(f"the overview shows: {shown}", shown in text, text)
    checks.that("there are three plots", len(browser.find_all(PLOTS)) == 3)
    checks.that("nothing is wider than a phone", not browser.sticks_out())
    browser.photograph(shots, "admin-1-overview", german=True)
    browser.click("//summary")
    browser.accessibility(checks, "overview")
    row = browser.text("//tbody/tr[1]")
    checks.that("the table has the same figures", row.split()[1:5] == ["5", "1", "0", "1"], row)
    checks.that("no table is wider than a phone", not browser.sticks_out())


def finds_a_user(browser, checks, shots):
    browser.click("//nav//a[contains(@href, 'users')]")
    browser.fill("//input[@name='search']", "nobody")
    browser.click("//form[@role='search']//button")
    browser.wait("//p[contains(., 'no user with such a name')]", "that there is nobody")
    browser.accessibility(checks, "nobody found")
    browser.fill("//input[@name='search']", "DE")
    browser.click("//form[@role='search']//button")
    browser.wait("//ul//a[text()='demo']", "the user")
    browser.accessibility(checks, "users")
    browser.photograph(shots, "admin-2-users")
    browser.click("//ul//a[text()='demo']")
    browser.wait(GRANTS, "the user's page")
    text = browser.text(GRANTS)
    for shown in ("demo-public", "presented again after its successor was used", "thief/1", "revoked", "curl/8.14.1"):
        checks.that(f"the grants show: {shown}", shown in text, text)
    checks.that("nothing is wider than a phone", not browser.sticks_out())
    browser.accessibility(checks, "user")
    browser.photograph(shots, "admin-3-user", german=True)


def revokes_a_grant(browser, checks, shots):
    before = len(browser.find_all(button("revoke_grant")))
    browser.click(f"{GRANTS}//li[contains(., 'demo-public')]{button('revoke_grant')}")
    browser.wait(DONE, "the answer")
    checks.that("the page says what happened", "revoked" in browser.text(DONE), browser.text(DONE))
    checks.that("the grant can't be revoked again", len(browser.find_all(button("revoke_grant"))) == before - 1)
    checks.that("it says why it ended", "an operator revoked it" in browser.text(GRANTS), browser.text(GRANTS))


def shuts_a_client_out(browser, checks, shots):
    browser.click("//nav//a[contains(@href, 'clients')]")
    browser.fill("//input[@name='search']", "browser app")
    browser.click("//form[@role='search']//button")
    browser.wait("//p[contains(., 'demo-public')]", "the client")
    checks.that("others are not found", not browser.present("//h2[contains(., 'Demo App')]"))
    browser.click(button("disable_client"))
    browser.wait(button("enable_client"), "the client is shut out")
    browser.accessibility(checks, "clients")
    browser.photograph(shots, "admin-4-clients")
    checks.that("it gets no tokens", log_in(browser, client="demo-public") is None)
    browser.click(button("enable_client"))
    browser.wait(button("disable_client"), "the client is let in")
    checks.that("it gets tokens again", log_in(browser, client="demo-public") is not None)
    checks.that("nothing is wider than a phone", not browser.sticks_out())


def stayed_quiet(browser, checks, shots):
    scripts = browser.script("return document.scripts.length")
    checks.that("the page has no script", scripts == 0, scripts)
    console = [entry["message"] for entry in browser.log("browser") if entry["level"] in ("SEVERE", "WARNING")]
    checks.that("the console has no errors and no CSP violations", not console, "\n".join(console))


STEPS = [signs_in_on_the_way, finds_a_user, revokes_a_grant, shuts_a_client_out, stayed_quiet]

if __name__ == "__main__":
    walk(__doc__, STEPS)
