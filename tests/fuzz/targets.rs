//! What every parser of outside bytes promises, as functions of arbitrary bytes: they panic when it does not hold.
//!
//! libFuzzer calls them with what it invents, see `fuzz.rs`; `cargo test` with every case that was ever found, see
//! `tests/it/fuzz_corpus.rs`.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::OnceLock,
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use poem::http::{HeaderMap, HeaderName, HeaderValue, header};
use regrant::{
    authorization::Redirect,
    client::{Client, ClientName, RedirectUri, WebOrigin, authentication::Credentials},
    clock::{Clock, Timestamp},
    config::Config,
    error::InvalidRequest,
    http::{
        Language, cookies,
        credentials::read as read_credentials,
        form::{Form, decode},
        forwarded_client,
    },
    ids::{ClientId, DeviceId, GrantId, OwnerId, SessionId, Username},
    pkce::CodeChallenge,
    resource,
    scope::Scope,
    secret::{SecretText, ServerSecret},
    store::{Origin, Store, embedded::EmbeddedStore, redis::RedisStore},
    token::{
        authorization_code::AuthorizationCodeKeys,
        device_code::{DeviceCode, DeviceCodes, UserCode},
        envelope::EnvelopeSecret,
        keys::{FirstKey, SigningKeys},
        refresh_token::{RefreshToken, RefreshTokenKeys},
        verification,
    },
};
use serde_json::{Value, json};

/// A parser with its promise.
pub type Target = fn(&[u8]);

/// All of them, by the name of their folder in `corpus/`.
pub const TARGETS: [(&str, Target); 8] = [
    ("form", form),
    ("credentials", credentials),
    ("cookie", cookie),
    ("sealed_text", sealed_text),
    ("access_token", access_token),
    ("vocabulary", vocabulary),
    ("redirection", redirection),
    ("address", address),
];

/// A form is read as the slow and obvious reading has it: each parameter once, decoded once, none without a value.
fn form(bytes: &[u8]) {
    let plain = plain_form(bytes);
    match (Form::parse_any(bytes), &plain) {
        (Err(why), None) => assert_eq!(why, InvalidRequest::Malformed),
        (Ok((mut form, repeated)), Some(pairs)) => {
            let mut first = BTreeMap::new();
            let (mut again, mut resources) = (Vec::new(), Vec::new());
            for (name, value) in pairs {
                if name == "resource" {
                    resources.extend(Some(value.clone()).filter(|value| !value.is_empty()));
                } else if first.contains_key(name) {
                    again.push(name.clone());
                } else {
                    first.insert(name.clone(), value.clone());
                }
            }
            assert_eq!(repeated, again);
            assert_eq!(Form::parse(bytes).err(), (!again.is_empty()).then_some(InvalidRequest::RepeatedParameter));
            assert_eq!(form.take_resources(), resources);
            for (name, value) in first {
                assert_eq!(form.has(&name), !value.is_empty(), "{name:?}");
                assert_eq!(form.take(&name).unwrap_or_default(), value, "{name:?}");
                assert!(!form.has(&name));
            }
            assert_eq!(form.take("resource"), None);
        }
        (read, plain) => panic!("read: {}, by the plain reading: {plain:?}", read.is_ok()),
    }
    // What is written by the rules reads back.
    let text = String::from_utf8_lossy(bytes).replace('\0', "");
    assert_eq!(decode(percent_encoded(&text).as_bytes()), Some(text));
}

/// RFC 6749 Appendix B, by a way that shares nothing with the server's.
fn plain_form(bytes: &[u8]) -> Option<Vec<(String, String)>> {
    let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((plain_decoded(name)?, plain_decoded(value)?))
        })
        .collect()
}

fn plain_decoded(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    let mut pieces = spaced.split('%');
    let latin = |piece: &str| piece.chars().map(|c| u8::try_from(c).unwrap_or_default()).collect::<Vec<u8>>();
    let mut bytes = latin(pieces.next()?);
    for piece in pieces {
        let piece = latin(piece);
        let digits = piece.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        bytes.extend(&piece[2..]);
    }
    String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02x}") })
        .collect()
}

