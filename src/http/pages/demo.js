// A first-party app in cookie mode. The access token is in memory, the refresh token in a cookie that this script can't
// read. One tab refreshes for all of them: the lock sees to it, and the channel hands the result round.
"use strict";

const CLIENT = "demo-public";
// Not a secret: it only says that it is worth asking for a session after a reload.
const HINT = "regrant-demo-signed-in";
// A refresh is due when this part of the token's life is over, different in each tab so that they don't all wake at once.
const EARLIEST = 0.7;
const LATEST = 0.85;
// After a network error the same refresh is sent again; within the server's grace it gets the same answer.
const RETRY_MS = [500, 1000, 2000, 4000, 8000, 15000, 30000];

const channel = new BroadcastChannel("regrant-demo");
const $ = (id) => document.getElementById(id);

let session = null; // { token, claims, expiresAt, lifetime, endsAt }, times by Date.now()
let refreshAt = Infinity;
let failures = 0;

// The server

async function call(method, path, fields) {
  const request = { method, headers: { "X-Requested-By": "oauth" }, cache: "no-store" };
  if (method === "POST") {
    request.body = new URLSearchParams({ client_id: CLIENT, ...fields });
  }
  const response = await fetch(path, request);
  const text = await response.text();
  return { status: response.status, body: text ? JSON.parse(text) : {}, retryAfter: response.headers.get("Retry-After") };
}

async function signIn(username, password) {
  const { status, body } = await call("POST", "/session", { username, password });
  if (status === 200) {
    adopt(body, "Signed in");
    return null;
  }
  if (body.error === "invalid_grant") {
    return "The username or the password is wrong.";
  }
  return status === 503 ? "The server can’t answer right now. Try again in a moment." : body.error_description;
}

// Refreshes unless another tab did while we waited for the lock.
function refresh(why) {
  const seen = session;
  return navigator.locks.request("regrant-demo", async () => {
    if (session !== seen) {
      return;
    }
    let answer;
    try {
      answer = await call("POST", "/session/refresh", {});
    } catch {
      return later("No answer", RETRY_MS);
    }
    if (answer.status === 200) {
      failures = 0;
      return adopt(answer.body, why);
    }
    if (answer.status === 503 || answer.status === 500) {
      return later("The server is busy", [Number(answer.retryAfter || 1) * 1000]);
    }
    if (session === seen) {
      // The cookie stays: this may be the late failure of a session that a new login has replaced.
      leave(seen ? "Your session has ended. Please sign in again." : "");
    }
  });
}

function later(what, waits) {
  const wait = waits[Math.min(failures, waits.length - 1)] * (1 + Math.random() / 4);
  failures += 1;
  refreshAt = Date.now() + wait;
  note(`${what}: the same refresh again in ${(wait / 1000).toFixed(1)} s`);
  show();
}

async function signOut() {
  const { status, body } = await navigator.locks.request("regrant-demo", () =>
    call("DELETE", `/session?client_id=${encodeURIComponent(CLIENT)}`),
  );
  if (status === 204) {
    leave("You are signed out.", true);
    channel.postMessage({ kind: "ended" });
    return null;
  }
  return status === 503 ? "You are still signed in: the server can’t answer right now. Try again." : body.error_description;
}

// The state

function adopt(body, why) {
  const now = Date.now();
  take(
    {
      token: body.access_token,
      claims: claimsOf(body.access_token),
      lifetime: body.expires_in * 1000,
      expiresAt: now + body.expires_in * 1000,
      endsAt: now + (body.session_expires_in || 0) * 1000,
    },
    why,
  );
  channel.postMessage({ kind: "session", session, why: "Another tab: " + why.toLowerCase() });
}

function take(next, why) {
  session = next;
  const part = EARLIEST + Math.random() * (LATEST - EARLIEST);
  refreshAt = session.expiresAt - session.lifetime * (1 - part);
  localStorage.setItem(HINT, "yes");
  say("");
  note(why);
  show();
}

