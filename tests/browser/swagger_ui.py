#!/usr/bin/env python3
"""Signs in through Swagger UI in a real browser, each way there is, asks for tokens there, and stays signed in.

    tests/browser/swagger_ui.py BASE_URL SCREENSHOT_DIR

BASE_URL is a running `regrant dev`, whose access tokens live a few seconds only (REGRANT_LIFETIMES__ACCESS_TOKEN_SECONDS). Needs the Debian packages chromium and chromium-driver (or their paths in CHROMIUM
and CHROMEDRIVER), and nothing besides Python's standard library.
"""

import base64
import json
import time
from urllib.parse import urlsplit

from webdriver import walk

USER, PASSWORD = "demo", "demo-password"
CLIENT, SECRET = "demo", "demo-secret"

DIALOG = "//div[contains(@class, 'modal-ux')]"
# The dialog has one such block per flow of the security scheme.
PASSWORD_FLOW = f"{DIALOG}//div[contains(@class, 'auth-container')][.//code[normalize-space()='password']]"
CODE_FLOW = f"{DIALOG}//div[contains(@class, 'auth-container')][.//code[starts-with(normalize-space(), 'authorizationCode')]]"
CLIENT_FLOW = f"{DIALOG}//div[contains(@class, 'auth-container')][.//code[normalize-space()='clientCredentials']]"
PANEL = "//aside[@id='session']"
INTROSPECTION = "//div[contains(@class, 'opblock-post')][.//*[@data-path='/oauth2/introspect']]"
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


def open_dialog(browser):
    browser.script("scrollTo(0, 0)")
    browser.click("//button[contains(@class, 'authorize') and not(contains(@class, 'modal-btn'))]")


def close_dialog(browser):
    browser.click(f"{DIALOG}//button[contains(@class, 'btn-done')]")
    browser.wait_gone(DIALOG, "the dialog is closed")


def submit(browser, flow):
    """Presses Authorize. Returns whether it succeeded, and what is shown when it didn't."""
    browser.click(f"{flow}//button[contains(@class, 'authorize')]")
    errors = f"{flow}//*[contains(@class, 'errors')]"
    logout = f"{flow}//button[normalize-space()='Logout']"
    browser.wait(f"{logout} | {errors}", "the token endpoint has answered")
    return browser.present(logout), browser.text(errors, missing="")


def explains_a_refusal(browser, checks, shots):
    """With a wrong password, in the dialog."""
    open_dialog(browser)
    browser.wait(PASSWORD_FLOW, "the dialog offers the password flow")
    browser.fill(labelled(PASSWORD_FLOW, "username:"), USER)
    browser.fill(labelled(PASSWORD_FLOW, "password:"), "wrong")
    authorized, _ = submit(browser, PASSWORD_FLOW)
    checks.that("a wrong password is refused", not authorized)
    link = f"{PASSWORD_FLOW}//p[@class='explained']/a"
    checks.that("its error leads to its page", browser.attributes(link, "href") == ["/docs/errors/invalid_grant"])
    browser.scroll_to(link)
    browser.screenshot(shots / "2-refused.png")
    close_dialog(browser)


def authorizes_with_the_password_flow(browser, checks, shots):
    open_dialog(browser)
    browser.wait(PASSWORD_FLOW, "the dialog offers the password flow")
    filled_in = [browser.value(labelled(PASSWORD_FLOW, name)) for name in ("client_id:", "client_secret:")]
    checks.that("the password flow is filled in with the demo client", filled_in == [CLIENT, SECRET], str(filled_in))
    browser.fill(labelled(PASSWORD_FLOW, "username:"), USER)
    browser.fill(labelled(PASSWORD_FLOW, "password:"), PASSWORD)
    browser.screenshot(shots / "2-authorize.png")
    authorized, failure = submit(browser, PASSWORD_FLOW)
    checks.that("the password flow is authorized", authorized, failure)
    browser.screenshot(shots / "3-authorized.png")
    close_dialog(browser)
    checks.that("the panel says as whom", f"Authorized as {CLIENT}" in browser.text(PANEL), browser.text(PANEL))
    browser.script("scrollTo(0, 0)")
    browser.screenshot(shots / "3-panel.png")


def access_token(browser):
    return browser.script("return document.getElementById('session-token').textContent")


def stays_authorized(browser, checks, shots):
    """Past the expiry of the token at hand, without a touch."""
    first = access_token(browser)
    claims = first.split(".")[1]
    expires_at = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["exp"]
    browser.until(
        lambda: time.time() > expires_at and access_token(browser) != first, "the first token is past its expiry"
    )
    renewals = int(browser.text("//span[@id='session-renewals']"))
    checks.that("the token was renewed silently", renewals >= 1, str(renewals))
    checks.that("nobody had to sign in", not browser.present(DIALOG) and len(browser.call("GET", "/window/handles")) == 1)
    browser.screenshot(shots / "3-renewed.png")
    # A token from its first moment on, because filling in a form takes a part of its life.
    at_hand = access_token(browser)
    browser.until(lambda: access_token(browser) != at_hand, "it is renewed again")
    status, body = introspect(browser, access_token(browser))
    checks.that("Try it out still answers 200", status == "200", body[:400])
    checks.that("the renewed token is active", json.loads(body).get("active") is True, body[:400])
    browser.scroll_to(f"{INTROSPECTION}//div[contains(@class, 'responses-wrapper')]")
    browser.screenshot(shots / "3-try-it-out.png")
    _, body = introspect(browser, first)
    checks.that("the first token has expired meanwhile", json.loads(body) == {"active": False}, body[:400])