/// Credentials come out as they went in, by exactly one way, and nothing else passes for them. The bytes: how many of them
/// are the header, the header, the body.
fn credentials(bytes: &[u8]) {
    let Some((length, rest)) = bytes.split_first() else { return };
    let (head, body) = rest.split_at(usize::from(*length).min(rest.len()));
    let Ok(mut form) = Form::parse(body) else { return };
    let (in_body, secret_in_body) = (form.has("client_id"), form.has("client_secret"));
    let mut headers = HeaderMap::new();
    if let (false, Ok(value)) = (head.is_empty(), HeaderValue::from_bytes(head)) {
        headers.insert(header::AUTHORIZATION, value);
    }
    let by_header = !headers.is_empty();
    match read_credentials(&headers, &mut form) {
        Ok(Credentials::Secret { client_id, secret }) => {
            assert!(!secret.expose().is_empty());
            assert_ne!(by_header, secret_in_body, "two ways at once, or none");
            assert!(by_header || in_body);
            assert!(!client_id.contains('\0') && !secret.expose().contains('\0'));
        }
        Ok(Credentials::Identifier { client_id }) => {
            assert!(!secret_in_body);
            assert!(by_header || !client_id.is_empty());
        }
        Err(_) => {}
    }
    assert!(!form.has("client_id") && !form.has("client_secret"), "taken out whatever comes of it");

    // Written by the rules of RFC 6749 §2.3.1 they read back. Two thirds of the bytes are the identifier.
    let text = String::from_utf8_lossy(rest).replace('\0', "");
    let middle = text.char_indices().map(|(at, _)| at).find(|at| *at >= text.len() / 3).unwrap_or_default();
    let (id, secret) = text.split_at(middle);
    let basic = STANDARD.encode(format!("{}:{}", percent_encoded(id), percent_encoded(secret)));
    let mut headers = HeaderMap::new();
    headers.insert(header::AUTHORIZATION, HeaderValue::from_str(&format!("basic {basic}")).expect("is ASCII"));
    let Ok(mut nothing) = Form::parse(b"") else { panic!("an empty form is one") };
    match read_credentials(&headers, &mut nothing) {
        Ok(Credentials::Secret { client_id, secret: read }) => assert_eq!((&*client_id, read.expose()), (id, secret)),
        Ok(Credentials::Identifier { client_id }) => assert_eq!((&*client_id, ""), (id, secret)),
        Err(_) => panic!("credentials that were written by the rules are refused"),
    }
}

/// A cookie is the one of exactly that name, as RFC 6265 §5.4 would have written it, and never one of two. Line feeds
/// separate header lines.
fn cookie(bytes: &[u8]) {
    const NAME: &str = "__Host-rt-f62af5c7";
    let mut headers = HeaderMap::new();
    let mut values = Vec::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        let Ok(value) = HeaderValue::from_bytes(line) else { continue };
        headers.append(header::COOKIE, value);
        for pair in line.split(|byte| *byte == b';') {
            let pair: String = pair.iter().map(|byte| char::from(*byte)).collect();
            let pair = pair.trim_matches([' ', '\t']);
            values.extend(pair.split_once('=').filter(|(name, _)| *name == NAME).map(|(_, value)| value.to_owned()));
        }
    }
    let ours =
        |value: &String| !value.is_empty() && value.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    match cookies::read(&headers, NAME) {
        Ok(read) => {
            assert!(values.len() < 2);
            assert_eq!(read, values.first().filter(|value| ours(value)).map(String::as_str));
            if let Some(value) = read {
                let set = cookies::set(NAME, value, cookies::SameSite::Strict, Some(60));
                let pair = set.to_str().ok().and_then(|set| set.split(';').next()).unwrap_or_default();
                assert_eq!(pair, format!("{NAME}={value}"));
            }
        }
        Err(cookies::Repeated) => assert!(values.len() > 1),
    }
}

