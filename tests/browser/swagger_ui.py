#!/usr/bin/env python3
"""Signs in through Swagger UI in a real browser and asks for a token there.

    tests/browser/swagger_ui.py BASE_URL SCREENSHOT_DIR

BASE_URL is a running `regrant dev`. Needs the Debian packages chromium and chromium-driver (or their paths in CHROMIUM
and CHROMEDRIVER), and nothing besides Python's standard library.
"""

import json
from urllib.parse import urlsplit

from webdriver import walk

USER, PASSWORD = "demo", "demo-password"
CLIENT, SECRET = "demo", "demo-secret"

DIALOG = "//div[contains(@class, 'modal-ux')]"
# The dialog has one such block per flow of the security scheme.
PASSWORD_FLOW = f"{DIALOG}//div[contains(@class, 'auth-container')][.//code[normalize-space()='password']]"
CODE_FLOW = f"{DIALOG}//div[contains(@class, 'auth-container')][.//code[starts-with(normalize-space(), 'authorizationCode')]]"
OPERATION = "//div[contains(@class, 'opblock-post')][.//*[@data-path='/oauth2/token']]"


def labelled(block, label):
    """The input that follows a label of one flow in the dialog."""
    return f"{block}//label[normalize-space()='{label}']/following::input[1]"


def shows_the_document(browser, checks, shots):
    browser.open("/docs")
    browser.wait(f"{OPERATION}", "the token operation is listed")
    checks.that("the page lists POST /oauth2/token", True)
    checks.that("demo mode shows the demo user", "demo-password" in browser.text("//aside"))
    browser.screenshot(shots / "1-docs.png")


def authorizes_with_the_password_flow(browser, checks, shots):
    browser.click("//button[contains(@class, 'authorize') and not(contains(@class, 'modal-btn'))]")
    browser.wait(PASSWORD_FLOW, "the dialog offers the password flow")
    browser.fill(labelled(PASSWORD_FLOW, "username:"), USER)
    browser.fill(labelled(PASSWORD_FLOW, "password:"), PASSWORD)
    browser.fill(labelled(PASSWORD_FLOW, "client_id:"), CLIENT)
    browser.fill(labelled(PASSWORD_FLOW, "client_secret:"), SECRET)
    browser.screenshot(shots / "2-authorize.png")
    browser.click(f"{PASSWORD_FLOW}//button[contains(@class, 'authorize')]")
    browser.wait(
        f"{PASSWORD_FLOW}//button[normalize-space()='Logout'] | {PASSWORD_FLOW}//*[contains(@class, 'errors')]",
        "the token endpoint has answered",
    )
    failure = browser.text(f"{PASSWORD_FLOW}//*[contains(@class, 'errors')]", missing="")
    authorized = browser.present(f"{PASSWORD_FLOW}//button[normalize-space()='Logout']")
    checks.that("the password flow is authorized", authorized, failure)
    browser.screenshot(shots / "3-authorized.png")
    browser.click(f"{DIALOG}//button[contains(@class, 'btn-done')]")
    browser.wait_gone(DIALOG, "the dialog is closed")


def authorizes_with_the_code_flow(browser, checks, shots):
    """With PKCE, through the sign-in page if there is one, and back through oauth2-redirect.html."""
    # To Swagger UI all flows of one scheme are authorized together, so the page is loaded anew to start from nothing.
    browser.open("/docs")
    browser.click("//button[contains(@class, 'authorize') and not(contains(@class, 'modal-btn'))]")
    browser.wait(CODE_FLOW, "the dialog offers the authorization code flow")
    checks.that("a reload forgets the tokens", not browser.present(f"{DIALOG}//button[normalize-space()='Logout']"))
    checks.that("the demo client is filled in", browser.value(labelled(CODE_FLOW, "client_id:")) == "demo-public")
    main = browser.window()
    browser.click(f"{CODE_FLOW}//button[contains(@class, 'authorize')]")
    done = f"{CODE_FLOW}//button[normalize-space()='Logout'] | {CODE_FLOW}//*[contains(@class, 'errors')]"
    browser.pass_sign_in(main, USER, PASSWORD, shots / "4-sign-in.png", done)
    browser.wait(done, "the authorization response has come back")
    failure = browser.text(f"{CODE_FLOW}//*[contains(@class, 'errors')]", missing="")
    authorized = browser.present(f"{CODE_FLOW}//button[normalize-space()='Logout']")
    checks.that("the sign-in window has closed", browser.only_window())
    checks.that("the code flow with PKCE is authorized", authorized, failure)
    browser.click(f"{DIALOG}//button[contains(@class, 'btn-done')]")
    browser.wait_gone(DIALOG, "the dialog is closed")


