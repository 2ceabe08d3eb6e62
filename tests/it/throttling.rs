//! Guesses of passwords, counted: security.md.

use std::time::Duration;

use regrant::{
    clock::{Clock, random_bytes},
    config::Config,
    ids::Username,
    resource_owner::PasswordKeeper,
    secret::{SecretText, ServerSecret},
    store::{self, LoginAdmission, LoginAttempt, LoginOutcome, MAX_GRANTS_PER_OWNER, OwnerChange, Store},
};
use tokio::task::JoinSet;

use crate::{
    on_both_stores,
    person::{Person, assert_page, hidden_fields},
    support::{Answer, On, Server, owner_id, quick_passwords, redis_url},
};

on_both_stores!(
    a101_of_many_guesses_at_once_few_are_checked,
    a101_an_unknown_account_is_throttled_like_a_known_one,
    a102_the_owner_signs_in_while_strangers_guess,
    a102_a_device_is_trusted_until_the_owner_logs_out_everywhere,
    a103_correct_logins_at_once_all_succeed_on_two_nodes,
    a17_an_address_that_a_stranger_claims_changes_nothing,
    nodes_share_what_they_count,
    waiting_as_long_as_told_is_enough,
    a_refresh_goes_on_while_its_owner_is_throttled,
    a_network_that_guesses_at_many_accounts_is_shut_out,
    every_door_to_a_password_says_429,
    a_login_costs_two_commands,
);

const GUESS: &[(&str, &str)] = &[("grant_type", "password"), ("password", "not the password")];

/// Behind a proxy, so that a test has as many addresses as it likes.
fn behind_a_proxy(config: &mut Config) {
    config.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
}

async fn started(on: On) -> Server {
    let server = Server::start_with(on, behind_a_proxy).await;
    server.client("app").await;
    server.public_client("public").await;
    server.user("anna").await;
    server
}

/// A token request of a confidential client that comes from an address.
async fn from(server: &Server, address: &str, user: &str, password: &str) -> Answer {
    let form = [("grant_type", "password"), ("username", user), ("password", password)];
    let request = server.http.post(server.token_url()).basic_auth("app", Some("secret")).form(&form);
    Answer::of(request.header("x-forwarded-for", address)).await
}

async fn guess(server: &Server, address: &str) -> Answer {
    from(server, address, "anna", "not the password").await
}

fn assert_throttled(answer: &Answer) -> u64 {
    answer.assert_error(429, "temporarily_unavailable");
    let seconds = answer.header("retry-after").parse().unwrap();
    assert!((1..=900).contains(&seconds), "{answer:?}");
    seconds
}

/// Guesses until refused; says how many guesses were checked.
async fn guess_until_refused(server: &Server, address: &str, user: &str) -> usize {
    for checked in 0..50 {
        let answer = from(server, address, user, "not the password").await;
        if answer.status == 429 {
            assert_throttled(&answer);
            return checked;
        }
        answer.assert_error(400, "invalid_grant");
    }
    panic!("50 guesses were checked");
}

/// Enough strangers that the account answers no other stranger any more.
async fn attack(server: &Server) {
    for network in 0..5 {
        guess_until_refused(server, &format!("203.0.{network}.1"), "anna").await;
    }
}

async fn a101_of_many_guesses_at_once_few_are_checked(on: On) {
    let server = started(on).await;
    let mut guesses = JoinSet::new();
    for _ in 0..200 {
        let request = server.http.post(server.token_url()).basic_auth("app", Some("secret"));
        let request = request.form(&[GUESS, &[("username", "anna")]].concat());
        guesses.spawn(Answer::of(request));
    }
    let answers = guesses.join_all().await;
    let checked = answers.iter().filter(|answer| answer.status == 400).count();
    assert!((5..=20).contains(&checked), "{checked} guesses were checked");
    for answer in answers.iter().filter(|answer| answer.status != 400) {
        assert_throttled(answer);
    }
}

async fn a101_an_unknown_account_is_throttled_like_a_known_one(on: On) {
    let server = started(on).await;
    server.user("bob").await;
    server.store().change_owner(owner_id("bob"), OwnerChange::Disable).await.unwrap();
    let mut refusals = vec![];
    for user in ["anna", "bob", "nobody-of-this-name", "no name at all"] {
        let address = format!("192.0.{}.1", refusals.len());
        assert_eq!(guess_until_refused(&server, &address, user).await, 5, "{user}");
        // The right password makes no difference then.
        let (status, mut headers, text) = from(&server, &address, user, "a good password").await.likeness();
        headers.retain(|(name, _)| name != "retry-after");
        refusals.push((status, headers, text));
    }
    assert!(refusals.iter().all(|refusal| *refusal == refusals[0]), "{refusals:#?}");
    assert_eq!(refusals[0].0, 429);
}

