"""Keeps an access token fresh, on top of the generated client (package `regrant_client`)."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import httpx
from regrant_client import AuthenticatedClient, Client
from regrant_client.api.tokens import issue_token, revoke_token
from regrant_client.models import (
    IssueTokenError,
    RevocationRequest,
    RevokeTokenError,
    TokenRequest,
    TokenRequestGrantType,
    TokenResponse,
)
from regrant_client.types import UNSET, Response


class SignInAgain(Exception):
    """Signed out, or the refresh token is spent, expired or revoked: only a person signing in helps."""


class Refused(Exception):
    """The server refused the request for a reason that trying again doesn't change, such as a wrong client."""

    def __init__(self, error: IssueTokenError | RevokeTokenError) -> None:
        super().__init__(f"{error.error.value}: {error.error_description} ({error.error_uri})")
        self.error = error


class Unavailable(Exception):
    """The server could not be reached in time. The session is still good: ask again later."""


@dataclass(frozen=True)
class _Current:
    access_token: str
    refresh_token: str
    refresh_at: float
    expires_at: float


class Session:
    """One signed-in session. Any number of threads may call it at once.

    `tokens` is what the server sent, for whichever grant, with a refresh token. `keep` is called with every new answer
    before anybody sees its access token: store the refresh token there if the session must survive this process.
    """

    def __init__(
        self,
        client: AuthenticatedClient | Client,
        tokens: TokenResponse,
        client_id: str,
        client_secret: str | None = None,
        *,
        keep: Callable[[TokenResponse], None] = lambda _: None,
        patience: float = 20.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        # The generator wants the other type wherever HTTP Basic is possible; the class is the same but for a header.
        self._client = cast(AuthenticatedClient, client)
        self._client_id = client_id
        self._client_secret = client_secret
        self._keep = keep
        # Shorter than the server's grace (60 s by default), in which the same refresh token may be sent again.
        self._patience = patience
        self._clock = clock
        self._changed = threading.Condition()
        self._refreshing = False
        self._ended: Exception | None = None
        self._current = self._understand(tokens, clock(), None)

    def access_token(self) -> str:
        """A fresh access token.

        Raises `SignInAgain`, `Refused` or `Unavailable`.
        """
        with self._changed:
            while True:
                if self._ended is not None:
                    raise self._ended
                now = self._clock()
                if now < self._current.refresh_at:
                    return self._current.access_token
                if not self._refreshing:
                    self._refreshing = True
                    break
                # Somebody is at it already. The token at hand is good until it expires.
                if now < self._current.expires_at:
                    return self._current.access_token
                self._changed.wait()
        try:
            current = self._refresh()
        except Unavailable:
            with self._changed:
                if self._clock() < self._current.expires_at:
                    return self._current.access_token
            raise
        except (SignInAgain, Refused) as ended:
            with self._changed:
                self._ended = ended
            raise
        else:
            with self._changed:
                self._current = current
            return current.access_token
        finally:
            with self._changed:
                self._refreshing = False
                self._changed.notify_all()

    def sign_out(self) -> None:
        """Revokes the grant. From then on `access_token` raises `SignInAgain`.

        Raises `Unavailable` or `Refused` when the server has not done it: the session is as it was, so call again.
        """
        with self._changed:
            while self._refreshing:
                self._changed.wait()
            if self._ended is not None:
                return
            self._refreshing = True
            body = RevocationRequest(
                token=self._current.refresh_token,
                client_id=self._client_id,
                client_secret=self._client_secret or UNSET,
            )
        try:
            self._answer(lambda: revoke_token.sync_detailed(client=self._client, body=body))
            with self._changed:
                self._ended = SignInAgain("signed out")
        finally:
            with self._changed:
                self._refreshing = False
                self._changed.notify_all()

    def _refresh(self) -> _Current:
        token = self._current.refresh_token
        body = TokenRequest(
            grant_type=TokenRequestGrantType.REFRESH_TOKEN,
            refresh_token=token,
            client_id=self._client_id,
            client_secret=self._client_secret or UNSET,
        )
        try:
            answer, sent = self._answer(lambda: issue_token.sync_detailed(client=self._client, body=body))
        except Refused as refused:
            if refused.error.error.value == "invalid_grant":
                raise SignInAgain(refused.error.error_description) from refused
            raise
        assert isinstance(answer, TokenResponse)
        current = self._understand(answer, sent, token)
        self._keep(answer)
        return current

    def _answer(self, send: Callable[[], Response[Any]]) -> tuple[Any, float]:
        """Sends the same request until there is an answer: the server gives the same successor again.

        Returns the answer, and when the request was sent.
        """
        give_up = time.monotonic() + self._patience
        pause = 0.05
        while True:
            sent = self._clock()
            try:
                response = send()
            except httpx.TransportError as lost:
                trouble: Exception = lost
            else:
                if response.status_code == 200:
                    return response.parsed, sent
                if isinstance(response.parsed, (IssueTokenError, RevokeTokenError)) and response.status_code < 500:
                    raise Refused(response.parsed)
                trouble = Unavailable(f"status {response.status_code.value}")
                pause = max(pause, float(response.headers.get("Retry-After", "0")))
            if time.monotonic() + pause > give_up:
                raise Unavailable(str(trouble)) from trouble
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, 5.0)

    @staticmethod
    def _understand(tokens: TokenResponse, sent: float, previous: str | None) -> _Current:
        refresh_token = tokens.refresh_token or previous
        if not refresh_token:
            raise ValueError("there is no refresh token: this grant can't be kept fresh")
        # Early, and not at the same moment as every other process that started with this one.
        early = random.uniform(0.1, 0.3) * tokens.expires_in
        return _Current(
            tokens.access_token, refresh_token, sent + tokens.expires_in - early, sent + tokens.expires_in
        )
