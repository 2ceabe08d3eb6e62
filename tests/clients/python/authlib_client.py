"""Authlib against `regrant dev`: every call through what the metadata says."""

import os
import time
import urllib.parse

os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"  # Plain http on loopback.

from authlib.common.security import generate_token
from authlib.integrations.requests_client import OAuth2Session, OAuthError
from report import DEVICE, REDIRECT_URI, begin, browser, check

report, metadata = begin("Authlib")
token_endpoint = metadata["token_endpoint"]


def session(public=False, **options):
    if public:
        return OAuth2Session("demo-public", token_endpoint_auth_method="none", token_endpoint=token_endpoint, **options)
    return OAuth2Session("demo", "demo-secret", token_endpoint=token_endpoint, **options)


demo = session()


def password():
    token = demo.fetch_token(token_endpoint, username="demo", password="demo-password", scope="read write")
    check(token["refresh_token"] and not token.is_expired(), "there is a refresh token and a lifetime")


def refresh():
    before = demo.token["refresh_token"]
    check(demo.refresh_token(token_endpoint)["refresh_token"] != before, "the refresh token was rotated")


def client_credentials():
    token = session().fetch_token(token_endpoint, grant_type="client_credentials", scope="read")
    check("refresh_token" not in token, "there is no refresh token")


def code(public):
    client = session(public, redirect_uri=REDIRECT_URI, scope="read", code_challenge_method="S256")
    verifier = generate_token(48)
    url, state = client.create_authorization_url(metadata["authorization_endpoint"], code_verifier=verifier)
    back = browser("authorize", url)
    query = urllib.parse.parse_qs(urllib.parse.urlsplit(back).query)
    check(query["iss"] == [metadata["issuer"]], "the response names its issuer (RFC 9207)")
    client.fetch_token(token_endpoint, authorization_response=back, state=state, code_verifier=verifier)
    check(client.refresh_token(token_endpoint)["refresh_token"], "it can be refreshed")


def device():
    client = session(public=True)
    response = client.session.post(
        metadata["device_authorization_endpoint"],
        data={"client_id": "demo-public", "scope": "read"},
        withhold_token=True,
    )
    started = response.json()
    check(response.status_code == 200, f"the device authorization endpoint answers: {started}")
    browser("device", started["verification_uri"], started["user_code"])
    deadline = time.monotonic() + started["expires_in"]
    interval = started.get("interval", 5)
    while True:
        time.sleep(interval)
        try:
            client.fetch_token(token_endpoint, grant_type=DEVICE, device_code=started["device_code"])
            return
        except OAuthError as error:
            if error.error == "slow_down":
                interval += 5
            elif error.error != "authorization_pending" or time.monotonic() > deadline:
                raise


def introspect():
    answer = demo.introspect_token(metadata["introspection_endpoint"], demo.token["access_token"])
    seen = answer.json()
    check(answer.status_code == 200 and seen["active"], f"the access token is active: {seen}")
    check(seen["client_id"] == "demo", "it was issued to the client")


def revoke():
    access_token, refresh_token = demo.token["access_token"], demo.token["refresh_token"]
    answer = demo.revoke_token(metadata["revocation_endpoint"], refresh_token, token_type_hint="refresh_token")
    check(answer.status_code == 200, f"the revocation endpoint answers: {answer.text}")
    try:
        demo.refresh_token(token_endpoint, refresh_token=refresh_token)
    except OAuthError as error:
        check(error.error == "invalid_grant", f"the refresh token is dead, not {error}")
    else:
        check(False, "the refresh token is dead")
    seen = demo.introspect_token(metadata["introspection_endpoint"], access_token).json()
    check(seen == {"active": False}, "the access token is not active any more")


report.calls(metadata, password, refresh, client_credentials, code, device, introspect, revoke)
