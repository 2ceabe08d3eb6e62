//! `regrant import`: reads what `regrant export` wrote into a store. All is checked before anything is written.
//!
//! Not here: the lines, see `transfer.rs`.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{
    Common, Outcome, Refused, print_json,
    transfer::{Consent, Line, VERSION, client_of, lines, same_client, same_owner},
};
use crate::{
    client::Client,
    config::Lifetimes,
    ids::{ClientId, OwnerId},
    resource_owner::PasswordKeeper,
    secret::{SealingKey, ServerSecret},
    store::{Changed, Created, NewConsent, OwnerRecord, SealedKey, Store},
    telemetry::AUDIT,
    token::keys::SigningKeys,
};

#[derive(Args)]
pub(super) struct Arguments {
    /// The file that `regrant export` wrote
    file: PathBuf,
    /// Keep what the store has already where the file says something else
    #[arg(long, conflicts_with = "replace")]
    skip_existing: bool,
    /// Put what the file says in its place; the grants and sessions of those users and clients end
    #[arg(long)]
    replace: bool,
    /// Make all checks, and write nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    common: Common,
}

/// How many users are written at once: the embedded store syncs once for all that wait.
const AT_ONCE: usize = 64;
/// How many problems are told.
const TOLD: usize = 10;

/// What is to be done with a line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Plan {
    Create,
    Replace,
    Unchanged,
    Skip,
}

/// How many lines of a kind have each plan.
#[derive(Default)]
struct Counts([u64; 4]);

impl Counts {
    fn add(&mut self, plan: Plan) {
        self.0[plan as usize] += 1;
    }

    fn view(&self) -> Value {
        let [created, replaced, unchanged, skipped] = self.0;
        json!({ "created": created, "replaced": replaced, "unchanged": unchanged, "skipped": skipped })
    }

    fn text(&self) -> String {
        let [created, replaced, unchanged, skipped] = self.0;
        format!("{created} created, {replaced} replaced, {unchanged} unchanged, {skipped} skipped")
    }
}

/// What the first reading found, and the second acts by.
#[derive(Default)]
struct Checked {
    clients: HashMap<ClientId, Plan>,
    users: HashMap<OwnerId, Plan>,
    subjects: HashSet<String>,
    consents: HashSet<(OwnerId, ClientId)>,
    signing_keys: u64,
    problems: Vec<String>,
    conflicts: u64,
}

/// What records are checked against.
struct Import {
    store: Arc<dyn Store>,
    lifetimes: Lifetimes,
    passwords: SealingKey,
    secret: ServerSecret,
    /// Whose subjects the store knows.
    subjects: HashMap<String, OwnerId>,
    keys: Vec<SealedKey>,
    existing: Plan,
    refuse_existing: bool,
}

pub(super) async fn run(arguments: Arguments) -> Outcome {
    let config = arguments.common.settings.read()?;
    config.validate()?;
    let secret = config.server_secret()?;
    let (store, operator) = arguments.common.at_work().await?;
    let subjects = store.owners().await?.into_iter().map(|owner| (owner.subject.0.clone(), owner.id())).collect();
    let import = Import {
        lifetimes: config.lifetimes.clone(),
        passwords: PasswordKeeper::sealing_key(&secret),
        secret,
        subjects,
        keys: store.signing_keys().await?,
        store,
        existing: if arguments.replace { Plan::Replace } else { Plan::Skip },
        refuse_existing: !arguments.replace && !arguments.skip_existing,
    };
    let checked = import.check(&arguments.file).await?;
    if !checked.problems.is_empty() {
        let mut text = format!("{}: nothing was imported", arguments.file.display());
        checked.problems.iter().take(TOLD).for_each(|problem| text.push_str(&format!("\n  {problem}")));
        if checked.problems.len() > TOLD {
            text.push_str(&format!("\n  and {} more", checked.problems.len() - TOLD));
        }
        if checked.conflicts > 0 {
            text.push_str(
                "\n  --skip-existing keeps what the store has, --replace puts what the file says in its place",
            );
        }
        return Err(Refused(text));
    }
    let consents = if arguments.dry_run {
        Counts::default()
    } else {
        let written = import.write(&arguments.file, &checked).await?;
        let (clients, users) = (checked.clients.len(), checked.users.len());
        tracing::info!(target: AUDIT, by = operator.who, change = "imported", clients, users, "an operator acted");
        written
    };
    report(&checked, &consents, &arguments)
}

fn report(checked: &Checked, consents: &Counts, arguments: &Arguments) -> Outcome {
    let (mut clients, mut users) = (Counts::default(), Counts::default());
    checked.clients.values().for_each(|plan| clients.add(*plan));
    checked.users.values().for_each(|plan| users.add(*plan));
    if arguments.common.json {
        return print_json(&json!({
            "dry_run": arguments.dry_run,
            "clients": clients.view(),
            "users": users.view(),
            "consents": consents.view(),
            "signing_keys": checked.signing_keys,
        }));
    }
    println!("{}", if arguments.dry_run { "all checks passed; nothing was written" } else { "imported" });
    println!("  clients       {}", clients.text());
    println!("  users         {}", users.text());
    if arguments.dry_run {
        println!("  consents      {} in the file", checked.consents.len());
    } else {
        println!("  consents      {}", consents.text());
    }
    println!("  signing keys  {}", checked.signing_keys);
    Ok(())
}

