// Uses the TypeScript SDK against a live server; one line for each call that went as it should.

import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { paths } from "./regrant.d.ts";

const client = createClient<paths>({ baseUrl: process.env["REGRANT_URL"] ?? assert.fail("REGRANT_URL is not set") });
const credentials = { client_id: "demo", client_secret: "demo-secret" };
const headers = { "Content-Type": "application/x-www-form-urlencoded" };
const issue = (form: paths["/oauth2/token"]["post"]["requestBody"]["content"]["application/x-www-form-urlencoded"]) =>
  client.POST("/oauth2/token", { body: { ...form, ...credentials }, headers });

const signedIn = await issue({ grant_type: "password", username: "demo", password: "demo-password" });
assert.equal(signedIn.data?.token_type, "Bearer");
console.log("ok password");

const first = signedIn.data.refresh_token ?? assert.fail("no refresh token");
const refreshed = await issue({ grant_type: "refresh_token", refresh_token: first });
const second = refreshed.data?.refresh_token ?? assert.fail("no refresh token");
assert.notEqual(second, first);
console.log("ok refresh");

const rotated = await issue({ grant_type: "refresh_token", refresh_token: second });
assert.ok(rotated.data);
console.log("ok rotated");

const introspect = async (token: string) => {
  const { data } = await client.POST("/oauth2/introspect", { body: { token, ...credentials }, headers });
  return data?.active;
};
assert.equal(await introspect(rotated.data.access_token), true);
console.log("ok introspect");

const replayed = await issue({ grant_type: "refresh_token", refresh_token: first });
assert.equal(replayed.response.status, 400);
assert.equal(replayed.error?.error, "invalid_grant");
console.log("ok replay");

const again = await issue({ grant_type: "password", username: "demo", password: "demo-password" });
const revoked = await client.POST("/oauth2/revoke", {
  body: { token: again.data?.refresh_token ?? assert.fail("no refresh token"), ...credentials },
  headers,
});
assert.equal(revoked.response.status, 200);
assert.equal(await introspect(again.data?.access_token ?? ""), false);
console.log("ok revoke");

const wrong = await issue({ grant_type: "password", username: "demo", password: "wrong" });
assert.equal(wrong.response.status, 400);
// The compiler knows the codes: this line would not compile with a code that the operation doesn't answer.
assert.equal(wrong.error?.error satisfies "invalid_grant" | string | undefined, "invalid_grant");
console.log("ok typed-error");
