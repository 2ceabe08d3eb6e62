"""Tests of the session layer against a live server. REGRANT_URL names it; LOSSY_PROXY is tests/sdk/lossy_proxy.py."""

import json
import os
import subprocess
import sys
import threading
import unittest
from concurrent.futures import ThreadPoolExecutor
from typing import cast
from urllib.request import urlopen

from regrant_client import AuthenticatedClient, Client
from regrant_client.api.tokens import issue_token
from regrant_client.models import TokenRequest, TokenRequestGrantType, TokenResponse
from regrant_session import Session, SignInAgain, Unavailable

URL = os.environ["REGRANT_URL"]
CLIENT, SECRET = "demo", "demo-secret"
CALLERS = 100
LIFETIMES = 50


class Clock:
    """A clock that the test turns."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def sign_in(client: Client) -> TokenResponse:
    body = TokenRequest(
        grant_type=TokenRequestGrantType.PASSWORD,
        username="demo",
        password="demo-password",
        client_id=CLIENT,
        client_secret=SECRET,
    )
    answer = issue_token.sync(client=cast(AuthenticatedClient, client), body=body)
    assert isinstance(answer, TokenResponse), answer
    return answer


class SessionTest(unittest.TestCase):
    def setUp(self) -> None:
        self.clock = Clock()

    def test_many_callers_refresh_once_a_lifetime_though_answers_are_lost(self) -> None:
        proxy = subprocess.Popen([sys.executable, os.environ["LOSSY_PROXY"], URL], stdout=subprocess.PIPE, text=True)
        self.addCleanup(proxy.wait)
        self.addCleanup(proxy.kill)
        assert proxy.stdout is not None
        self.addCleanup(proxy.stdout.close)
        through = proxy.stdout.readline().strip()
        with Client(base_url=through) as client, ThreadPoolExecutor(CALLERS) as callers:
            session = Session(client, sign_in(client), CLIENT, SECRET, clock=self.clock)
            tokens = {session.access_token()}
            start = threading.Barrier(CALLERS)

            def call(_: int) -> str:
                start.wait()
                return session.access_token()

            for _ in range(LIFETIMES):
                self.clock.now += 600
                answers = set(callers.map(call, range(CALLERS)))
                self.assertEqual(len(answers), 1, "all callers got the one new token")
                self.assertFalse(answers & tokens, "it is a new one")
                tokens |= answers
        with urlopen(f"{through}/-/seen") as response:
            seen = json.load(response)
        print(f"{CALLERS} callers, {LIFETIMES} lifetimes: {seen}")
        self.assertEqual(seen["tokens"], LIFETIMES, "one refresh a lifetime")
        self.assertEqual(seen["refreshes"] - seen["lost"], LIFETIMES, "and its retries")
        self.assertGreater(seen["lost"], 0)

    def test_it_refreshes_early_and_hands_out_the_token_at_hand_meanwhile(self) -> None:
        with Client(base_url=URL) as client:
            first = sign_in(client)
            kept: list[TokenResponse] = []
            session = Session(client, first, CLIENT, SECRET, clock=self.clock, keep=kept.append)
            self.clock.now += 0.69 * first.expires_in
            self.assertEqual(session.access_token(), first.access_token)
            self.clock.now += 0.22 * first.expires_in
            self.assertNotEqual(session.access_token(), first.access_token)
            self.assertEqual(len(kept), 1)

    def test_a_server_out_of_reach_does_not_end_the_session(self) -> None:
        with Client(base_url=URL) as client, Client(base_url="http://127.0.0.1:1") as nowhere:
            first = sign_in(client)
            session = Session(nowhere, first, CLIENT, SECRET, clock=self.clock, patience=0.2)
            self.clock.now += 0.95 * first.expires_in
            self.assertEqual(session.access_token(), first.access_token, "still good")
            self.clock.now += first.expires_in
            with self.assertRaises(Unavailable):
                session.access_token()
            with self.assertRaises(Unavailable):
                session.access_token()

    def test_a_revoked_grant_asks_for_a_new_sign_in_once_and_for_all(self) -> None:
        with Client(base_url=URL) as client:
            first = sign_in(client)
            thief = Session(client, first, CLIENT, SECRET, clock=self.clock)
            session = Session(client, first, CLIENT, SECRET, clock=self.clock)
            for _ in range(2):
                self.clock.now += 600
                thief.access_token()
            with self.assertRaises(SignInAgain):
                session.access_token()
            with self.assertRaises(SignInAgain):
                session.access_token()

    def test_signing_out_revokes_the_grant(self) -> None:
        with Client(base_url=URL) as client:
            first = sign_in(client)
            copy = Session(client, first, CLIENT, SECRET, clock=self.clock)
            session = Session(client, first, CLIENT, SECRET, clock=self.clock)
            session.sign_out()
            session.sign_out()
            with self.assertRaises(SignInAgain):
                session.access_token()
            self.clock.now += 600
            with self.assertRaises(SignInAgain):
                copy.access_token()

    def test_signing_out_without_the_server_leaves_the_session_as_it_was(self) -> None:
        with Client(base_url=URL) as client, Client(base_url="http://127.0.0.1:1") as nowhere:
            first = sign_in(client)
            session = Session(nowhere, first, CLIENT, SECRET, clock=self.clock, patience=0.2)
            with self.assertRaises(Unavailable):
                session.sign_out()
            self.assertEqual(session.access_token(), first.access_token)


if __name__ == "__main__":
    unittest.main()
