//! `regrant export` and `regrant import`, by the real binary: what one store held, another one has.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use regrant::{
    clock::{Clock, Timestamp},
    ids::{ClientId, OwnerId, Username},
    resource_owner::PasswordKeeper,
    scope::Scope,
    secret::ServerSecret,
    store::{Changed, GrantStatus, NewConsent, Store, embedded::EmbeddedStore},
};
use serde_json::{Value, json};

use crate::{
    command_line::{Ended, regrant, run},
    support::{Answer, Server, owner_id, redis_url},
};

/// A folder with the server's secret, and commands in it.
struct Place {
    folder: tempfile::TempDir,
    secret: ServerSecret,
}

impl Place {
    fn new() -> Self {
        let (folder, secret) = (tempfile::tempdir().unwrap(), ServerSecret::generate());
        fs::write(folder.path().join("secret"), secret.to_text().expose()).unwrap();
        Self { folder, secret }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn embedded(&self, name: &str) -> String {
        format!("sqlite:{}", self.path(name).display())
    }

    fn run(&self, store: &str, arguments: &[&str], input: &str) -> Ended {
        let mut command = regrant(self.folder.path(), arguments);
        command.args(["--store", store]).env("REGRANT_SECRET_FILE", self.path("secret"));
        run(command, input)
    }

    /// Exports, and gives the lines without the first, which has the time.
    fn export(&self, store: &str, name: &str, more: &[&str]) -> String {
        self.run(store, &[&["export", "--output", name], more].concat(), "").assert(0);
        let text = fs::read_to_string(self.path(name)).unwrap();
        text.split_once('\n').unwrap().1.to_owned()
    }

    /// A client, a public one, two users of whom one is disabled, and a consent of 2021.
    async fn fill(&self, store: &str) {
        let create = |id: &str, more: &[&str]| {
            self.run(store, &[&["client", "create", "--id", id, "--scope", "read write"], more].concat(), "").assert(0)
        };
        create("app", &["--type", "confidential", "--grant-types", "password,refresh_token", "--name", "The App"]);
        create(
            "web",
            &[
                "--type=public",
                "--grant-types=authorization_code,refresh_token",
                "--redirect-uri=https://web.example/cb",
                "--origin=https://web.example",
                "--cookie-mode",
            ],
        );
        for name in ["anna", "zoë"] {
            self.run(store, &["user", "create", "--username", name], "a good password\n").assert(0);
        }
        self.run(store, &["user", "disable", "zoë"], "").assert(0);
        let store = regrant::store::open(store, Clock::system()).await.unwrap();
        let (owner, web) = (store.owner(owner_id("anna")).await.unwrap().unwrap(), ClientId::parse("web").unwrap());
        let consent = NewConsent {
            owner: owner.id(),
            owner_epoch: owner.epoch,
            client_epoch: store.client(&web).await.unwrap().unwrap().epoch,
            client_id: web,
            scope: Scope::parse("read").unwrap(),
            given_at: Some(Timestamp(1_609_459_200_000)),
        };
        assert_eq!(store.remember_consent(&consent).await.unwrap(), Changed::Stored);
    }

    async fn serve(&self, store: &str) -> Server {
        Server::start_on(store, &self.secret, Clock::system(), tempfile::tempdir().unwrap(), |_| {}).await
    }
}

fn counts(ended: &Ended, kind: &str) -> [u64; 4] {
    let all = ended.json();
    ["created", "replaced", "unchanged", "skipped"].map(|what| all[kind][what].as_u64().unwrap())
}

fn subject(tokens: &Answer) -> String {
    let claims = tokens.access_token().split('.').nth(1).map(|part| URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    serde_json::from_slice::<Value>(&claims).unwrap()["sub"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_store_exports_another_imports_with_every_sub_password_and_consent() {
    let place = Place::new();
    let (first, redis, last) = (place.embedded("first.db"), redis_url(), place.embedded("last.db"));
    place.fill(&first).await;
    let exported = place.export(&first, "first", &[]);
    assert_eq!(fs::metadata(place.path("first")).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!exported.contains("epoch") && !exported.contains("argon2"), "{exported}");

    let imported = place.run(&redis, &["import", "first", "--json"], "").assert(0);
    assert_eq!(counts(&imported, "clients"), [2, 0, 0, 0]);
    assert_eq!(counts(&imported, "users"), [2, 0, 0, 0]);
    assert_eq!(counts(&imported, "consents"), [1, 0, 0, 0]);
    assert_eq!(place.export(&redis, "second", &[]), exported);
    place.run(&last, &["import", "second"], "").assert(0);
    assert_eq!(place.export(&last, "third", &[]), exported);

    // Once more changes nothing.
    let again = place.run(&redis, &["import", "first", "--json"], "").assert(0);
    assert_eq!(counts(&again, "clients"), [0, 0, 2, 0]);
    assert_eq!(counts(&again, "users"), [0, 0, 2, 0]);
    assert_eq!(counts(&again, "consents"), [0, 0, 1, 0]);

    let (before, after) = (place.serve(&first).await, place.serve(&redis).await);
    for node in [&before, &after] {
        node.change_client("app", |client| {
            client.secrets[0].hash =
                regrant::secret::ClientSecretHash::of(&regrant::secret::SecretText::new("secret".into()));
        })
        .await;
        node.login("app", "zoë").await.assert_error(400, "invalid_grant");
    }
    assert_eq!(subject(&before.login("app", "anna").await), subject(&after.login("app", "anna").await));
    let consents = after.store().consents_of(owner_id("anna")).await.unwrap();
    assert_eq!(consents[0].given_at, Timestamp(1_609_459_200_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signing_keys_travel_when_asked_and_every_access_token_still_verifies() {
    let place = Place::new();
    let (from, to) = (place.embedded("from.db"), redis_url());
    let old = place.serve(&from).await;
    old.client("app").await;
    old.user("anna").await;
    let token = old.login("app", "anna").await.access_token();
    place.export(&from, "without", &[]);
    place.export(&from, "with", &["--signing-keys"]);

    let other = place.embedded("other.db");
    place.run(&other, &["import", "without"], "").assert(0);
    let no_keys = place.run(&other, &["key", "list"], "").assert(1);
    assert!(no_keys.stderr.contains("no signing keys"), "{}", no_keys.stderr);

    place.run(&to, &["import", "with"], "").assert(0);
    let new = place.serve(&to).await;
    let (issuer, now) = (old.app.issuer.url().to_owned(), new.store().now());
    let verified = regrant::token::verification::verify(&token, new.app.issuer.signing(), &issuer, now);
    assert!(verified.is_ok(), "signed by a key that was not imported");

    // A store with keys of its own keeps them.
    let taken = place.embedded("taken.db");
    drop(place.serve(&taken).await);
    let refused = place.run(&taken, &["import", "with"], "").assert(1);
    assert!(refused.stderr.contains("the store has other signing keys"), "{}", refused.stderr);
    assert_eq!(place.run(&taken, &["user", "list", "--json"], "").json(), json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_with_one_bad_line_names_it_and_changes_nothing() {
    let place = Place::new();
    place.fill(&place.embedded("from.db")).await;
    place.export(&place.embedded("from.db"), "good", &[]);
    let good = fs::read_to_string(place.path("good")).unwrap();
    let lines: Vec<&str> = good.lines().collect();
    let with = |number: usize, line: &str| -> String {
        let changed: Vec<&str> = (1..).zip(&lines).map(|(n, l)| if n == number { line } else { l }).collect();
        changed.join("\n") + "\n"
    };
    let edited = |number: usize, from: &str, to: &str| -> String {
        assert!(lines[number - 1].contains(from), "{}", lines[number - 1]);
        with(number, &lines[number - 1].replace(from, to))
    };
    let half: String = lines[..4].iter().map(|line| format!("{line}\n")).collect();
    let store = redis_url();
    for (text, problem) in [
        (with(3, "{"), "line 3: EOF while parsing"),
        (with(2, r#"{"kind":"token"}"#), "line 2: unknown variant `token`"),
        (edited(1, "\"version\":1", "\"version\":2"), "line 1: version 2 of the format; this regrant reads 1"),
        (lines[1..].join("\n") + "\n", "line 1: not an export"),
        (half.clone(), "line 5: the file ends too early"),
        (half + &lines[4][..20], "line 5: the line has no end"),
        (format!("{good}{}\n", lines[1]), "line 8: there is a line after the last one"),
        (edited(7, "\"lines\":6", "\"lines\":5"), "line 7: 6 lines come before it, and it says 5"),
        (
            edited(3, "https://web.example/cb", "http://web.example/cb"),
            "line 3: client web: http://web.example/cb: plain",
        ),
        (edited(3, "\"public\"", "\"confidential\""), "line 3: client web: a confidential client has a secret"),
        (edited(3, "\"cookie_mode\"", "\"cookie_modus\""), "line 3: client web: unknown field cookie_modus"),
        (edited(4, "\"anna\"", "\"Anna\""), "line 4: user \"Anna\": write the name as"),
        (edited(4, "\"sub\":\"", "\"sub\":\"client:"), "line 4: user anna: sub"),
        (edited(4, "\"sealed_password\":\"", "\"sealed_password\":\"AAAA"), "does not open under this server's secret"),
        (with(6, lines[3]), "line 6: user anna: the sub"),
        (with(3, lines[1]), "line 3: client app is in the file twice"),
        (edited(5, "\"web\"", "\"app2\""), "line 5: consent of anna: no line of the client app2"),
    ] {
        fs::write(place.path("bad"), &text).unwrap();
        let refused = place.run(&store, &["import", "bad"], "").assert(1);
        assert!(refused.stderr.contains(problem), "expected {problem:?}:\n{}", refused.stderr);
        assert_eq!(refused.stdout, "");
    }
    assert_eq!(place.run(&store, &["user", "list", "--json"], "").json(), json!([]));
    assert_eq!(place.run(&store, &["client", "list", "--json"], "").json(), json!([]));

    // Nor under another secret.
    fs::write(place.path("secret"), ServerSecret::generate().to_text().expose()).unwrap();
    let refused = place.run(&store, &["import", "good"], "").assert(1);
    assert!(refused.stderr.contains("import with the secret of the store"), "{}", refused.stderr);
    assert_eq!(place.run(&store, &["user", "list", "--json"], "").json(), json!([]));
    place.run(&store, &["import"], "").assert(2);
    place.run(&store, &["import", "good", "--replace", "--skip-existing"], "").assert(2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_store_has_already_is_refused_skipped_or_replaced_as_the_operator_says() {
    for store in [|place: &Place| place.embedded("to.db"), |_: &Place| redis_url()] {
        let place = Place::new();
        place.fill(&place.embedded("from.db")).await;
        place.export(&place.embedded("from.db"), "file", &[]);
        let to = store(&place);
        let node = place.serve(&to).await;
        node.client("app").await;
        node.user("anna").await;
        let tokens = node.login("app", "anna").await;
        let known = node.store().owner(owner_id("anna")).await.unwrap().unwrap();

        let refused = place.run(&to, &["import", "file"], "").assert(1);
        for line in ["line 2: client app is in the store", "line 4: user anna is in the store", "--skip-existing keeps"]
        {
            assert!(refused.stderr.contains(line), "{}", refused.stderr);
        }
        assert!(node.store().client(&ClientId::parse("web").unwrap()).await.unwrap().is_none());

        let dry = place.run(&to, &["import", "file", "--replace", "--dry-run", "--json"], "").assert(0);
        assert_eq!(counts(&dry, "users"), [1, 1, 0, 0]);
        let skipped = place.run(&to, &["import", "file", "--skip-existing", "--json"], "").assert(0);
        assert_eq!(counts(&skipped, "clients"), [1, 0, 0, 1]);
        assert_eq!(counts(&skipped, "users"), [1, 0, 0, 1]);
        assert_eq!(counts(&skipped, "consents"), [0, 0, 0, 1]);
        assert_eq!(node.store().owner(owner_id("anna")).await.unwrap().unwrap(), known);
        let tokens = node.refresh("app", &tokens.refresh_token()).await;
        tokens.assert_tokens();

        let replaced = place.run(&to, &["import", "file", "--replace", "--json"], "").assert(0);
        assert_eq!(counts(&replaced, "clients"), [0, 1, 1, 0]);
        assert_eq!(counts(&replaced, "users"), [0, 1, 1, 0]);
        assert_eq!(counts(&replaced, "consents"), [1, 0, 0, 0]);
        // Nothing of the one who was there before lives on.
        let anna = node.store().owner(owner_id("anna")).await.unwrap().unwrap();
        assert!(anna.subject != known.subject && anna.epoch != known.epoch);
        for id in node.store().grants_of(owner_id("anna")).await.unwrap() {
            let grant = node.store().grant(owner_id("anna"), id).await.unwrap();
            assert!(grant.is_none_or(|grant| grant.status != GrantStatus::Active || grant.owner_epoch != anna.epoch));
        }
        let mut again = regrant(place.folder.path(), &["import", "file", "--replace", "--json", "--store", &to]);
        again.env("REGRANT_SECRET_FILE", place.path("secret")).env("REGRANT_AUDIT_LOG", place.path("audit"));
        assert_eq!(counts(&run(again, "").assert(0), "users"), [0, 0, 2, 0]);
        let audit: Value = serde_json::from_str(&fs::read_to_string(place.path("audit")).unwrap()).unwrap();
        assert!(audit.to_string().contains("imported") && audit.to_string().contains("command line"), "{audit}");
    }
}

#[test]
fn an_export_overwrites_nothing_and_leaves_demo_records_out() {
    let place = Place::new();
    fs::write(place.path("there"), "an older backup").unwrap();
    let refused = place.run(&place.embedded("a.db"), &["export", "--output", "there"], "").assert(1);
    assert!(refused.stderr.contains("there: File exists"), "{}", refused.stderr);
    assert_eq!(fs::read_to_string(place.path("there")).unwrap(), "an older backup");
    let printed = place.run(&place.embedded("a.db"), &["export"], "").assert(0);
    assert_eq!(printed.stdout.lines().count(), 2, "{}", printed.stdout);
}

/// Not through the command line: hashing is not what this is about.
fn many_users(place: &Place, path: &Path, users: usize) {
    let seal = PasswordKeeper::sealing_key(&place.secret);
    let mut text = format!("{}\n", json!({ "kind": "regrant", "version": 1, "exported_at": 0 }));
    for number in 0..users {
        let username = Username::parse(&format!("user{number:06}")).unwrap();
        let context = [b"phc:".as_slice(), &OwnerId::of(&username).0].concat();
        let sealed =
            seal.seal(b"$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2g", &context);
        let line = json!({
            "kind": "user", "username": username, "sub": format!("subject-{number}"), "disabled": false,
            "sealed_password": URL_SAFE_NO_PAD.encode(sealed), "created_at": number,
        });
        text.push_str(&format!("{line}\n"));
    }
    text.push_str(&format!("{}\n", json!({ "kind": "end", "lines": users + 1 })));
    fs::write(path, text).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_users_move_in_seconds() {
    let place = Place::new();
    let (redis, embedded) = (redis_url(), place.embedded("to.db"));
    many_users(&place, &place.path("many"), 10_000);
    let began = Clock::system();
    let start = began.now();
    assert_eq!(counts(&place.run(&redis, &["import", "many", "--json"], "").assert(0), "users"), [10_000, 0, 0, 0]);
    let imported = began.now();
    let lines = place.export(&redis, "back", &[]);
    let exported = began.now();
    assert_eq!(lines.lines().count(), 10_001);
    assert_eq!(counts(&place.run(&embedded, &["import", "back", "--json"], "").assert(0), "users"), [10_000, 0, 0, 0]);
    let moved = began.now();
    println!(
        "10,000 users: into Redis {} ms, out of it {} ms, into the embedded store {} ms",
        imported.since(start),
        exported.since(imported),
        moved.since(exported)
    );
    let store = EmbeddedStore::open(&place.path("to.db"), Clock::system()).unwrap();
    let store: &dyn Store = &store;
    let last = store.owner(OwnerId::of(&Username::parse("user009999").unwrap())).await.unwrap().unwrap();
    assert_eq!(last.subject.0, "subject-9999");
}
