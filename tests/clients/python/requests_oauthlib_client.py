"""requests-oauthlib against `regrant dev`: every call through what the metadata says.

Introspection, revocation and the device's first request are not in the library: those are plain requests, with the
bodies that its oauthlib prepares where it does.
"""

import os
import time
import urllib.parse

os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"  # Plain http on loopback.

import requests
from oauthlib.oauth2 import BackendApplicationClient, DeviceClient, LegacyApplicationClient, WebApplicationClient
from oauthlib.oauth2.rfc6749.errors import CustomOAuth2Error, InvalidGrantError
from report import DEVICE, REDIRECT_URI, begin, browser, check
from requests_oauthlib import OAuth2Session

SECRET = "demo-secret"
BASIC = ("demo", SECRET)

report, metadata = begin("requests-oauthlib")
token_endpoint = metadata["token_endpoint"]
demo = OAuth2Session(client=LegacyApplicationClient("demo", scope=["read", "write"]))


def password():
    token = demo.fetch_token(token_endpoint, username="demo", password="demo-password", client_secret=SECRET)
    check(token["refresh_token"] and token["expires_in"] > 0, "there is a refresh token and a lifetime")


def refresh():
    before = demo.token["refresh_token"]
    token = demo.refresh_token(token_endpoint, auth=BASIC)
    check(token["refresh_token"] != before, "the refresh token was rotated")


def client_credentials():
    client = OAuth2Session(client=BackendApplicationClient("demo", scope=["read"]))
    check("refresh_token" not in client.fetch_token(token_endpoint, client_secret=SECRET), "there is no refresh token")


def code(public):
    client_id = "demo-public" if public else "demo"
    client = OAuth2Session(client_id, redirect_uri=REDIRECT_URI, scope=["read"], pkce="S256")
    url, _ = client.authorization_url(metadata["authorization_endpoint"])
    back = browser("authorize", url)
    query = urllib.parse.parse_qs(urllib.parse.urlsplit(back).query)
    check(query["iss"] == [metadata["issuer"]], "the response names its issuer (RFC 9207)")
    credentials = {"include_client_id": True} if public else {"client_secret": SECRET}
    client.fetch_token(token_endpoint, authorization_response=back, **credentials)
    token = client.refresh_token(token_endpoint, **({"client_id": client_id} if public else {"auth": BASIC}))
    check(token["refresh_token"], "it can be refreshed")


def device():
    answer = requests.post(
        metadata["device_authorization_endpoint"], {"client_id": "demo-public", "scope": "read"}, timeout=10
    )
    started = answer.json()
    check(answer.status_code == 200, f"the device authorization endpoint answers: {started}")
    browser("device", started["verification_uri"], started["user_code"])
    client = OAuth2Session(client=DeviceClient("demo-public"))
    deadline = time.monotonic() + started["expires_in"]
    interval = started.get("interval", 5)
    while True:
        time.sleep(interval)
        try:
            client.fetch_token(token_endpoint, device_code=started["device_code"], include_client_id=True)
            return
        except CustomOAuth2Error as error:
            if error.error == "slow_down":
                interval += 5
            elif error.error != "authorization_pending" or time.monotonic() > deadline:
                raise


def introspection(token):
    return requests.post(metadata["introspection_endpoint"], {"token": token}, auth=BASIC, timeout=10).json()


def introspect():
    seen = introspection(demo.token["access_token"])
    check(seen["active"] and seen["client_id"] == "demo", f"the access token is active: {seen}")


def revoke():
    token = demo.token["refresh_token"]
    url, headers, body = WebApplicationClient("demo").prepare_token_revocation_request(
        metadata["revocation_endpoint"], token, token_type_hint="refresh_token"
    )
    answer = requests.post(url, body, headers=headers, auth=BASIC, timeout=10)
    check(answer.status_code == 200, f"the revocation endpoint answers: {answer.text}")
    access_token = demo.token["access_token"]
    try:
        demo.refresh_token(token_endpoint, auth=BASIC)
    except InvalidGrantError:
        pass
    else:
        check(False, "the refresh token is dead")
    check(introspection(access_token) == {"active": False}, "the access token is not active any more")


report.calls(metadata, password, refresh, client_credentials, code, device, introspect, revoke)