async fn a102_the_owner_signs_in_while_strangers_guess(on: On) {
    let server = started(on).await;
    from(&server, "198.51.100.7", "anna", "a good password").await.assert_tokens();
    let mut anna = Person::signed_in(&server, "anna").await;
    anna.headers.push(("x-forwarded-for", "203.0.0.99".into()));
    attack(&server).await;
    assert_throttled(&from(&server, "192.0.2.9", "anna", "a good password").await);

    // From the address that she signed in from, whatever has happened elsewhere.
    from(&server, "198.51.100.7", "anna", "a good password").await.assert_tokens();
    // From the device that she signed in on, even at the attacker's address.
    let page = anna.open("/login").await;
    let answer = anna.sign_in(&page, "anna").await;
    assert_eq!(answer.status, 303, "{answer:?}");
    // Another person's device doesn't help.
    server.user("mallory").await;
    let mut mallory = Person::signed_in(&server, "mallory").await;
    mallory.headers.push(("x-forwarded-for", "203.0.0.99".into()));
    let page = mallory.open("/login").await;
    assert_eq!(mallory.sign_in(&page, "anna").await.status, 429);
}

async fn a102_a_device_is_trusted_until_the_owner_logs_out_everywhere(on: On) {
    let server = started(on).await;
    let mut anna = Person::signed_in(&server, "anna").await;
    anna.headers.push(("x-forwarded-for", "203.0.0.99".into()));
    let page = anna.open("/login").await;
    attack(&server).await;
    server.store().change_owner(owner_id("anna"), OwnerChange::LogOut).await.unwrap();
    assert_eq!(anna.sign_in(&page, "anna").await.status, 429);
}

async fn a103_correct_logins_at_once_all_succeed_on_two_nodes(on: On) {
    let (one, other, _shared) = Server::pair(on).await;
    one.client("app").await;
    one.user("anna").await;
    let mut logins = JoinSet::new();
    for number in 0..40 {
        let node = if number % 2 == 0 { &one } else { &other };
        let form = [("grant_type", "password"), ("username", "anna"), ("password", "a good password")];
        let request = node.http.post(node.token_url()).basic_auth("app", Some("secret")).form(&form);
        logins.spawn(Answer::of(request));
    }
    for answer in logins.join_all().await {
        answer.assert_tokens();
    }
}

async fn a17_an_address_that_a_stranger_claims_changes_nothing(on: On) {
    let server = Server::start(on).await;
    server.client("app").await;
    server.user("anna").await;
    for number in 0..5 {
        guess(&server, &format!("192.0.{number}.1")).await.assert_error(400, "invalid_grant");
    }
    assert_throttled(&guess(&server, "192.0.9.1").await);

    // A proxy appends the address that it sees to what the client made up.
    let server = started(on).await;
    for number in 0..5 {
        guess(&server, &format!("192.0.{number}.1, x, 198.51.100.7")).await.assert_error(400, "invalid_grant");
    }
    for claimed in ["192.0.9.1, 198.51.100.7", "x,198.51.100.7", "192.0.9.1, x, 198.51.100.7, 127.0.0.1"] {
        assert_throttled(&guess(&server, claimed).await);
    }
    // What can't be read is nobody's address: the proxy's own counts.
    guess(&server, "192.0.9.1, x").await.assert_error(400, "invalid_grant");
}

async fn nodes_share_what_they_count(on: On) {
    let (one, other, _shared) = Server::pair(on).await;
    one.client("app").await;
    one.user("anna").await;
    for number in 0..5 {
        let node = if number % 2 == 0 { &one } else { &other };
        guess(node, "").await.assert_error(400, "invalid_grant");
    }
    assert_throttled(&guess(&one, "").await);
    assert_throttled(&guess(&other, "").await);
}

