#!/usr/bin/env python3
"""Connects a device in a real browser: the code, the sign-in, the question, and both answers.

    tests/browser/device.py BASE_URL SCREENSHOT_DIR

BASE_URL is a running `regrant dev`. Needs the Debian packages chromium and chromium-driver (or their paths in CHROMIUM
and CHROMEDRIVER), axe-core in target/tools/axe (or its path in AXE_CORE), and nothing besides Python's standard library.
The device is this program: it asks for codes and polls as RFC 8628 says.
"""

import json
import urllib.error
import urllib.parse
import urllib.request

from webdriver import walk

USER, PASSWORD, CLIENT = "demo", "demo-password", "demo-public"
GRANT = "urn:ietf:params:oauth:grant-type:device_code"
HEADING = "//main/h1"
CODE = "//input[@name='user_code']"
SUBMIT = "//form//button[@type='submit']"


def post(base, path, fields):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(base + path, urllib.parse.urlencode(fields).encode())
    request.add_header("User-Agent", "Television/1.0 (living room)")
    try:
        with opener.open(request, timeout=20) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as refused:
        return refused.code, json.load(refused)


def start(base):
    status, device = post(base, "/oauth2/device_authorization", {"client_id": CLIENT, "scope": "profile read"})
    assert status == 200, device
    return device


def poll(base, device):
    return post(base, "/oauth2/token", {"grant_type": GRANT, "device_code": device["device_code"], "client_id": CLIENT})


def looked_at(browser, checks, shots, name, german=False):
    browser.accessibility(checks, f"device, {name}")
    checks.that(f"device, {name}: nothing sticks out", not browser.sticks_out())
    browser.photograph(shots, f"device-{name}", german)


def refuses_what_is_no_code(browser, checks, shots):
    browser.open("/device")
    focused = browser.script("return document.activeElement.name")
    checks.that("the field has the focus", focused == "user_code", focused)
    looked_at(browser, checks, shots, "1-code", german=True)
    for typed, wanted in [("hello", "not a code"), ("BBBB-BBBB", "doesn’t work")]:
        browser.fill(CODE, typed)
        browser.click(SUBMIT)
        browser.wait(f"//*[@id='problem' and contains(., '{wanted}')]", f"the refusal of {typed}")
        checks.that(f"{typed} is refused in words, beside what was typed", browser.value(CODE) == typed, browser.value(CODE))
    looked_at(browser, checks, shots, "2-wrong-code")


def allows_after_a_sign_in(browser, checks, shots):
    device = start(browser.base)
    address = device["verification_uri_complete"].removeprefix(browser.base)
    browser.open(address)
    checks.that("the QR code's address fills the field in", browser.value(CODE) == device["user_code"], browser.value(CODE))
    browser.click(SUBMIT)
    browser.wait("//input[@type='password']", "the sign-in page")
    checks.that("the code is in no address", device["user_code"] not in browser.call("GET", "/url"))
    browser.fill("//input[@name='username']", USER)
    browser.fill("//input[@type='password']", PASSWORD)
    browser.click(SUBMIT)
    browser.wait("//button[@value='allow']", "the question")
    page = browser.text("//main")
    for shown in ("Demo Browser App", USER, device["user_code"], "See who you are", "Read your data", "127.0.0.1", "Television/1.0"):
        checks.that(f"the question shows {shown}", shown in page, page)
    looked_at(browser, checks, shots, "3-question", german=True)
    status, answer = poll(browser.base, device)
    checks.that("the device waits meanwhile", (status, answer.get("error")) == (400, "authorization_pending"), answer)
    browser.click("//button[@value='allow']")
    browser.wait(f"{HEADING}[contains(., 'connected')]", "the end")
    looked_at(browser, checks, shots, "4-allowed")
    status, answer = poll(browser.base, device)
    checks.that("the device gets its tokens", status == 200 and answer["scope"] == "profile read", answer)


def denies_with_the_keyboard_alone(browser, checks, shots):
    device = start(browser.base)
    browser.open("/device")
    # Lower case and no dash, then Enter; on the next page Tab to the second button, and Enter.
    typed = device["user_code"].replace("-", "").lower()
    keys(browser, typed + "\ue007")
    browser.wait("//button[@value='deny']", "the question, without a sign-in")
    keys(browser, "\ue004\ue004\ue007")
    browser.wait(f"{HEADING}[contains(., 'not connected')]", "the end")
    looked_at(browser, checks, shots, "5-denied")
    status, answer = poll(browser.base, device)
    checks.that("the device is told", (status, answer.get("error")) == (400, "access_denied"), answer)
    browser.open(device["verification_uri_complete"].removeprefix(browser.base))
    browser.click(SUBMIT)
    browser.wait("//*[@id='problem']", "the refusal of a used code")


def keys(browser, text):
    presses = [{"type": kind, "value": key} for key in text for kind in ("keyDown", "keyUp")]
    browser.call("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": presses}]})


def shows_a_device(browser, checks, shots):
    """The demo device, in its own window; the person is this browser too."""
    browser.open("/demo/device")
    browser.wait("//img[@id='qr' and not(@hidden)]", "the QR code")
    browser.until(lambda: browser.script("return document.getElementById('qr').naturalWidth > 0"), "the picture is there")
    code = browser.text("//*[@id='user-code']")
    checks.that("the demo device shows a code", len(code) == 9 and code[4] == "-", code)
    looked_at(browser, checks, shots, "6-demo-device")
    device = browser.window()
    browser.click("//a[@id='link']")
    browser.until(lambda: len(browser.call("GET", "/window/handles")) == 2, "the person's window")
    person = next(handle for handle in browser.call("GET", "/window/handles") if handle != device)
    browser.switch(person)
    browser.click(SUBMIT)
    browser.click("//button[@value='allow']")
    browser.wait(f"{HEADING}[contains(., 'connected')]", "the end")
    browser.call("DELETE", "/window")
    browser.switch(device)
    browser.wait("//*[@id='outcome' and contains(., 'connected')]", "the demo device is connected")
    looked_at(browser, checks, shots, "7-demo-device-connected")


def stayed_quiet(browser, checks, shots):
    # The refused polls of the demo device are answers, not faults.
    faults = [entry["message"] for entry in browser.log("browser") if "/oauth2/token" not in entry["message"]]
    checks.that("the console is silent: no refused script, style or picture", not faults, faults)


STEPS = [
    refuses_what_is_no_code,
    allows_after_a_sign_in,
    denies_with_the_keyboard_alone,
    shows_a_device,
    stayed_quiet,
]

if __name__ == "__main__":
    walk(__doc__, STEPS)