impl Import {
    /// The first reading: what is wrong, and what is to be done.
    async fn check(&self, path: &Path) -> Result<Checked, Refused> {
        let (mut checked, mut ended) = (Checked::default(), false);
        let mut last = 0;
        for (number, line) in lines(path)? {
            last = number;
            let problem = match line {
                Err(problem) => Some(problem),
                Ok(_) if ended => Some("there is a line after the last one".to_owned()),
                Ok(Line::Regrant(header)) if number == 1 && header.version == VERSION => None,
                Ok(Line::Regrant(header)) if number == 1 => {
                    Some(format!("version {} of the format; this regrant reads {VERSION}", header.version))
                }
                Ok(Line::Regrant(_)) => Some("a second first line".to_owned()),
                Ok(_) if number == 1 => Some("not an export: its first line is of kind regrant".to_owned()),
                Ok(Line::End(end)) => {
                    ended = true;
                    let whole = end.lines == number - 1;
                    (!whole).then(|| format!("{} lines come before it, and it says {}", number - 1, end.lines))
                }
                Ok(line) => self.check_record(&line, &mut checked).await?.err(),
            };
            if let Some(problem) = problem {
                checked.problems.push(format!("line {number}: {problem}"));
                // A file of something else has a problem in every line.
                if number == 1 {
                    return Ok(checked);
                }
            }
        }
        if !ended {
            checked.problems.push(format!("line {}: the file ends too early", last + 1));
        }
        Ok(checked)
    }

    async fn check_record(&self, line: &Line, checked: &mut Checked) -> Result<Result<(), String>, Refused> {
        match line {
            Line::Client(record) => match client_of(record, &self.lifetimes) {
                Ok(client) => self.check_client(client, checked).await,
                Err(problem) => Ok(Err(problem)),
            },
            Line::User(user) => match user.read() {
                Ok(owner) => self.check_owner(owner, checked).await,
                Err(problem) => Ok(Err(problem)),
            },
            Line::Consent(consent) => Ok(check_consent(consent, checked)),
            Line::SigningKey(key) => Ok(key.read().and_then(|key| self.check_key(&key, checked))),
            Line::Regrant(_) | Line::End(_) => Ok(Ok(())),
        }
    }

    async fn check_client(&self, client: Client, checked: &mut Checked) -> Result<Result<(), String>, Refused> {
        let known = self.store.client(&client.id).await?;
        let same = known.as_ref().map(|known| same_client(known, &client));
        let name = format!("client {}", client.id);
        Ok(match self.plan(same, &name, checked) {
            Ok(plan) if checked.clients.insert(client.id, plan).is_none() => Ok(()),
            Ok(_) => Err(format!("{name} is in the file twice")),
            Err(problem) => Err(problem),
        })
    }

    async fn check_owner(&self, owner: OwnerRecord, checked: &mut Checked) -> Result<Result<(), String>, Refused> {
        let (id, name) = (owner.id(), format!("user {}", owner.username));
        if PasswordKeeper::opens(&self.passwords, &owner).is_err() {
            return Ok(Err(format!(
                "{name}: the password hash does not open under this server's secret: import with the secret of the store that it was exported from (secret_file, or among other_secret_files)"
            )));
        }
        if self.subjects.get(&owner.subject.0).is_some_and(|known| *known != id) {
            return Ok(Err(format!("{name}: another user of the store has the sub {}", owner.subject)));
        }
        if !checked.subjects.insert(owner.subject.0.clone()) {
            return Ok(Err(format!("{name}: the sub {} is in the file twice", owner.subject)));
        }
        let same = self.store.owner(id).await?.map(|known| same_owner(&known, &owner));
        Ok(match self.plan(same, &name, checked) {
            Ok(plan) if checked.users.insert(id, plan).is_none() => Ok(()),
            Ok(_) => Err(format!("{name} is in the file twice")),
            Err(problem) => Err(problem),
        })
    }

    fn check_key(&self, key: &SealedKey, checked: &mut Checked) -> Result<(), String> {
        SigningKeys::opens(&self.secret, key).map_err(|error| error.to_string())?;
        if !self.keys.is_empty() && !self.keys.contains(key) {
            return Err(format!(
                "signing key {}: the store has other signing keys, which are in use; leave the lines of kind signing_key out",
                key.slot
            ));
        }
        checked.signing_keys += 1;
        Ok(())
    }