async fn waiting_as_long_as_told_is_enough(on: On) {
    let server = started(on).await;
    assert_eq!(guess_until_refused(&server, "192.0.2.1", "anna").await, 5);
    let seconds = assert_throttled(&guess(&server, "192.0.2.1").await);
    assert!((50..=60).contains(&seconds), "{seconds}");
    server.clock.advance(Duration::from_secs(seconds));
    // The next failure doubles it, and a success forgets all.
    guess(&server, "192.0.2.1").await.assert_error(400, "invalid_grant");
    let seconds = assert_throttled(&guess(&server, "192.0.2.1").await);
    assert!((110..=120).contains(&seconds), "{seconds}");
    server.clock.advance(Duration::from_secs(seconds));
    from(&server, "192.0.2.1", "anna", "a good password").await.assert_tokens();
    // Now the address is one that she signed in from.
    assert_eq!(guess_until_refused(&server, "192.0.2.1", "anna").await, 10);
}

async fn a_refresh_goes_on_while_its_owner_is_throttled(on: On) {
    let server = started(on).await;
    let tokens = from(&server, "198.51.100.7", "anna", "a good password").await;
    attack(&server).await;
    server.refresh("app", &tokens.refresh_token()).await.assert_tokens();
}

async fn a_network_that_guesses_at_many_accounts_is_shut_out(on: On) {
    let server = started(on).await;
    let public = async |user: &str, password: &str, address: &str| {
        let form = [("grant_type", "password"), ("client_id", "public"), ("username", user), ("password", password)];
        let request = server.http.post(server.token_url()).form(&form);
        Answer::of(request.header("x-forwarded-for", address)).await
    };
    for number in 0..30 {
        let answer = public(&format!("user-{number}"), "not it", &format!("192.0.2.{number}")).await;
        answer.assert_error(400, "invalid_grant");
    }
    assert_throttled(&public("user-31", "not it", "192.0.2.200").await);
    assert_throttled(&public("anna", "a good password", "192.0.2.200").await);
    // Neither other networks are shut out, nor a backend whose users are many.
    public("anna", "a good password", "192.0.3.1").await.assert_tokens();
    from(&server, "192.0.2.200", "anna", "a good password").await.assert_tokens();
    server.clock.advance(Duration::from_secs(600));
    public("anna", "a good password", "192.0.2.200").await.assert_tokens();
}

async fn every_door_to_a_password_says_429(on: On) {
    let server = started(on).await;
    server
        .client_with("spa", |client| {
            client.client_type = regrant::client::ClientType::Public;
            client.secrets.clear();
            client.cookie_mode = true;
        })
        .await;
    let mut anna = Person::signed_in(&server, "anna").await;
    anna.cookies.remove("__Host-regrant-device");
    anna.headers.push(("x-forwarded-for", "203.0.0.99".into()));
    let account = anna.open("/account").await;
    attack(&server).await;

    let hidden = hidden_fields(&account.text);
    let token = hidden.iter().find(|(name, _)| name == "form_token").unwrap().1.as_str();
    let change = [("form_token", token), ("action", "change_password"), ("current_password", "a good password")];
    let answer = anna.post("/account", &change).await;
    assert_page(&answer, 429);
    assert!(answer.header("retry-after").parse::<u32>().is_ok() && answer.text.contains("Too many"), "{answer:?}");

    let mut stranger = Person::at(&server);
    stranger.headers.push(("x-forwarded-for", "203.0.0.99".into()));
    let page = stranger.open("/login").await;
    let answer = stranger.sign_in(&page, "anna").await;
    assert_page(&answer, 429);
    assert!(answer.header("retry-after").parse::<u32>().is_ok(), "{answer:?}");
    assert!(answer.text.contains("Too many wrong passwords"), "{answer:?}");

    let form = [("client_id", "spa"), ("username", "anna"), ("password", "a good password")];
    let request = server.http.post(format!("{}/session", server.url)).form(&form);
    let request = request.header("origin", &server.url).header("x-requested-by", "oauth");
    assert_throttled(&Answer::of(request.header("x-forwarded-for", "203.0.0.99")).await);
}