/// The secret of the targets; one like any other.
fn secret() -> &'static ServerSecret {
    static SECRET: OnceLock<ServerSecret> = OnceLock::new();
    SECRET.get_or_init(|| match ServerSecret::parse("Zm9yIHRoZSBmdXp6IHRhcmdldHMsIG5vdGhpbmcgZWw") {
        Ok(secret) => secret,
        Err(error) => panic!("{error}"),
    })
}

struct Sealed {
    refresh: RefreshTokenKeys,
    codes: AuthorizationCodeKeys,
    devices: DeviceCodes,
}

/// Refresh tokens, authorization codes and device codes: what we made is read back, and no other text at all, whatever
/// its prefix. The bytes are a text; and then what a token is made of and how its text is changed.
fn sealed_text(bytes: &[u8]) {
    static KEYS: OnceLock<Sealed> = OnceLock::new();
    let keys = KEYS.get_or_init(|| Sealed {
        refresh: RefreshTokenKeys::new(secret()),
        codes: AuthorizationCodeKeys::new(secret()),
        devices: DeviceCodes::new(secret()),
    });
    if let Ok(text) = std::str::from_utf8(bytes) {
        assert!(keys.refresh.decode(text).is_none() && keys.codes.decode(text).is_none());
        assert!(keys.devices.decode(text).is_none() && keys.devices.open(text).is_none());
    }
    let Some((made_of, changes)) = bytes.split_first_chunk::<60>() else { return };
    let take = |at: usize| -> [u8; 16] { std::array::from_fn(|i| made_of[at + i]) };
    let token = RefreshToken {
        owner: OwnerId(take(0)),
        grant: GrantId(take(16)),
        generation: u32::from_be_bytes(std::array::from_fn(|i| made_of[32 + i])),
        family_secret: EnvelopeSecret::computed(std::array::from_fn(|i| made_of[36 + i])),
    };
    let text = keys.refresh.encode(&token, secret().key_id());
    let Some(read) = keys.refresh.decode(text.expose()) else { panic!("our own token is refused") };
    assert_eq!((read.owner, read.grant, read.generation), (token.owner, token.grant, token.generation));
    assert_eq!(read.family_secret.hash(), token.family_secret.hash());
    assert_eq!(keys.refresh.encode(&read, secret().key_id()).expose(), text.expose());
    assert!(keys.codes.decode(text.expose()).is_none() && keys.devices.decode(text.expose()).is_none());

    let device = DeviceCode::random(DeviceId(take(0)));
    let device_text = keys.devices.encode(&device);
    let read = keys.devices.decode(device_text.expose());
    assert_eq!(read.map(|code| (code.id, code.secret_hash())), Some((device.id, device.secret_hash())));

    for original in [text.expose(), device_text.expose()] {
        let changed = change(original, changes);
        if changed != original {
            assert!(keys.refresh.decode(&changed).is_none() && keys.devices.decode(&changed).is_none());
            for prefix in ["rt_", "ac_", "dc_"] {
                let moved = format!("{prefix}{}", changed.get(3..).unwrap_or_default());
                let known = moved == original;
                assert_eq!(keys.refresh.decode(&moved).is_some() || keys.devices.decode(&moved).is_some(), known);
                assert!(keys.codes.decode(&moved).is_none());
            }
        }
    }
}

/// Changes a text by an operation each three bytes: replaces, removes or inserts a character.
fn change(text: &str, operations: &[u8]) -> String {
    let mut characters: Vec<char> = text.chars().collect();
    for operation in operations.chunks_exact(3) {
        let at = usize::from(operation[1]) % (characters.len() + 1);
        match (operation[0] % 4, characters.get_mut(at)) {
            (0, Some(character)) => *character = char::from(operation[2]),
            (1, Some(_)) => drop(characters.remove(at)),
            (2, _) => characters.insert(at, char::from(operation[2])),
            (3, _) => characters.truncate(at),
            _ => {}
        }
    }
    characters.into_iter().collect()
}