def introspect(browser, token):
    values = {"token": token, "client_id": CLIENT, "client_secret": SECRET}
    return try_out(browser, INTROSPECTION, values)


def signs_out(browser, checks, shots):
    token = access_token(browser)
    browser.click("//button[@id='session-end']")
    browser.until(lambda: "revoked" in browser.text(f"{PANEL}/p"), "the panel tells of the revocation")
    browser.script("scrollTo(0, 0)")
    browser.screenshot(shots / "3-signed-out.png")
    _, body = introspect(browser, token)
    checks.that("signing out revokes the tokens", json.loads(body) == {"active": False}, body[:400])
    open_dialog(browser)
    browser.wait(PASSWORD_FLOW, "the dialog is open")
    checks.that("Swagger UI knows", not browser.present(f"{DIALOG}//button[normalize-space()='Logout']"))
    close_dialog(browser)


def authorizes_with_client_credentials(browser, checks, shots):
    browser.open("/docs")
    open_dialog(browser)
    browser.wait(CLIENT_FLOW, "the dialog offers the client credentials flow")
    authorized, failure = submit(browser, CLIENT_FLOW)
    checks.that("the client credentials flow is authorized as it is filled in", authorized, failure)
    close_dialog(browser)
    first = access_token(browser)
    browser.until(lambda: access_token(browser) != first, "it is renewed, without a refresh token")
    checks.that("a client's own token is renewed", True)


def authorizes_with_the_code_flow(browser, checks, shots):
    """With PKCE, through the sign-in page if there is one, and back through oauth2-redirect.html."""
    # To Swagger UI all flows of one scheme are authorized together, so the page is loaded anew to start from nothing.
    browser.open("/docs")
    open_dialog(browser)
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
    close_dialog(browser)
    first = access_token(browser)
    browser.until(lambda: access_token(browser) != first, "the public client's token is renewed")
    checks.that("the public client's token is renewed", True)


def issues_a_token(browser, checks, shots):
    values = {"grant_type": "password", "username": USER, "password": PASSWORD, "client_id": CLIENT}
    status, body = try_out(browser, OPERATION, {**values, "client_secret": SECRET}, shots / "5-token-request.png")
    checks.that("the token endpoint answers 200", status == "200", body[:400])
    checks.that("the answer carries an access token", bool(json.loads(body).get("access_token")), body[:400])
    browser.scroll_to(f"{OPERATION}//div[contains(@class, 'responses-wrapper')]")
    browser.screenshot(shots / "6-token-response.png")
    status, body = try_out(browser, OPERATION, {**values, "client_secret": "wrong"})
    checks.that("a wrong secret is 401", status == "401", body[:400])
    link = f"{OPERATION}//p[@class='explained']/a"
    checks.that("the answer leads to the error's page", browser.attributes(link, "href") == ["/docs/errors/invalid_client"])
    browser.scroll_to(f"{OPERATION}//div[contains(@class, 'responses-wrapper')]")
    browser.screenshot(shots / "6-token-refused.png")


def try_out(browser, operation, values, shot=None):
    """Opens an operation, fills in the fields of its form, and executes it. Returns the status and the body."""
    execute = f"{operation}//button[contains(@class, 'execute')]"
    if not browser.present(execute):
        browser.click(f"{operation}//button[contains(@class, 'opblock-summary-control')]")
        browser.wait(execute, "the operation can be tried out")
    answer = f"{operation}//table[contains(@class, 'live-responses-table')]"
    clear = f"{operation}//button[contains(@class, 'btn-clear')]"
    if browser.present(clear):
        # Clear of the panel, which stays at the top.
        browser.scroll_to(operation)
        browser.click(clear)
        browser.wait_gone(answer, "the last answer is gone")
    if "grant_type" in values:
        browser.select(parameter(operation, "grant_type", "select"), values["grant_type"])
    # Swagger UI fills fields that have no example with the word `string`; whatever this request doesn't use is emptied. It
    # is still sent, without a value, which the server must treat as omitted (RFC 6749 §3.1).
    for name in browser.attributes(f"{operation}//tr[.//input[@type!='checkbox']]", "data-property-name"):
        browser.fill(parameter(operation, name, "input[@type!='checkbox']"), values.get(name, ""))
    if shot:
        browser.screenshot(shot)
    browser.click(execute)
    status = f"{answer}//tbody//td[contains(@class, 'response-col_status')]"
    browser.wait(status, "the answer is shown")
    body = browser.text(f"{answer}//td[contains(@class, 'response-col_description')]//pre", missing="{}")
    return browser.text(status).split()[0], body[body.index("{") : body.rindex("}") + 1]


def parameter(operation, name, element):
    return f"{operation}//tr[@data-property-name='{name}']//{element}"


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
    # The two refusals that were asked for; Chromium writes down each.
    refused = [message for message in console if "/oauth2/token - Failed to load" in message]
    checks.that("the token endpoint refused what it should only", len(refused) == 2, "\n".join(refused))
    console = [message for message in console if message not in refused]
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
    explains_a_refusal,
    authorizes_with_the_password_flow,
    stays_authorized,
    signs_out,
    authorizes_with_client_credentials,
    authorizes_with_the_code_flow,
    issues_a_token,
    explains_the_errors,
    stayed_quiet_and_at_home,
]

if __name__ == "__main__":
    walk(__doc__, STEPS, recover=lambda browser: browser.open("/docs"))
