//! No kind of token passes for another: each is presented at every door where another kind belongs.

use base64::Engine as _;
use regrant::{
    client::{Client, ClientType, GrantType, RedirectUri},
    secret::sha256,
    token::device_code::UserCode,
};
use serde_json::json;

use crate::{
    device_flow::DEVICE_GRANT,
    on_both_stores,
    person::{Person, assert_page},
    support::{Answer, On, Server, unique},
};

on_both_stores!(no_kind_of_token_passes_for_another);

const CALLBACK: &str = "https://app.example/cb";
const VERIFIER: &str = "a-verifier-of-at-least-forty-three-characters";
const BROWSER_SESSION: &str = "__Host-regrant-session";
/// The first eight hexadecimal digits of SHA-256("spa").
const SESSION_COOKIE: &str = "__Host-rt-01698ce1";

/// One token of each kind, all good and unused.
struct Keys {
    access: String,
    access_of_a_client: String,
    refresh: String,
    cookie: String,
    code: String,
    device_code: String,
    user_code: String,
    session: String,
    /// What is no secret: of a grant, a token, a device.
    ids: [String; 3],
}

impl Keys {
    async fn of(server: &Server, anna: &mut Person) -> Self {
        let text = |answer: &Answer, name: &str| answer.json()[name].as_str().unwrap().to_owned();
        let login = server.login("app", "anna").await;
        let robot = server.token("app", &[("grant_type", "client_credentials")]).await;
        let device = server.send("/oauth2/device_authorization", "app", &[("scope", "read")]).await;
        let in_cookie_mode = [("client_id", "spa"), ("username", "anna"), ("password", "a good password")];
        let cookie = Answer::of(by_script(server, "/session").form(&in_cookie_mode)).await;
        let cookie = cookie.header("set-cookie").split(';').next().unwrap().to_owned();
        let challenge = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(sha256(VERIFIER.as_bytes()));
        let request = format!("response_type=code&client_id=app&code_challenge={challenge}&code_challenge_method=S256");
        let page = anna.open(&format!("/oauth2/authorize?{request}")).await;
        let allowed = anna.submit(&page, &[("decision", "allow")]).await;
        let location = url::Url::parse(allowed.header("location")).unwrap();
        let (_, code) = location.query_pairs().find(|(name, _)| name == "code").unwrap();
        let user_code = text(&device, "user_code");
        let device_id = server.app.issuer.device_codes().address(&UserCode::parse(&user_code).unwrap());
        let claim = |name: &str| login.claims()[name].as_str().unwrap().to_owned();
        Self {
            access: login.access_token(),
            access_of_a_client: robot.access_token(),
            refresh: login.refresh_token(),
            cookie: cookie.strip_prefix(&format!("{SESSION_COOKIE}=")).unwrap().to_owned(),
            code: code.into_owned(),
            device_code: text(&device, "device_code"),
            user_code,
            session: anna.cookies[BROWSER_SESSION].clone(),
            ids: [claim("gid"), claim("jti"), device_id.to_string()],
        }
    }

    fn all(&self) -> Vec<(&'static str, String)> {
        let [grant, token, device] = &self.ids;
        [
            ("access token", &self.access),
            ("access token of a client", &self.access_of_a_client),
            ("refresh token", &self.refresh),
            ("refresh token of a cookie", &self.cookie),
            ("authorization code", &self.code),
            ("device code", &self.device_code),
            ("user code", &self.user_code),
            ("browser session", &self.session),
            ("id of a grant", grant),
            ("id of a token", token),
            ("id of a device", device),
        ]
        .map(|(kind, text)| (kind, text.clone()))
        .to_vec()
    }
}