/// The access tokens of the targets are for this issuer.
const ISSUER: &str = "https://issuer.example";
const NOW: Timestamp = Timestamp(1_700_000_000_000);

/// An access token is accepted when we signed it, for this issuer, and it lives; no other text is. Text is looked at as a
/// token; JSON is signed and looked at; the rest changes a good token.
fn access_token(bytes: &[u8]) {
    static KEYS: OnceLock<(SigningKeys, String)> = OnceLock::new();
    let (keys, good) = KEYS.get_or_init(|| {
        let keys = signing_keys();
        let claims = json!({
            "iss": ISSUER, "sub": "subject", "aud": ISSUER, "exp": NOW.seconds() + 600, "iat": NOW.seconds(),
            "jti": "id", "client_id": "app", "scope": "read write",
        });
        let good = keys.sign(&claims, NOW).unwrap_or_default();
        (keys, good)
    });
    let Some((mode, rest)) = bytes.split_first() else { return };
    match mode % 3 {
        0 => {
            let text = String::from_utf8_lossy(rest);
            assert!(verification::verify(&text, keys, ISSUER, NOW).is_err(), "{text:?} was not signed by us");
        }
        1 => {
            let Ok(claims) = serde_json::from_slice::<Value>(rest) else { return };
            let Ok(text) = keys.sign(&claims, NOW) else { return };
            let Ok(token) = verification::verify(&text, keys, ISSUER, NOW) else { return };
            assert_eq!(claims["iss"], ISSUER);
            assert!(token.exp > NOW.seconds() && claims["exp"] == json!(token.exp));
            assert!(ClientId::parse(token.client_id.as_str()).is_ok());
            assert!(Scope::parse(token.scope.as_str()).is_ok());
            assert_eq!(claims["sub"], json!(token.sub));
            // A token for another issuer or an hour later is none.
            assert!(verification::verify(&text, keys, "https://other.example", NOW).is_err());
            assert!(verification::verify(&text, keys, ISSUER, token.expires_at()).is_err());
        }
        _ => {
            let changed = change(good, rest);
            assert_eq!(verification::verify(&changed, keys, ISSUER, NOW).is_ok(), changed == *good, "{changed}");
            // Another header over the same payload and signature.
            let (_, signed) = good.split_once('.').unwrap_or_default();
            let moved = format!("{}.{signed}", URL_SAFE_NO_PAD.encode(rest));
            assert!(verification::verify(&moved, keys, ISSUER, NOW).is_err() || moved == *good);
        }
    }
}

fn signing_keys() -> SigningKeys {
    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.unwrap_or_else(|error| panic!("{error}"));
    runtime.block_on(async {
        let store = EmbeddedStore::open(&folder.path().join("keys.db"), Clock::system());
        let store = store.unwrap_or_else(|error| panic!("{error}"));
        let store: &dyn Store = &store;
        let keys = SigningKeys::load(store, secret(), &Config::default(), FirstKey::Make).await;
        keys.unwrap_or_else(|error| panic!("{error}"))
    })
}

