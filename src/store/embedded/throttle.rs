//! Guesses of passwords in SQLite: a row for each account, swept when nothing of it matters any more.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{EmbeddedStore, owners::load_owner, schema::corrupt};
use crate::{
    clock::Timestamp,
    ids::OwnerId,
    store::{AccountThrottle, LoginAdmission, LoginAttempt, LoginOutcome, LoginTicket, StoreError, ThrottleStore},
};

#[async_trait]
impl ThrottleStore for EmbeddedStore {
    async fn attempt_login(&self, attempt: &LoginAttempt) -> Result<LoginAdmission, StoreError> {
        let attempt = attempt.clone();
        self.writer.write(move |connection, now| count(connection, &attempt, now)).await
    }

    async fn settle_login(
        &self,
        owner: OwnerId,
        ticket: &LoginTicket,
        outcome: LoginOutcome,
    ) -> Result<(), StoreError> {
        let ticket = ticket.clone();
        self.writer.write(move |connection, now| settle(connection, owner, &ticket, outcome, now)).await
    }
}

pub(super) fn settle(
    connection: &Connection,
    owner: OwnerId,
    ticket: &LoginTicket,
    outcome: LoginOutcome,
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut account = load(connection, owner, now)?;
    account.settle(ticket, outcome, now);
    save(connection, owner, &account)
}

fn count(connection: &Connection, attempt: &LoginAttempt, now: Timestamp) -> Result<LoginAdmission, StoreError> {
    if now > attempt.deadline {
        return Ok(LoginAdmission::TooLate);
    }
    let owner = load_owner(connection, attempt.owner)?;
    let same_epoch = |epoch: u32| owner.as_ref().is_some_and(|owner| owner.epoch % (1 << 32) == u64::from(epoch));
    let device = attempt.device.as_ref().filter(|(_, epoch)| same_epoch(*epoch));
    let source = device.map_or_else(|| format!("a{}", attempt.address), |(device, _)| format!("d{device}"));
    let mut account = load(connection, attempt.owner, now)?;
    match account.attempt(&source, device.is_some(), now) {
        Ok(ticket) => {
            save(connection, attempt.owner, &account)?;
            Ok(LoginAdmission::Admitted { owner, ticket })
        }
        Err(retry_after_ms) => Ok(LoginAdmission::Refused { retry_after_ms }),
    }
}

fn load(connection: &Connection, owner: OwnerId, now: Timestamp) -> Result<AccountThrottle, StoreError> {
    let mut statement = connection.prepare_cached("SELECT record FROM throttles WHERE owner = ? AND expires_at > ?")?;
    let record: Option<String> = statement.query_row(params![owner.0, now.0], |row| row.get(0)).optional()?;
    record.map_or_else(|| Ok(AccountThrottle::default()), |json| serde_json::from_str(&json).map_err(corrupt))
}

fn save(connection: &Connection, owner: OwnerId, account: &AccountThrottle) -> Result<(), StoreError> {
    let json = serde_json::to_string(account).map_err(corrupt)?;
    connection.prepare_cached("INSERT OR REPLACE INTO throttles VALUES (?, ?, ?)")?.execute(params![
        owner.0,
        json,
        account.expires_at().0
    ])?;
    Ok(())
}
