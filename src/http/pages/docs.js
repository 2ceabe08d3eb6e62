// Starts Swagger UI on the page docs.html.
"use strict";

// The demo clients, where there are any: a public one for the browser, a confidential one where a secret is needed.
const DEMO_CLIENTS = {
  authorizationCode: { clientId: "demo-public" },
  clientCredentials: { clientId: "demo", clientSecret: "demo-secret" },
  password: { clientId: "demo", clientSecret: "demo-secret" },
};

addEventListener("DOMContentLoaded", () => {
  const demo = document.getElementById("ui").dataset.demo === "true";
  const ui = SwaggerUIBundle({
    url: "/openapi.json",
    dom_id: "#ui",
    deepLinking: true,
    // From the origin, not from location.href, which carries the fragment after a deep link.
    oauth2RedirectUrl: location.origin + "/docs/oauth2-redirect.html",
    displayRequestDuration: true,
    tryItOutEnabled: true,
    // Tokens must not end up in localStorage.
    persistAuthorization: false,
    // The default asks validator.swagger.io, and so tells it about this server.
    validatorUrl: null,
    plugins: [regrantSession.plugin(demo ? DEMO_CLIENTS : {})],
    requestInterceptor: regrantSession.freshen,
  });
  ui.initOAuth({ usePkceWithAuthorizationCodeGrant: true });
});