/// Words of the protocol: what is accepted obeys its grammar, is written as it was read, and is accepted again.
fn vocabulary(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let visible = |text: &str| text.bytes().all(|byte| (0x21..=0x7e).contains(&byte));

    if let Ok(scope) = Scope::parse(text) {
        assert_eq!(Scope::parse(scope.as_str()).ok().as_ref(), Some(&scope));
        let tokens: Vec<&str> = scope.tokens().collect();
        assert!(tokens.windows(2).all(|pair| pair[0] < pair[1]), "sorted, each once");
        let mut wanted: Vec<&str> = text.split(' ').filter(|token| !token.is_empty()).collect();
        wanted.sort_unstable();
        wanted.dedup();
        assert_eq!(tokens, wanted);
        assert!(tokens.iter().all(|token| visible(token) && !token.contains(['"', '\\'])));
        assert!(scope.is_subset_of(&scope) && scope.intersection(&scope) == scope);
        assert!(Scope::default().is_subset_of(&scope) && scope.intersection(&Scope::default()).is_empty());
    } else {
        assert!(!text.is_empty());
    }
    assert_eq!(ClientId::parse(text).is_ok(), (1..=128).contains(&text.len()) && visible(text));
    if let Ok(resource) = resource::parse(text) {
        assert!(resource == text && visible(text) && !text.contains('#'));
    }
    if let Ok(name) = ClientName::parse(text) {
        assert!(ClientName::parse(name.as_str()).is_ok_and(|again| again == name));
        assert!((1..=80).contains(&name.as_str().chars().count()) && !name.as_str().chars().any(char::is_control));
    }
    if let Ok(name) = Username::parse(text) {
        assert!((1..=128).contains(&name.as_str().chars().count()), "{name}");
        assert!(!name.as_str().chars().any(|c| c.is_control() || c.is_whitespace()), "{name:?}");
        // RFC 8265 §3.3: the one form of a name is its own form, so that nobody has two accounts.
        match Username::parse(name.as_str()) {
            Ok(again) => assert_eq!(again, name),
            Err(_) => panic!("{text:?} is the name {name:?}, which is no name"),
        }
    }
    if let Some(code) = UserCode::parse(text) {
        let shown = code.text();
        assert!(UserCode::parse(&shown).is_some_and(|again| again == code));
        let letters: String = text.chars().filter(char::is_ascii_alphabetic).collect();
        assert_eq!(shown.replace('-', ""), letters.to_ascii_uppercase());
    }
    if let Some(challenge) = CodeChallenge::parse(text) {
        assert_eq!(challenge.to_text(), text);
    }
    let verifier = CodeChallenge::of_verifier(&SecretText::new(text.to_owned()));
    assert_eq!(
        verifier.is_some(),
        (43..=128).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || "-._~".contains(c))
    );
    let ids = [
        GrantId::parse(text).map(|id| id.to_string()),
        OwnerId::parse(text).map(|id| id.to_string()),
        SessionId::parse(text).map(|id| id.to_string()),
    ];
    assert!(ids.into_iter().flatten().all(|written| written == text));
    if let Ok(secret) = ServerSecret::parse(text) {
        assert!(ServerSecret::parse(secret.to_text().expose()).is_ok_and(|again| again.key_id() == secret.key_id()));
    }
    let origin = Origin::new(None, bytes);
    assert!(origin.agent.len() <= 64 && origin.agent.bytes().all(|byte| (0x20..=0x7e).contains(&byte)));
}