def issues_a_token(browser, checks, shots):
    browser.click(f"{OPERATION}//button[contains(@class, 'opblock-summary-control')]")
    browser.wait(f"{OPERATION}//button[contains(@class, 'execute')]", "the operation can be tried out")
    browser.select(parameter("grant_type", "select"), "password")
    values = {"username": USER, "password": PASSWORD, "client_id": CLIENT, "client_secret": SECRET}
    # Swagger UI fills fields that have no example with the word `string`; whatever this grant doesn't use is emptied. It is
    # still sent, without a value, which the server must treat as omitted (RFC 6749 §3.1).
    for name in browser.attributes(f"{OPERATION}//tr[.//input[@type!='checkbox']]", "data-property-name"):
        browser.fill(parameter(name, "input[@type!='checkbox']"), values.get(name, ""))
    browser.screenshot(shots / "5-token-request.png")
    browser.click(f"{OPERATION}//button[contains(@class, 'execute')]")
    answer = f"{OPERATION}//table[contains(@class, 'live-responses-table')]"
    status = f"{answer}//tbody//td[contains(@class, 'response-col_status')]"
    browser.wait(status, "the answer is shown")
    shown = browser.text(status).split()
    checks.that("the token endpoint answers 200", shown[:1] == ["200"], f"{shown} {browser.text(answer)[:400]}")
    body = browser.text(f"{answer}//td[contains(@class, 'response-col_description')]//pre", missing="{}")
    try:
        token = json.loads(body[body.index("{") : body.rindex("}") + 1])
    except ValueError:
        token = {}
    checks.that("the answer carries an access token", bool(token.get("access_token")), body[:400])
    browser.scroll_to(f"{OPERATION}//div[contains(@class, 'responses-wrapper')]")
    browser.screenshot(shots / "6-token-response.png")


def parameter(name, element):
    return f"{OPERATION}//tr[@data-property-name='{name}']//{element}"


def explains_the_errors(browser, checks, shots):
    browser.open("/docs/errors")
    browser.wait("//dl[contains(@class, 'codes')]//a", "the error codes are listed")
    browser.screenshot(shots / "7-errors.png")
    browser.open("/docs/errors/invalid_grant")
    checks.that("an error code has a page", browser.text("//h1") == "invalid_grant")
    browser.screenshot(shots / "8-error-light.png")
    browser.emulate("dark")
    browser.screenshot(shots / "9-error-dark.png")
    browser.resize(390, 844)
    browser.screenshot(shots / "10-error-phone.png")
    browser.open("/docs")
    browser.wait(OPERATION, "the page works on a phone")
    browser.screenshot(shots / "11-docs-phone.png")


def stayed_quiet_and_at_home(browser, checks, shots):
    console = [entry["message"] for entry in browser.log("browser") if entry["level"] in ("SEVERE", "WARNING")]
    checks.that("the console has no errors and no CSP violations", not console, "\n".join(console))
    home = urlsplit(browser.base).netloc
    requested = browser.requested()
    # Chromium's own start page loads from chrome://, which leaves no machine.
    network = [url for url in requested if urlsplit(url).scheme not in ("data", "blob", "chrome", "devtools", "about")]
    away = {url for url in network if urlsplit(url).netloc != home}
    checks.that("requests were seen at all", any("/openapi.json" in url for url in requested))
    checks.that("no request left the server's origin", not away, "\n".join(sorted(away)))


STEPS = [
    shows_the_document,
    authorizes_with_the_password_flow,
    authorizes_with_the_code_flow,
    issues_a_token,
    explains_the_errors,
    stayed_quiet_and_at_home,
]

if __name__ == "__main__":
    walk(__doc__, STEPS, recover=lambda browser: browser.open("/docs"))
