// Hands the authorization response to the Swagger UI that opened this window.
// Swagger UI leaves its pending request in window.swaggerUIRedirectOauth2 and waits for one of its two functions.
"use strict";

const CODE_FLOWS = ["accessCode", "authorizationCode", "authorization_code"];

function handOver(pending) {
  const inFragment = /code|token|error/.test(location.hash);
  const response = Object.fromEntries(new URLSearchParams((inFragment ? location.hash : location.search).slice(1)));
  const { auth, redirectUrl } = pending;
  const isValid = response.state === pending.state;
  const refuse = (message) => pending.errCb({ authId: auth.name, source: "auth", level: "error", message });

  if (!CODE_FLOWS.includes(auth.schema.get("flow")) || auth.code) {
    pending.callback({ auth, token: response, isValid, redirectUrl });
    return;
  }
  // RFC 6749 §10.12: an answer with another state was not asked for by that window, so its code isn't used.
  if (!isValid) {
    refuse("[Authorization failed]: the response carries another state than the request");
  } else if (response.code) {
    delete pending.state;
    auth.code = response.code;
    pending.callback({ auth, redirectUrl });
  } else if (response.error) {
    const description = response.error_description ? response.error_description + " " : "";
    const page = response.error_uri ? "See " + response.error_uri : "";
    refuse("[" + response.error + "]: " + description + page);
  } else {
    refuse("[Authorization failed]: the response carries no code");
  }
}

const pending = window.opener && window.opener.swaggerUIRedirectOauth2;
if (pending) {
  handOver(pending);
  window.close();
} else {
  document.getElementById("message").textContent =
    "No documentation page waits for this answer. Close this window and start again from /docs.";
}
