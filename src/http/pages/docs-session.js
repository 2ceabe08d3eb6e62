// Keeps Swagger UI signed in: a plugin that refreshes silently, shows the time left, signs out by revoking, and leads from
// an error to its explanation. The tokens stay in memory: a reload forgets them.
"use strict";

const regrantSession = (() => {
  const LONGEST_PAUSE = 30_000;
  const element = (id) => document.getElementById("session-" + id);

  // What Swagger UI is authorized with, or null.
  let session = null;
  let notice = "";
  let clock = 0;

  function begin(payload, adopt) {
    end();
    const { auth, token } = payload;
    const tokenUrl = auth.schema.get("tokenUrl");
    session = { auth, adopt, tokenUrl, name: auth.name, flow: auth.schema.get("flow"), renewals: 0, refreshing: null };
    notice = "";
    understand(token, Date.now());
    clock = setInterval(show, 1000);
  }

  // Forgets, and says what it was.
  function end() {
    const ended = session;
    clearTimeout(ended?.timer);
    clearInterval(clock);
    session = null;
    show();
    return ended;
  }

  function understand(token, sent) {
    const lifetime = 1000 * token.expires_in;
    session.token = token;
    session.expiresAt = sent + lifetime;
    session.pause = 1000;
    // Early, and not at the same moment as every other page.
    session.refreshAt = sent + lifetime * (0.7 + 0.2 * Math.random());
    if (renewal()) schedule(session.refreshAt - Date.now());
    show();
  }

  function schedule(milliseconds) {
    clearTimeout(session.timer);
    session.timer = setTimeout(() => refresh().catch(() => undefined), Math.max(0, milliseconds));
  }

  // The form that gets the next access token, if there is one.
  function renewal() {
    const { token, flow } = session;
    if (token.refresh_token) return { grant_type: "refresh_token", refresh_token: token.refresh_token };
    if (flow === "clientCredentials") return { grant_type: "client_credentials", scope: token.scope ?? "" };
    return null;
  }

  function post(url, { auth }, form) {
    const credentials = { client_id: auth.clientId, client_secret: auth.clientSecret ?? "" };
    const body = new URLSearchParams({ ...form, ...credentials });
    return fetch(url, { method: "POST", body, cache: "no-store", credentials: "omit" });
  }

  // One at a time. After a lost answer the same refresh token goes out again: this server gives the same successor.
  function refresh() {
    session.refreshing ??= attempt(session).finally(() => {
      if (session) session.refreshing = null;
    });
    return session.refreshing;
  }

  async function attempt(of) {
    const sent = Date.now();
    let trouble = "the server can't be reached";
    let retryAfter = 0;
    try {
      const response = await post(of.tokenUrl, of, renewal());
      if (session !== of) return;
      const answer = await response.json();
      if (session !== of) return;
      if (response.ok) {
        of.renewals += 1;
        notice = "";
        understand({ ...answer, refresh_token: answer.refresh_token ?? of.token.refresh_token }, sent);
        of.adopt({ auth: of.auth, token: of.token });
        return;
      }
      if (response.status < 500) {
        forget(of, `Sign in again: ${answer.error_description} (${answer.error}).`);
        return;
      }
      trouble = `the server answers ${response.status}`;
      retryAfter = 1000 * Number(response.headers.get("Retry-After") ?? 0);
    } catch {
      if (session !== of) return;
    }
    notice = `Not renewed yet: ${trouble}. It is tried again.`;
    schedule(Math.max(of.pause, retryAfter));
    of.pause = Math.min(2 * of.pause, LONGEST_PAUSE);
    show();
  }

  // Ended by the server: nothing is left to revoke.
  function forget(of, why) {
    end();
    of.forget();
    notice = why;
    show();
  }

  async function revoke(ended) {
    const url = new URL("/oauth2/revoke", ended.tokenUrl);
    notice = "Signing out…";
    show();
    try {
      const response = await post(url, ended, { token: ended.token.refresh_token ?? ended.token.access_token });
      notice = response.ok ? "Signed out: the tokens are revoked." : `Not revoked: the server answers ${response.status}.`;
    } catch {
      notice = "Not revoked: the server can't be reached. The tokens end when they expire.";
    }
    show();
  }

  function show() {
    const panel = document.getElementById("session");
    panel.hidden = !session && !notice;
    element("state").hidden = element("end").hidden = !session;
    element("notice").textContent = notice;
    if (!session) return;
    const left = Math.max(0, Math.ceil((session.expiresAt - Date.now()) / 1000));
    element("client").textContent = session.auth.clientId;
    element("scope").textContent = session.token.scope ?? "none";
    element("left").textContent = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
    element("renewals").textContent = session.renewals;
    element("renews").textContent = renewal() ? "renews itself" : "can't be renewed";
    if (element("token").textContent !== session.token.access_token) {
      element("token").textContent = session.token.access_token;
    }
  }

  // Sees every request of Swagger UI. Timers may be late when the page slept; a request must not be.
  async function freshen(request) {
    // The endpoints of clients read no cookie. Without this a wrong secret, 401, would open the browser's own dialog.
    if (new URL(request.url, location.href).pathname.startsWith("/oauth2/")) request.credentials = "omit";
    if (!session || request.headers?.Authorization !== `Bearer ${session.token.access_token}`) return request;
    if (Date.now() >= session.refreshAt && renewal()) await refresh();
    if (session) request.headers.Authorization = `Bearer ${session.token.access_token}`;
    return request;
  }

  // The page of the error that a text tells of.
  function explanation(React, text) {
    const code = /"error":\s*"([a-z_]+)"|error: ([a-z_]+)|^\[([a-z_]+)\]/.exec(text ?? "")?.slice(1).find(Boolean);
    if (!code) return null;
    const link = { href: `/docs/errors/${code}`, target: "_blank", rel: "noopener" };
    return React.createElement("p", { className: "explained" }, React.createElement("a", link, `What ${code} means, and what to do`));
  }

  // Swagger UI's component with something after it.
  const followedBy = (Original, React, after) => (props) =>
    React.createElement(React.Fragment, null, React.createElement(Original, props), after(props));

  // `clients` says which client each flow is filled in with.
  const plugin = (clients) => () => ({
    statePlugins: {
      auth: {
        wrapActions: {
          authorizeOauth2: (original, system) => (payload) => {
            begin(payload, original);
            session.forget = () => system.authActions.logout([payload.auth.name]);
            element("end").onclick = session.forget;
            return original(payload);
          },
          logout: (original) => (names) => {
            if (session && names.includes(session.name)) revoke(end());
            return original(names);
          },
        },
      },
    },
    wrapComponents: {
      oauth2: (Original, { React }) => (props) => {
        const client = clients[props.schema.get("flow")];
        const getConfigs = () => ({ ...props.authSelectors.getConfigs(), ...client });
        return React.createElement(Original, { ...props, authSelectors: { ...props.authSelectors, getConfigs } });
      },
      authError: (Original, { React }) =>
        followedBy(Original, React, ({ error }) => explanation(React, error.get("message"))),
      liveResponse: (Original, { React }) =>
        followedBy(Original, React, ({ response }) => (response.get("status") >= 400 ? explanation(React, response.get("text")) : null)),
    },
  });

  return { plugin, freshen };
})();