async fn a_login_costs_two_commands(on: On) {
    if let On::Embedded = on {
        return;
    }
    let redis = crate::support::Redis::start();
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_on(&redis.url(), &ServerSecret::generate(), Clock::system(), folder, |_| {}).await;
    server.client("app").await;
    server.user("anna").await;
    // As many grants as an owner may have: the oldest goes in the same command.
    for _ in 0..MAX_GRANTS_PER_OWNER {
        server.login("app", "anna").await.assert_tokens();
    }
    let mut connection = redis.connection();
    let () = ::redis::cmd("CONFIG").arg("RESETSTAT").query(&mut connection).unwrap();
    server.login("app", "anna").await.assert_tokens();
    let statistics: String = ::redis::cmd("INFO").arg("commandstats").query(&mut connection).unwrap();
    let of_clients = |line: &&str| line.starts_with("cmdstat_eval") || line.starts_with("cmdstat_hgetall");
    let calls = statistics
        .lines()
        .filter(of_clients)
        .map(|line| line.split_once("calls=").unwrap().1.split_once(',').unwrap().0.parse::<u32>().unwrap());
    // Counting reads the owner as well, and the grant settles. HGETALL is a script's own.
    let scripts: u32 = calls.clone().sum();
    assert_eq!(scripts - 1, 2, "{statistics}");
}

/// The two stores decide alike, and as the rule in `store/throttle.rs`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_stores_count_alike() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::system();
    let embedded =
        store::open(&format!("sqlite:{}", folder.path().join("s.db").display()), clock.clone()).await.unwrap();
    let redis = store::open(&redis_url(), clock.clone()).await.unwrap();
    let passwords = PasswordKeeper::start(&quick_passwords(), &ServerSecret::generate()).unwrap();
    let name = Username::parse("anna").unwrap();
    let owner = passwords.new_owner(name, &SecretText::new("a good password".into()), clock.now()).await.unwrap();
    for store in [&embedded, &redis] {
        store.create_owner(&owner).await.unwrap();
    }
    let epoch = u32::try_from(owner.epoch % (1 << 32)).unwrap();
    let mut open: Vec<store::LoginTicket> = vec![];
    let (mut admitted, mut refused) = (0, 0);
    for step in 0..6_000 {
        let [what, who, when, how] = random_bytes::<4>();
        let advance = [1, 3, 11, 31, 61, 121, 901, 86_400].get(usize::from(when) / 2).copied().unwrap_or_default();
        clock.advance(Duration::from_secs(advance));
        if what % 3 == 0 && !open.is_empty() {
            let ticket = open.remove(usize::from(who) % open.len());
            let outcome = match how % 16 {
                0 => LoginOutcome::Succeeded,
                1..4 => LoginOutcome::Withdrawn,
                _ => LoginOutcome::Failed,
            };
            for store in [&embedded, &redis] {
                store.settle_login(owner.id(), &ticket, outcome).await.unwrap();
            }
            continue;
        }
        let device =
            (how % 4 == 0).then(|| (format!("device{}", who % 2), epoch.wrapping_add(u32::from(how % 8 == 0))));
        let attempt = async |store: &dyn Store| {
            let address = format!("address{}", who % 5);
            let attempt =
                LoginAttempt { owner: owner.id(), address, device: device.clone(), deadline: store.deadline() };
            store.attempt_login(&attempt).await.unwrap()
        };
        match (attempt(embedded.as_ref()).await, attempt(redis.as_ref()).await) {
            (LoginAdmission::Refused { retry_after_ms: one }, LoginAdmission::Refused { retry_after_ms: other }) => {
                assert!(one > 0 && (one - other).abs() < 5_000, "step {step}: {one} and {other}");
                refused += 1;
            }
            (one @ LoginAdmission::Admitted { .. }, other) => {
                assert_eq!(one, other, "step {step}");
                let LoginAdmission::Admitted { ticket, .. } = one else { unreachable!() };
                open.push(ticket);
                admitted += 1;
            }
            (one, other) => panic!("step {step}: {one:?} and {other:?}"),
        }
    }
    assert!(admitted > 50 && refused > 10, "{admitted} admitted, {refused} refused");
}

/// What guesses leave behind goes away by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_counted_expires() {
    let redis = crate::support::Redis::start();
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_on(&redis.url(), &ServerSecret::generate(), Clock::system(), folder, |_| {}).await;
    server.client("app").await;
    guess_until_refused(&server, "", "anna").await;
    let mut connection = redis.connection();
    let keys: Vec<String> = ::redis::cmd("KEYS").arg("as:t:*").query(&mut connection).unwrap();
    assert_eq!(keys.len(), 1, "{keys:?}");
    let left: i64 = ::redis::cmd("PTTL").arg(&keys[0]).query(&mut connection).unwrap();
    assert!((890_000..=1_060_000).contains(&left), "{left}");
    let counted: String = ::redis::cmd("GET").arg(&keys[0]).query(&mut connection).unwrap();
    assert!(!counted.contains("127.0"), "{counted}");
}
