//! Consents in SQLite: a row each. They go with their owner by a trigger of the table.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{
    EmbeddedStore, changed, owners,
    schema::{corrupt, time, to_integer, to_number},
};
use crate::{
    clock::Timestamp,
    ids::{ClientId, OwnerId},
    scope::Scope,
    store::{Changed, Consent, ConsentStore, MAX_CONSENTS_PER_OWNER, NewConsent, OwnerStatus, StoreError},
};

#[async_trait]
impl ConsentStore for EmbeddedStore {
    async fn remember_consent(&self, consent: &NewConsent) -> Result<Changed, StoreError> {
        let consent = consent.clone();
        self.writer.write(move |connection, now| remember(connection, &consent, now)).await
    }

    async fn consent(&self, owner: OwnerId, client: &ClientId) -> Result<Option<Consent>, StoreError> {
        self.readers.read(|connection| load(connection, owner, client))
    }

    async fn consents_of(&self, owner: OwnerId) -> Result<Vec<Consent>, StoreError> {
        self.scan(move |connection| {
            let mut statement =
                connection.prepare_cached("SELECT * FROM consents WHERE owner = ? ORDER BY client_id")?;
            statement.query_and_then([owner.0], consent_of_row)?.collect()
        })
        .await
    }

    async fn forget_consent(&self, owner: OwnerId, client: &ClientId) -> Result<Changed, StoreError> {
        let client = client.clone();
        self.writer
            .write(move |connection, _| {
                let mut statement =
                    connection.prepare_cached("DELETE FROM consents WHERE owner = ? AND client_id = ?")?;
                Ok(changed(statement.execute(params![owner.0, client.as_str()])?))
            })
            .await
    }

    async fn forget_consents(&self, owner: OwnerId) -> Result<usize, StoreError> {
        self.writer
            .write(move |connection, _| {
                Ok(connection.prepare_cached("DELETE FROM consents WHERE owner = ?")?.execute([owner.0])?)
            })
            .await
    }
}

fn remember(connection: &Connection, new: &NewConsent, now: Timestamp) -> Result<Changed, StoreError> {
    let same = owners::load_owner(connection, new.owner)?
        .is_some_and(|owner| owner.status == OwnerStatus::Active && owner.epoch == new.owner_epoch);
    if !same {
        return Ok(Changed::NotFound);
    }
    let scope = match load(connection, new.owner, &new.client_id)? {
        Some(before) if before.client_epoch == new.client_epoch => {
            let both = [before.scope.as_str(), new.scope.as_str()].join(" ");
            Scope::parse(both.trim()).map_err(corrupt)?
        }
        Some(_) => new.scope.clone(),
        None => {
            let mut count = connection.prepare_cached("SELECT count(*) FROM consents WHERE owner = ?")?;
            let there: i64 = count.query_row([new.owner.0], |row| row.get(0))?;
            if usize::try_from(there).map_err(corrupt)? >= MAX_CONSENTS_PER_OWNER {
                return Ok(Changed::NotFound);
            }
            new.scope.clone()
        }
    };
    connection
        .prepare_cached(
            "INSERT INTO consents (owner, client_id, client_epoch, scope, given_at) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (owner, client_id) DO UPDATE SET client_epoch = ?3, scope = ?4, given_at = ?5",
        )?
        .execute(params![
            new.owner.0,
            new.client_id.as_str(),
            to_integer(new.client_epoch)?,
            scope.as_str(),
            new.given_at.unwrap_or(now).0
        ])?;
    Ok(Changed::Stored)
}

fn load(connection: &Connection, owner: OwnerId, client: &ClientId) -> Result<Option<Consent>, StoreError> {
    connection
        .prepare_cached("SELECT * FROM consents WHERE owner = ? AND client_id = ?")?
        .query_row(params![owner.0, client.as_str()], |row| Ok(consent_of_row(row)))
        .optional()?
        .transpose()
}

fn consent_of_row(row: &Row<'_>) -> Result<Consent, StoreError> {
    Ok(Consent {
        client_id: ClientId::parse(row.get_ref("client_id")?.as_str().map_err(corrupt)?).map_err(corrupt)?,
        client_epoch: to_number(row.get("client_epoch")?)?,
        scope: Scope::parse(row.get_ref("scope")?.as_str().map_err(corrupt)?).map_err(corrupt)?,
        given_at: time(row, "given_at")?,
    })
}