    /// What to do with a record, given whether the store has the same one.
    fn plan(&self, same: Option<bool>, name: &str, checked: &mut Checked) -> Result<Plan, String> {
        match same {
            None => Ok(Plan::Create),
            Some(true) => Ok(Plan::Unchanged),
            Some(false) if self.refuse_existing => {
                checked.conflicts += 1;
                Err(format!("{name} is in the store, and not the same"))
            }
            Some(false) => Ok(self.existing),
        }
    }

    /// The second reading.
    async fn write(&self, path: &Path, checked: &Checked) -> Result<Counts, Refused> {
        let (mut consents, mut users) = (Counts::default(), JoinSet::new());
        for (number, line) in lines(path)? {
            let changed = || Refused(format!("line {number}: the file changed while it was read; import it again"));
            match line.map_err(|_| changed())? {
                Line::Client(record) => {
                    let client = client_of(&record, &self.lifetimes).map_err(|_| changed())?;
                    let plan = checked.clients.get(&client.id).ok_or_else(changed)?;
                    write_client(self.store.as_ref(), client, *plan).await?;
                }
                Line::User(user) => {
                    let owner = user.read().map_err(|_| changed())?;
                    let plan = *checked.users.get(&owner.id()).ok_or_else(changed)?;
                    while users.len() >= AT_ONCE {
                        users.join_next().await.transpose()?.transpose()?;
                    }
                    let store = Arc::clone(&self.store);
                    users.spawn(async move { write_owner(store.as_ref(), owner, plan).await });
                }
                Line::Consent(consent) => {
                    while let Some(written) = users.join_next().await {
                        written??;
                    }
                    consents.add(self.write_consent(&consent, checked).await?);
                }
                Line::SigningKey(key) => {
                    self.store.add_signing_key(&key.read().map_err(|_| changed())?).await?;
                }
                Line::Regrant(_) | Line::End(_) => {}
            }
        }
        while let Some(written) = users.join_next().await {
            written??;
        }
        Ok(consents)
    }

    async fn write_consent(&self, consent: &Consent, checked: &Checked) -> Result<Plan, Refused> {
        let (username, client_id) = consent.parties()?;
        let (owner_id, skipped) = (OwnerId::of(&username), Some(&Plan::Skip));
        // The store's client may be another one than the one that was trusted.
        if checked.users.get(&owner_id) == skipped || checked.clients.get(client_id) == skipped {
            return Ok(Plan::Skip);
        }
        let (Some(owner), Some(client)) = (self.store.owner(owner_id).await?, self.store.client(client_id).await?)
        else {
            return Ok(Plan::Skip);
        };
        let known = self.store.consent(owner_id, client_id).await?;
        if known.is_some_and(|known| known.client_epoch == client.epoch && consent.scope.is_subset_of(&known.scope)) {
            return Ok(Plan::Unchanged);
        }
        let new = NewConsent {
            owner: owner_id,
            owner_epoch: owner.epoch,
            client_id: client_id.clone(),
            client_epoch: client.epoch,
            scope: consent.scope.clone(),
            given_at: Some(consent.given_at),
        };
        Ok(match self.store.remember_consent(&new).await? {
            Changed::Stored => Plan::Create,
            Changed::NotFound => Plan::Skip,
        })
    }
}

fn check_consent(consent: &Consent, checked: &mut Checked) -> Result<(), String> {
    let (username, client_id) = consent.parties()?;
    let id = OwnerId::of(&username);
    if !checked.users.contains_key(&id) {
        return Err(format!("consent of {username}: no user line comes before it"));
    }
    if !checked.clients.contains_key(client_id) {
        return Err(format!("consent of {username}: no line of the client {client_id} comes before it"));
    }
    if !checked.consents.insert((id, client_id.clone())) {
        return Err(format!("consent of {username} for {client_id} is in the file twice"));
    }
    Ok(())
}

async fn write_client(store: &dyn Store, mut client: Client, plan: Plan) -> Outcome {
    let meanwhile = || Refused(format!("client {} was changed by somebody else meanwhile; import again", client.id));
    match plan {
        Plan::Create if store.create_client(&client).await? == Created::Exists => Err(meanwhile()),
        Plan::Replace => {
            let known = store.client(&client.id).await?.ok_or_else(meanwhile)?;
            client.version = known.version + 1;
            match store.replace_client(&client).await? {
                Changed::Stored => Ok(()),
                Changed::NotFound => {
                    Err(Refused(format!("client {} was changed by somebody else meanwhile; import again", client.id)))
                }
            }
        }
        Plan::Create | Plan::Unchanged | Plan::Skip => Ok(()),
    }
}

/// Replacing takes the old owner away with all that hangs on it: sessions, consents, grants.
async fn write_owner(store: &dyn Store, owner: OwnerRecord, plan: Plan) -> Outcome {
    if plan == Plan::Replace {
        store.delete_owner(owner.id()).await?;
    }
    if matches!(plan, Plan::Create | Plan::Replace) && store.create_owner(&owner).await? == Created::Exists {
        return Err(Refused(format!("user {} was created by somebody else meanwhile; import again", owner.username)));
    }
    Ok(())
}