/// The same texts under the prefix of each kind.
fn disguised(keys: &[(&'static str, String)]) -> Vec<(&'static str, String)> {
    let body_of = |text: &str| text.split_once('_').map_or(text.to_owned(), |(_, body)| body.to_owned());
    let under =
        |prefix: &'static str| keys.iter().map(move |(kind, text)| (*kind, format!("{prefix}{}", body_of(text))));
    ["rt_", "dc_", "ac_", "bs_"].into_iter().flat_map(under).filter(|key| !keys.contains(key)).collect()
}

fn by_script(server: &Server, path: &str) -> reqwest::RequestBuilder {
    let post = server.http.post(format!("{}{path}", server.url));
    post.header("sec-fetch-site", "same-origin").header("x-requested-by", "oauth")
}

/// The doors, and the kind of key that opens each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    Refresh,
    Code,
    Device,
    Cookie,
    Session,
    UserCode,
    Introspection,
    Revocation,
    Password,
    ClientSecret,
}

impl Door {
    const ALL: [Self; 10] = [
        Self::Refresh,
        Self::Code,
        Self::Device,
        Self::Cookie,
        Self::Session,
        Self::UserCode,
        Self::Introspection,
        Self::Revocation,
        Self::Password,
        Self::ClientSecret,
    ];

    /// What belongs here and so is not tried. A client's own access token has no grant that a revocation could end.
    const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Refresh => &["refresh token"],
            Self::Code => &["authorization code"],
            Self::Device => &["device code"],
            Self::Cookie => &["refresh token of a cookie"],
            Self::Session => &["browser session"],
            Self::UserCode => &["user code"],
            Self::Introspection | Self::Revocation => &["access token", "access token of a client", "refresh token"],
            Self::Password | Self::ClientSecret => &[],
        }
    }

    /// Presents a key that belongs elsewhere.
    async fn refuses(self, server: &Server, anna: &mut Person, text: &str) {
        match self {
            Self::Refresh => server.refresh("app", text).await.assert_error(400, "invalid_grant"),
            Self::Code => {
                let form = [
                    ("grant_type", "authorization_code"),
                    ("code", text),
                    ("redirect_uri", CALLBACK),
                    ("code_verifier", VERIFIER),
                ];
                server.token("app", &form).await.assert_error(400, "invalid_grant");
            }
            Self::Device => {
                let form = [("grant_type", DEVICE_GRANT), ("device_code", text)];
                server.token("app", &form).await.assert_error(400, "invalid_grant");
            }
            Self::Cookie => {
                let cookie = format!("{SESSION_COOKIE}={text}");
                let refresh =
                    by_script(server, "/session/refresh").header("cookie", cookie).form(&[("client_id", "spa")]);
                let answer = Answer::of(refresh).await;
                answer.assert_error(400, "invalid_grant");
                assert!(answer.headers.get("set-cookie").is_none(), "{answer:?}");
            }
            Self::Session => {
                let mut stranger = Person::at(server);
                stranger.cookies.insert(BROWSER_SESSION.into(), text.to_owned());
                let answer = stranger.open("/account").await;
                assert_eq!(answer.status, 303, "{answer:?}");
                assert!(answer.header("location").starts_with("/login"), "{answer:?}");
            }
            Self::UserCode => {
                let page = anna.open("/device").await;
                let answer = anna.submit(&page, &[("user_code", text)]).await;
                assert_page(&answer, 200);
                assert!(answer.text.contains("id=\"problem\""), "{answer:?}");
            }
            Self::Introspection => assert_eq!(server.introspect("app", text).await, json!({ "active": false })),
            // Every answer is the same; that nothing was ended shows in the end.
            Self::Revocation => server.revoke("app", text).await,
            Self::Password => {
                // Wrong passwords are counted for each user.
                let user = unique("user");
                server.user(&user).await;
                let form = [("grant_type", "password"), ("username", &user), ("password", text)];
                server.token("app", &form).await.assert_error(400, "invalid_grant");
            }
            Self::ClientSecret => {
                let request = server.http.post(server.token_url()).basic_auth("app", Some(text));
                let form = [("grant_type", "client_credentials")];
                Answer::of(request.form(&form)).await.assert_error(401, "invalid_client");
            }
        }
    }
}

async fn no_kind_of_token_passes_for_another(on: On) {
    let server = Server::start(on).await;
    server
        .client_with("app", |client| {
            use GrantType::{AuthorizationCode, ClientCredentials, DeviceCode};
            client.grant_types.extend([AuthorizationCode, ClientCredentials, DeviceCode]);
            client.redirect_uris = vec![RedirectUri::parse(CALLBACK).unwrap()];
        })
        .await;
    let in_cookie_mode = |client: &mut Client| {
        client.client_type = ClientType::Public;
        client.secrets.clear();
        client.cookie_mode = true;
    };
    server.client_with("spa", in_cookie_mode).await;
    server.user("anna").await;
    let mut anna = Person::signed_in(&server, "anna").await;
    let keys = Keys::of(&server, &mut anna).await;
    let kinds = keys.all();
    let disguised = disguised(&kinds);
    for door in Door::ALL {
        // And for each network: no prefix makes a password of a token.
        let disguised = if door == Door::Password { [].as_slice() } else { &disguised };
        for (kind, text) in kinds.iter().filter(|(kind, _)| !door.keys().contains(kind)).chain(disguised) {
            println!("{kind} {text} at {door:?}");
            door.refuses(&server, &mut anna, text).await;
        }
    }
    // Nothing of that used anything up.
    server.refresh("app", &keys.refresh).await.assert_tokens();
    for token in [&keys.access, &keys.access_of_a_client] {
        assert_eq!(server.introspect("app", token).await["active"], true);
    }
    let cookie = format!("{SESSION_COOKIE}={}", keys.cookie);
    let refresh = by_script(&server, "/session/refresh").header("cookie", cookie).form(&[("client_id", "spa")]);
    assert_eq!(Answer::of(refresh).await.status, 200);
    let poll = [("grant_type", DEVICE_GRANT), ("device_code", keys.device_code.as_str())];
    server.token("app", &poll).await.assert_error(400, "authorization_pending");
    let page = anna.open("/device").await;
    assert_eq!(anna.submit(&page, &[("user_code", &keys.user_code)]).await.status, 303);
    let redeem = [
        ("grant_type", "authorization_code"),
        ("code", keys.code.as_str()),
        ("redirect_uri", ""),
        ("code_verifier", VERIFIER),
    ];
    server.token("app", &redeem).await.assert_tokens();
    assert_eq!(anna.open("/account").await.status, 200);
}