function leave(message, good) {
  session = null;
  refreshAt = Infinity;
  localStorage.removeItem(HINT);
  say(message, good ? "good" : "");
  show();
}

function claimsOf(token) {
  const payload = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
  return JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(payload), (sign) => sign.charCodeAt(0))));
}

channel.onmessage = ({ data }) => {
  if (data.kind === "session") {
    failures = 0;
    take(data.session, data.why);
  } else if (data.kind === "ended") {
    leave("You signed out in another tab.");
  } else if (data.kind === "hello" && session && session.expiresAt > Date.now()) {
    channel.postMessage({ kind: "session", session, why: "Another tab: here is the access token" });
  }
};

// The page

function say(message, kind) {
  const notice = $("notice");
  notice.replaceChildren();
  if (message) {
    const text = document.createElement("p");
    text.textContent = message;
    text.className = `notice ${kind || ""}`;
    notice.append(text);
  }
}

function note(what) {
  const item = document.createElement("li");
  const time = document.createElement("time");
  time.textContent = new Date().toLocaleTimeString();
  item.append(time, what);
  $("events").prepend(item);
  while ($("events").children.length > 6) {
    $("events").lastChild.remove();
  }
}

function fact(name, value) {
  const row = document.createElement("div");
  const term = document.createElement("dt");
  const description = document.createElement("dd");
  term.textContent = name;
  description.textContent = value;
  row.append(term, description);
  return row;
}

function clock(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

const TIMES = ["iat", "exp"];

function show() {
  $("waiting").hidden = true;
  $("signed-out").hidden = session !== null;
  $("signed-in").hidden = session === null;
  if (session) {
    const rows = Object.entries(session.claims).map(([name, value]) =>
      fact(name, TIMES.includes(name) ? new Date(value * 1000).toLocaleTimeString() : String(value)),
    );
    $("claims").replaceChildren(...rows);
    $("cookies").textContent = document.cookie || "(nothing)";
    const stored = Object.values({ ...localStorage, ...sessionStorage }).filter((value) => value.length > 20).length;
    $("stored").textContent = stored === 0 ? "none" : String(stored);
    $("session-end").textContent = new Date(session.endsAt).toLocaleString();
  }
  tick();
}

function tick() {
  if (!session) {
    return;
  }
  const left = session.expiresAt - Date.now();
  $("left").textContent = clock(left);
  $("bar").value = Math.max(0, left / session.lifetime);
  $("next").textContent = Number.isFinite(refreshAt)
    ? `The next silent refresh is in ${clock(refreshAt - Date.now())}, by whichever tab is first.`
    : "Refreshing…";
}

// A laptop that slept, or a tab in the background, may come late; then the refresh is due at once.
function wake() {
  tick();
  if (Date.now() >= refreshAt) {
    refreshAt = Infinity;
    refresh("Refreshed silently");
  }
}

async function busy(button, work) {
  button.disabled = true;
  try {
    const problem = await work();
    if (problem) {
      say(problem, "error");
    }
  } catch {
    say("The server can’t be reached. Try again in a moment.", "error");
  } finally {
    button.disabled = false;
  }
}

$("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  busy($("sign-in-button"), async () => {
    const problem = await signIn($("username").value, $("password").value);
    $("password").value = "";
    if (problem) {
      $("password").focus();
    }
    return problem;
  });
});
$("refresh").addEventListener("click", () => busy($("refresh"), () => refresh("Refreshed")));
$("sign-out").addEventListener("click", () => busy($("sign-out"), signOut));
setInterval(wake, 500);
document.addEventListener("visibilitychange", wake);

if (localStorage.getItem(HINT)) {
  $("waiting").hidden = false;
  // Another tab may have a good token; otherwise the cookie knows.
  channel.postMessage({ kind: "hello" });
  setTimeout(() => session || refresh("Found the session again"), 100);
} else {
  show();
}
