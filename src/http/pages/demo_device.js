// Plays a device without a keyboard (RFC 8628): asks for codes, shows them, and polls until somebody has decided.
"use strict";

const CLIENT = "demo-public";
const GRANT = "urn:ietf:params:oauth:grant-type:device_code";
const $ = (id) => document.getElementById(id);

let round = 0;

async function post(path, fields) {
  const response = await fetch(path, { method: "POST", body: new URLSearchParams({ client_id: CLIENT, ...fields }) });
  return { ok: response.ok, body: await response.json() };
}

const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

function finish(kind, text) {
  const notice = document.createElement("p");
  notice.className = `notice ${kind}`;
  notice.textContent = text;
  $("outcome").replaceChildren(notice);
  $("waiting").hidden = true;
}

function show(device) {
  $("outcome").replaceChildren();
  $("waiting").hidden = false;
  $("user-code").textContent = device.user_code;
  $("link").href = device.verification_uri_complete;
  $("qr").src = `/device/qr?user_code=${device.user_code}`;
  $("qr").hidden = false;
  $("left").textContent = `Good for ${Math.round(device.expires_in / 60)} minutes. Asking every ${device.interval} seconds.`;
}

async function start() {
  const mine = ++round;
  const { ok, body: device } = await post("/oauth2/device_authorization", {});
  if (!ok) {
    return finish("error", device.error_description);
  }
  show(device);
  let interval = device.interval;
  for (;;) {
    await pause(interval);
    if (mine !== round) {
      return;
    }
    let answer;
    try {
      answer = await post("/oauth2/token", { grant_type: GRANT, device_code: device.device_code });
    } catch {
      // RFC 8628 §3.5: after a lost connection a device asks less often.
      interval *= 2;
      continue;
    }
    if (answer.ok) {
      return finish("good", `The device is connected, for ${answer.body.scope}.`);
    }
    if (answer.body.error === "slow_down") {
      interval += 5;
    } else if (answer.body.error !== "authorization_pending" && answer.body.error !== "temporarily_unavailable") {
      return finish("error", answer.body.error === "access_denied" ? "Somebody said no." : answer.body.error_description);
    }
  }
}

$("again").addEventListener("click", start);
start();
