"""Uses the Python SDK against a live server; one line for each call that went as it should."""

import base64
import os

from regrant_client import AuthenticatedClient
from regrant_client.api.tokens import introspect_token, issue_token, revoke_token
from regrant_client.models import (
    IntrospectionResponse,
    IntrospectionRequest,
    IssueTokenError,
    IssueTokenErrorError,
    RevocationRequest,
    TokenRequest,
    TokenRequestGrantType,
    TokenResponse,
)

# HTTP Basic: each part would be form-encoded first (RFC 6749 section 2.3.1), were there anything to encode.
credentials = base64.b64encode(b"demo:demo-secret").decode()
client = AuthenticatedClient(base_url=os.environ["REGRANT_URL"], token=credentials, prefix="Basic")


def issue(**form: str) -> TokenResponse | IssueTokenError | None:
    kind = TokenRequestGrantType(form.pop("grant_type"))
    body = TokenRequest(grant_type=kind)
    for name, value in form.items():
        setattr(body, name, value)
    return issue_token.sync(client=client, body=body)


def tokens(answer: TokenResponse | IssueTokenError | None) -> tuple[str, str]:
    assert isinstance(answer, TokenResponse), answer
    assert isinstance(answer.refresh_token, str)
    return answer.access_token, answer.refresh_token


def active(token: str) -> bool:
    body = IntrospectionRequest(token=token)
    answer = introspect_token.sync(client=client, body=body)
    assert isinstance(answer, IntrospectionResponse), answer
    return answer.active


def refused(answer: TokenResponse | IssueTokenError | None) -> IssueTokenErrorError:
    assert isinstance(answer, IssueTokenError), answer
    return answer.error


_, first = tokens(issue(grant_type="password", username="demo", password="demo-password"))
print("ok password")
_, second = tokens(issue(grant_type="refresh_token", refresh_token=first))
assert second != first
print("ok refresh")
access_token, _ = tokens(issue(grant_type="refresh_token", refresh_token=second))
print("ok rotated")
assert active(access_token)
print("ok introspect")
assert refused(issue(grant_type="refresh_token", refresh_token=first)) == IssueTokenErrorError.INVALID_GRANT
print("ok replay")
access_token, refresh_token = tokens(issue(grant_type="password", username="demo", password="demo-password"))
revocation = RevocationRequest(token=refresh_token)
assert revoke_token.sync_detailed(client=client, body=revocation).status_code == 200
assert not active(access_token)
print("ok revoke")
wrong = refused(issue(grant_type="password", username="demo", password="wrong"))
assert wrong == IssueTokenErrorError.INVALID_GRANT
print("ok typed-error")
