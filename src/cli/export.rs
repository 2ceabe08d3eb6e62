//! `regrant export`: clients, resource owners and consents as JSON lines, for a backup that any store can read.
//!
//! Not here: the lines, see `transfer.rs`.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
};

use clap::Args;
use serde_json::json;

use super::{
    Common, Outcome, Refused, print_json,
    transfer::{End, Header, Line, VERSION},
};
use crate::{
    administration::Operator,
    store::{OwnerStatus, Store},
    telemetry::AUDIT,
};

#[derive(Args)]
pub(super) struct Arguments {
    /// A new file, readable for its owner only [default: standard output]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write the signing keys too, sealed under the server's secret: a store that reads them signs with them
    #[arg(long)]
    signing_keys: bool,
    #[command(flatten)]
    common: Common,
}

/// What was written.
#[derive(Default)]
struct Counts {
    clients: u64,
    users: u64,
    consents: u64,
    signing_keys: u64,
    demo: u64,
}

/// Writes lines, and counts them for the last one.
struct Lines<W> {
    out: W,
    written: u64,
}

impl<W: Write> Lines<W> {
    fn put(&mut self, line: &Line) -> Outcome {
        serde_json::to_writer(&mut self.out, line)?;
        self.out.write_all(b"\n")?;
        self.written += 1;
        Ok(())
    }
}

pub(super) async fn run(arguments: Arguments) -> Outcome {
    let (store, operator) = arguments.common.at_work().await?;
    let Some(path) = &arguments.output else {
        let counts = write(store.as_ref(), BufWriter::new(io::stdout().lock()), arguments.signing_keys).await?;
        note(&operator, &counts);
        return report(&counts, None, &mut io::stderr());
    };
    let named = |error: io::Error| Refused(format!("{}: {error}", path.display()));
    // It must not be there: an older backup is worth something until this one is whole.
    let file = File::options().write(true).create_new(true).mode(0o600).open(path).map_err(named)?;
    let counts = write(store.as_ref(), BufWriter::new(&file), arguments.signing_keys).await?;
    file.sync_all().map_err(named)?;
    note(&operator, &counts);
    if arguments.common.json {
        return print_json(&view(&counts));
    }
    report(&counts, Some(path), &mut io::stdout())
}

async fn write(store: &dyn Store, out: impl Write, signing_keys: bool) -> Result<Counts, Refused> {
    let (mut lines, mut counts) = (Lines { out, written: 0 }, Counts::default());
    lines.put(&Line::Regrant(Header { version: VERSION, exported_at: store.now() }))?;
    let clients = store.clients().await?;
    for client in &clients {
        if client.demo {
            counts.demo += 1;
            continue;
        }
        lines.put(&Line::of_client(client)?)?;
        counts.clients += 1;
    }
    for owner in store.owners().await? {
        if owner.demo {
            counts.demo += 1;
            continue;
        }
        lines.put(&Line::of_owner(&owner))?;
        counts.users += 1;
        // Nobody disabled can allow anything, so no store takes a consent of theirs.
        if owner.status == OwnerStatus::Disabled {
            continue;
        }
        for consent in store.consents_of(owner.id()).await? {
            let client = clients.iter().find(|client| client.id == consent.client_id);
            // One that was given to an earlier client of the same name means nothing any more.
            if client.is_some_and(|client| client.epoch == consent.client_epoch && !client.demo) {
                lines.put(&Line::of_consent(&owner, &consent))?;
                counts.consents += 1;
            }
        }
    }
    if signing_keys {
        for key in store.signing_keys().await? {
            lines.put(&Line::of_signing_key(&key))?;
            counts.signing_keys += 1;
        }
    }
    let written = lines.written;
    lines.put(&Line::End(End { lines: written }))?;
    lines.out.flush()?;
    Ok(counts)
}

/// Whoever has the file and the secret has every password's hash, so that is an event.
fn note(operator: &Operator, counts: &Counts) {
    let Counts { clients, users, consents, signing_keys, .. } = counts;
    tracing::info!(target: AUDIT, by = operator.who, change = "exported", clients, users, consents, signing_keys, "an operator acted");
}

fn view(counts: &Counts) -> serde_json::Value {
    json!({
        "clients": counts.clients,
        "users": counts.users,
        "consents": counts.consents,
        "signing_keys": counts.signing_keys,
        "demo_records_left_out": counts.demo,
    })
}

fn report(counts: &Counts, path: Option<&PathBuf>, out: &mut dyn Write) -> Outcome {
    let Counts { clients, users, consents, signing_keys, demo } = counts;
    let place = path.map(|path| format!(" to {}", path.display())).unwrap_or_default();
    writeln!(
        out,
        "exported {clients} clients, {users} users, {consents} consents, {signing_keys} signing keys{place}"
    )?;
    if *demo > 0 {
        writeln!(out, "  {demo} demo records were left out")?;
    }
    writeln!(out, "  keep the server's secret with it: without that secret nobody signs in after an import")?;
    Ok(())
}