/// Where a browser is sent: a registered URI is one that a browser takes unchanged, and a request reaches no other place.
/// The first line is registered, the second asked for, the third the `state`.
fn redirection(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut lines = text.splitn(3, '\n');
    let (registered, asked, state) =
        (lines.next().unwrap_or_default(), lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    if let Ok(origin) = WebOrigin::parse(registered) {
        let url = url::Url::parse(origin.as_str()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(url.origin().ascii_serialization(), registered);
        assert!(matches!(url.scheme(), "https" | "http"));
        assert!(registered.bytes().all(|byte| (0x21..=0x7e).contains(&byte)));
    }
    let Ok(uri) = RedirectUri::parse(registered) else { return };
    assert_eq!(uri.as_str(), registered);
    let url = url::Url::parse(registered).unwrap_or_else(|error| panic!("{error}"));
    assert!(url.fragment().is_none() && url.username().is_empty() && url.password().is_none());
    assert!(registered.bytes().all(|byte| (0x21..=0x7e).contains(&byte)), "{registered:?} goes into a header");

    let client = client_with(&uri);
    for asked in [asked, registered] {
        let Some(redirect) = Redirect::verify(&client, Some(asked), Some(state)) else {
            assert_ne!(asked, registered);
            continue;
        };
        assert_eq!(redirect.uri(), asked);
        if asked != registered {
            // RFC 8252 §7.3: only the port, and only on the own machine.
            let mut reached = url::Url::parse(asked).unwrap_or_else(|error| panic!("{asked}: {error}"));
            assert!(
                reached.scheme() == "http" && ["127.0.0.1", "[::1]"].contains(&reached.host_str().unwrap_or_default())
            );
            assert_eq!(reached.set_port(url.port()), Ok(()));
            assert_eq!(reached, url, "{asked} was not registered");
        }
        let answer = redirect.answer(&[("code", "a code & more")], ISSUER);
        assert!(answer.starts_with(asked) && HeaderValue::from_str(&answer).is_ok());
        let answered = url::Url::parse(&answer).unwrap_or_else(|error| panic!("{answer}: {error}"));
        let before = url::Url::parse(asked).unwrap_or_else(|error| panic!("{asked}: {error}"));
        let place = |url: &url::Url| url[..url::Position::AfterPath].to_owned();
        assert_eq!(place(&answered), place(&before), "{answer}");
        let value = |name: &str| {
            let values: Vec<String> =
                answered.query_pairs().filter(|(key, _)| key == name).map(|(_, value)| value.into_owned()).collect();
            assert_eq!(values.len(), 1, "{name} in {answer}");
            values.concat()
        };
        assert_eq!(
            (value("code"), value("state"), value("iss")),
            ("a code & more".into(), state.to_owned(), ISSUER.into())
        );
        redirect.source().into_iter().for_each(|source| assert!(!source.contains([' ', ';', ','])));
    }
}

fn client_with(uri: &RedirectUri) -> Client {
    let client = json!({
        "id": "app", "client_type": "public", "grant_types": ["authorization_code"], "scope": "",
        "redirect_uris": [uri], "epoch": 1, "version": 1, "created_at": 0,
    });
    serde_json::from_value(client).unwrap_or_else(|error| panic!("{error}"))
}

/// Where a request came from, which language it wants, and where the store is: nothing that a stranger writes is believed
/// beyond a trusted proxy, and no address of a store repeats a password. Line feeds separate header lines.
fn address(bytes: &[u8]) {
    const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
    let proxy = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    let other = IpAddr::V6(Ipv6Addr::LOCALHOST);
    let (mut headers, mut hops) = (HeaderMap::new(), Vec::new());
    for line in bytes.split(|byte| *byte == b'\n') {
        let Ok(value) = HeaderValue::from_bytes(line) else { continue };
        hops.extend(
            line.split(|byte| *byte == b',').map(|hop| String::from_utf8_lossy(hop).trim().parse::<IpAddr>().ok()),
        );
        headers.append(FORWARDED_FOR, value.clone());
        headers.insert(header::ACCEPT_LANGUAGE, value);
    }
    assert_eq!(forwarded_client(other, &headers, &[proxy]), other, "a stranger is believed");
    assert_eq!(forwarded_client(proxy, &headers, &[]), proxy);
    let client = forwarded_client(proxy, &headers, &[proxy, other]);
    let trusted = |hop: &Option<IpAddr>| hop.is_some_and(|hop| [proxy, other].contains(&hop.to_canonical()));
    match hops.iter().rev().find(|hop| !trusted(hop)) {
        Some(Some(hop)) => assert!(client == hop.to_canonical() || client == proxy, "{client} and not {hop}"),
        _ => assert_eq!(client, proxy),
    }
    assert!(!Language::of(&headers).texts().lang.is_empty());

    if let Ok(url) = std::str::from_utf8(bytes) {
        if let Err(refusal) = RedisStore::check_url(url) {
            assert!(!refusal.contains("hunter2"), "{refusal}");
        } else {
            assert!(RedisStore::is_meant(url));
        }
    }
}
