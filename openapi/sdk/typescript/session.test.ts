// Tests of the session layer against a live server. REGRANT_URL names it; LOSSY_PROXY is tests/sdk/lossy_proxy.py.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { test } from "node:test";
import createClient, { type Client } from "openapi-fetch";
import type { paths } from "./regrant.d.ts";
import { MemoryStore, Session, SignInAgain, Unavailable, type TokenResponse } from "./session.ts";

const url = process.env["REGRANT_URL"] ?? assert.fail("REGRANT_URL is not set");
const credentials = { clientId: "demo", clientSecret: "demo-secret" };
const callers = 100;
const lifetimes = 50;
const lifetime = 600_000;

let now = 1_000_000;
const clock = () => now;

async function signIn(client: Client<paths>): Promise<TokenResponse> {
  const { data, error } = await client.POST("/oauth2/token", {
    body: {
      grant_type: "password",
      username: "demo",
      password: "demo-password",
      client_id: "demo",
      client_secret: "demo-secret",
    },
    headers: { "Content-Type": "application/x-www-form-urlencoded" },
  });
  return data ?? assert.fail(JSON.stringify(error));
}

async function lossyProxy(): Promise<{ url: string; stop: () => void }> {
  const proxy = spawn("python3", [process.env["LOSSY_PROXY"] ?? assert.fail("LOSSY_PROXY is not set"), url]);
  for await (const line of createInterface({ input: proxy.stdout })) {
    return { url: line, stop: () => proxy.kill() };
  }
  return assert.fail("the proxy did not start");
}

test("many callers in two tabs refresh once a lifetime, though answers are lost", async () => {
  assert.ok(globalThis.navigator?.locks, "this Node.js has navigator.locks");
  const proxy = await lossyProxy();
  try {
    const client = createClient<paths>({ baseUrl: proxy.url });
    const store = new MemoryStore();
    const tabs = [0, 1].map(() => new Session(client, { ...credentials, store, clock, name: "crowd" }));
    await tabs[0]!.begin(await signIn(client));
    const tokens = new Set([await tabs[0]!.accessToken()]);
    for (let round = 0; round < lifetimes; round++) {
      now += lifetime;
      const asked = Array.from({ length: callers }, (_, index) => tabs[index % 2]!.accessToken());
      const answers = new Set(await Promise.all(asked));
      assert.equal(answers.size, 1, "all callers got the one new token");
      for (const token of answers) {
        assert.ok(!tokens.has(token), "it is a new one");
        tokens.add(token);
      }
    }
    const seen = (await (await fetch(`${proxy.url}/-/seen`)).json()) as Record<string, number>;
    console.log(`${callers} callers, ${lifetimes} lifetimes: ${JSON.stringify(seen)}`);
    assert.equal(seen["tokens"], lifetimes, "one refresh a lifetime");
    assert.equal(seen["refreshes"]! - seen["lost"]!, lifetimes, "and its retries");
    assert.ok(seen["lost"]! > 0);
  } finally {
    proxy.stop();
  }
});

test("it refreshes early and hands out the token at hand meanwhile", async () => {
  const client = createClient<paths>({ baseUrl: url });
  const session = new Session(client, { ...credentials, clock, name: "early" });
  const first = await signIn(client);
  await session.begin(first);
  now += 0.69 * lifetime;
  assert.equal(await session.accessToken(), first.access_token);
  now += 0.22 * lifetime;
  assert.equal(await session.accessToken(), first.access_token);
  now += 0.1 * lifetime;
  assert.notEqual(await session.accessToken(), first.access_token);
});

test("a server out of reach does not end the session", async () => {
  const first = await signIn(createClient<paths>({ baseUrl: url }));
  const nowhere = createClient<paths>({ baseUrl: "http://127.0.0.1:9" });
  const session = new Session(nowhere, { ...credentials, clock, name: "away", patience: 200 });
  await session.begin(first);
  now += 0.95 * lifetime;
  assert.equal(await session.accessToken(), first.access_token, "still good");
  now += lifetime;
  await assert.rejects(session.accessToken(), Unavailable);
  await assert.rejects(session.accessToken(), Unavailable);
});

test("a revoked grant asks for a new sign-in, once and for all", async () => {
  const client = createClient<paths>({ baseUrl: url });
  const first = await signIn(client);
  const [thief, session] = ["thief", "owner"].map((name) => new Session(client, { ...credentials, clock, name }));
  await thief!.begin(first);
  await session!.begin(first);
  for (let uses = 0; uses < 2; uses++) {
    now += lifetime;
    await thief!.accessToken();
  }
  await assert.rejects(session!.accessToken(), SignInAgain);
  await assert.rejects(session!.accessToken(), SignInAgain);
});

test("signing out revokes the grant, for all tabs", async () => {
  const client = createClient<paths>({ baseUrl: url });
  const store = new MemoryStore();
  const first = await signIn(client);
  const [session, tab] = [0, 1].map(() => new Session(client, { ...credentials, store, clock, name: "leaving" }));
  const copy = new Session(client, { ...credentials, clock, name: "copy" });
  await session!.begin(first);
  await copy.begin(first);
  await session!.signOut();
  await session!.signOut();
  await assert.rejects(session!.accessToken(), SignInAgain);
  await assert.rejects(tab!.accessToken(), SignInAgain);
  now += lifetime;
  await assert.rejects(copy.accessToken(), SignInAgain);
});

test("signing out without the server leaves the session as it was", async () => {
  const first = await signIn(createClient<paths>({ baseUrl: url }));
  const nowhere = createClient<paths>({ baseUrl: "http://127.0.0.1:9" });
  const session = new Session(nowhere, { ...credentials, clock, name: "stuck", patience: 200 });
  await session.begin(first);
  await assert.rejects(session.signOut(), Unavailable);
  assert.equal(await session.accessToken(), first.access_token);
});
