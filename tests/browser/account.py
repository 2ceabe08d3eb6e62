#!/usr/bin/env python3
"""Looks after an account in a real browser: removes an app, ends a browser session, changes the password.

    tests/browser/account.py BASE_URL SCREENSHOT_DIR

BASE_URL is a running `regrant dev`. Needs the Debian packages chromium and chromium-driver (or their paths in CHROMIUM
and CHROMEDRIVER), axe-core in target/tools/axe (or its path in AXE_CORE), and nothing besides Python's standard library.
"""

import base64
import contextlib
import json
import urllib.parse
import urllib.request

from webdriver import Browser, walk

USER, PASSWORD, OTHER_PASSWORD = "demo", "demo-password", "another-password"
DONE = "//p[@role='status']"
PROBLEM = "//p[@role='alert']"
SIGN_IN = "//input[@name='password']"
APPS = "//section[@aria-labelledby='apps-title']"
BROWSERS = "//section[@aria-labelledby='browsers-title']"


def button(value):
    return f"//button[@name='action' and @value='{value}']"


def get_token(browser, client, agent, password=PASSWORD):
    """Gets tokens as an app does, so that there is something to see."""
    form = {"grant_type": "password", "username": USER, "password": password, "client_id": client, "scope": "profile read"}
    headers = {"User-Agent": agent}
    if client == "demo":
        headers["Authorization"] = "Basic " + base64.b64encode(b"demo:demo-secret").decode()
    request = urllib.request.Request(
        browser.base + "/oauth2/token", urllib.parse.urlencode(form).encode(), headers, method="POST"
    )
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as response:
        return json.load(response)


def sign_in(browser, password=PASSWORD):
    browser.wait(SIGN_IN, "the sign-in page")
    browser.fill("//input[@name='username']", USER)
    browser.fill(SIGN_IN, password)
    browser.click("//main//button")


def signs_in_on_the_way(browser, checks, shots):
    get_token(browser, "demo", "okhttp/4.12.0")
    get_token(browser, "demo", "curl/8.14.1")
    get_token(
        browser,
        "demo-public",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 "
        "Mobile/15E148 Safari/604.1",
    )
    browser.open("/account")
    browser.wait(SIGN_IN, "the sign-in page")
    browser.accessibility(checks, "sign-in")
    sign_in(browser)
    browser.wait(APPS, "the account page")
    browser.accessibility(checks, "account")
    text = browser.text(APPS)
    for shown in ("okhttp", "curl", "Safari on iPhone", "127.0.0.1", "See who you are"):
        checks.that(f"the page shows {shown}", shown in text, text)
    checks.that("the page marks this browser", "this browser" in browser.text(BROWSERS), browser.text(BROWSERS))
    with another_browser(browser):
        browser.open("/account")
        browser.photograph(shots, "account-1", german=True)
    checks.that("nothing is wider than a phone", not browser.sticks_out())


def removes_an_app(browser, checks, shots):
    before = len(browser.find_all(button("remove")))
    browser.click(f"{APPS}//li[contains(., 'curl')]{button('remove')}")
    browser.wait(DONE, "the answer")
    checks.that("the page says what happened", "Access removed" in browser.text(DONE), browser.text(DONE))
    checks.that("the app is gone", len(browser.find_all(button("remove"))) == before - 1)
    checks.that("the others are there", "okhttp" in browser.text(APPS))
    browser.photograph(shots, "account-2-removed")


@contextlib.contextmanager
def another_browser(browser):
    """The same person, signed in elsewhere."""
    with Browser(browser.base, browser.chromium, browser.chromedriver) as other:
        other.open("/account")
        sign_in(other)
        other.wait(APPS, "the account page in the other browser")
        yield other


def ends_another_browser(browser, checks, shots):
    with another_browser(browser) as other:
        browser.open("/account")
        others = len(browser.find_all(button("end_browser")))
        browser.click(button("end_browser"))
        browser.wait(DONE, "the answer")
        checks.that("the other browser is off the list", len(browser.find_all(button("end_browser"))) == others - 1)
        other.open("/account")
        checks.that("and signed out", bool(other.wait(SIGN_IN, "the sign-in page")))
    browser.click(button("end_other_browsers"))
    browser.wait_gone(button("end_browser"), "the others are off the list, too")


def change_password(browser, old, new, again=None):
    browser.fill("//input[@id='current_password']", old)
    browser.fill("//input[@id='new_password']", new)
    browser.fill("//input[@id='new_password_again']", again or new)
    browser.click(button("change_password"))


def changes_the_password(browser, checks, shots):
    change_password(browser, "wrong", OTHER_PASSWORD)
    browser.wait(PROBLEM, "the refusal")
    checks.that("a wrong password is told", "wrong" in browser.text(PROBLEM), browser.text(PROBLEM))
    browser.accessibility(checks, "account with a problem")
    browser.photograph(shots, "account-3-wrong-password")
    change_password(browser, PASSWORD, OTHER_PASSWORD)
    browser.wait(DONE, "the answer")
    checks.that("a new password is told", "password is changed" in browser.text(DONE), browser.text(DONE))
    checks.that("no app has access any more", not browser.present(button("remove")), browser.text(APPS))
    browser.open("/account")
    checks.that("this browser stays signed in", bool(browser.wait(APPS, "the account page")))
    browser.photograph(shots, "account-4-password-changed")
    change_password(browser, OTHER_PASSWORD, PASSWORD)
    browser.wait(DONE, "the answer")


def logs_out_everywhere(browser, checks, shots):
    token = get_token(browser, "demo", "okhttp/4.12.0")
    browser.open("/account")
    browser.click(button("log_out_everywhere"))
    browser.until(lambda: browser.call("GET", "/url").endswith("/logout"), "the sign-out page")
    browser.accessibility(checks, "signed out")
    browser.open("/account")
    checks.that("logging out everywhere ends this session too", bool(browser.wait(SIGN_IN, "the sign-in page")))
    sign_in(browser)
    browser.wait(APPS, "the account page")
    checks.that("and the access of apps", bool(token) and not browser.present(button("remove")), browser.text(APPS))


def works_without_scripts(browser, checks, shots):
    scripts = browser.script("return document.scripts.length")
    checks.that("the page has no script", scripts == 0, scripts)


def stayed_quiet(browser, checks, shots):
    # Chromium reports each refused form; that was meant.
    messages = [entry["message"] for entry in browser.log("browser") if entry["level"] in ("SEVERE", "WARNING")]
    console = [message for message in messages if "responded with a status of 400" not in message]
    checks.that("the console has no errors and no CSP violations", not console, "\n".join(console))


STEPS = [
    signs_in_on_the_way,
    removes_an_app,
    ends_another_browser,
    changes_the_password,
    logs_out_everywhere,
    works_without_scripts,
    stayed_quiet,
]

if __name__ == "__main__":
    walk(__doc__, STEPS)
