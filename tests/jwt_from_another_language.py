"""Verifies an access token the way a resource server in another language does: with PyJWT and the published keys only.

Usage: jwt_from_another_language.py BASE_URL, against a server started by `regrant dev`.
"""

import base64
import json
import sys
import time
import urllib.parse
import urllib.request

import jwt

CLIENT_ID, CLIENT_SECRET = "demo", "demo-secret"
USERNAME, PASSWORD = "demo", "demo-password"
SCOPE = "read"
ASYMMETRIC = {"ES256", "EdDSA", "RS256"}
PRIVATE_MEMBERS = {"d", "p", "q", "dp", "dq", "qi", "k"}


def get_json(url):
    with urllib.request.urlopen(url, timeout=10) as response:
        return json.load(response)


def request_token(endpoint):
    """The password grant (RFC 6749 §4.3), the client authenticated by HTTP Basic (§2.3.1)."""
    form = {"grant_type": "password", "username": USERNAME, "password": PASSWORD, "scope": SCOPE}
    credentials = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
    request = urllib.request.Request(
        endpoint,
        data=urllib.parse.urlencode(form).encode(),
        headers={"Authorization": f"Basic {credentials}", "Content-Type": "application/x-www-form-urlencoded"},
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


def verify(token, metadata, jwks, audience):
    """Signature, issuer, audience and expiry, and that every claim of RFC 9068 §2.2 is there."""
    kid = jwt.get_unverified_header(token)["kid"]
    key = next(key for key in jwks["keys"] if key["kid"] == kid)
    return jwt.decode(
        token,
        jwt.PyJWK(key).key,
        algorithms=[key["alg"]],
        issuer=metadata["issuer"],
        audience=audience,
        options={"require": ["iss", "sub", "aud", "exp", "iat", "jti", "client_id"]},
    )


def refused(token, metadata, jwks, audience, expected):
    try:
        verify(token, metadata, jwks, audience)
    except expected:
        return True
    return False


def with_scope(token, scope):
    """The same token with another scope, under the old signature."""
    header, payload, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    claims["scope"] = scope
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"{header}.{payload}.{signature}"


def with_flipped_signature(token):
    head, signature = token.rsplit(".", 1)
    return f"{head}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"


def checks(base_url):
    """Yields (what must hold, whether it does)."""
    metadata = get_json(f"{base_url}/.well-known/oauth-authorization-server")
    yield "the metadata's issuer is the server's URL", metadata["issuer"] == base_url
    jwks = get_json(metadata["jwks_uri"])
    yield "the key set holds a key", len(jwks["keys"]) > 0
    yield "no key shows a private member", not any(PRIVATE_MEMBERS & key.keys() for key in jwks["keys"])
    yield "every key says that it signs", all(key["use"] == "sig" for key in jwks["keys"])
    yield "every key is asymmetric", all(key["alg"] in ASYMMETRIC for key in jwks["keys"])

    before = int(time.time())
    response = request_token(metadata["token_endpoint"])
    token = response["access_token"]
    header = jwt.get_unverified_header(token)
    yield "the header's type is at+jwt", header["typ"] == "at+jwt"
    yield "the header's algorithm is its key's", header["alg"] in {
        key["alg"] for key in jwks["keys"] if key["kid"] == header["kid"]
    }

    # `dev` sets no audience, so that the issuer itself is the resource.
    audience = metadata["issuer"]
    claims = verify(token, metadata, jwks, audience)
    yield "the signature, iss, aud and exp are right", True
    yield "exp is expires_in after iat", claims["exp"] - claims["iat"] == response["expires_in"]
    yield "iat is now", before - 1 <= claims["iat"] <= time.time() + 1
    yield "sub names the resource owner", isinstance(claims["sub"], str) and claims["sub"] not in ("", CLIENT_ID)
    yield "client_id is the client's", claims["client_id"] == CLIENT_ID
    yield "scope is what was asked for", claims["scope"] == SCOPE == response["scope"]
    yield "jti and gid are strings", all(isinstance(claims[name], str) and claims[name] for name in ("jti", "gid"))

    other = verify(request_token(metadata["token_endpoint"])["access_token"], metadata, jwks, audience)
    yield "the same resource owner keeps the sub", other["sub"] == claims["sub"]
    yield "every token has its own jti", other["jti"] != claims["jti"]
    yield "every grant has its own gid", other["gid"] != claims["gid"]

    invalid = jwt.InvalidSignatureError
    yield "a changed claim is refused", refused(with_scope(token, "admin"), metadata, jwks, audience, invalid)
    yield "a changed signature is refused", refused(with_flipped_signature(token), metadata, jwks, audience, invalid)
    yield "another resource refuses the token", refused(
        token, metadata, jwks, "https://other.example", jwt.InvalidAudienceError
    )


def main():
    base_url = sys.argv[1].rstrip("/")
    passed = failed = 0
    try:
        for what, holds in checks(base_url):
            passed, failed = passed + holds, failed + (not holds)
            print(f"{'ok    ' if holds else 'FAILED'} {what}")
    except Exception as error:  # What comes after the error cannot be checked; it counts as one failure.
        failed += 1
        print(f"FAILED {type(error).__name__}: {error}")
        if hasattr(error, "read"):
            print(error.read().decode(errors="replace"))
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
