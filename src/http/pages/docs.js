// Starts Swagger UI on the page docs.html.
"use strict";

addEventListener("DOMContentLoaded", () => {
  const page = document.getElementById("ui");
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
  });
  ui.initOAuth({
    clientId: page.dataset.demo === "true" ? "demo-public" : "",
    usePkceWithAuthorizationCodeGrant: true,
  });
});
