//! Browser sessions in SQLite: a row each. That the oldest end beyond the cap is a trigger of the table.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, Row, named_params, params};

use super::{
    EmbeddedStore, changed, owners,
    schema::{corrupt, time, to_integer, to_number},
};
use crate::{
    clock::Timestamp,
    ids::{OwnerId, SessionId},
    store::{
        Changed, LiveSession, NewSession, Origin, OwnerRecord, OwnerStatus, SESSION_TOUCH_MS, SessionBeginning,
        SessionRecord, SessionStore, StoreError,
    },
};

#[async_trait]
impl SessionStore for EmbeddedStore {
    async fn begin_session(&self, session: &NewSession) -> Result<SessionBeginning, StoreError> {
        let session = session.clone();
        self.writer.write(move |connection, now| begin(connection, &session, now)).await
    }

    async fn use_session(
        &self,
        owner: OwnerId,
        id: SessionId,
        secret_hash: [u8; 32],
    ) -> Result<Option<LiveSession>, StoreError> {
        let now = self.clock.now();
        let Some((live, row)) = self.readers.read(|connection| live(connection, owner, id, secret_hash, now))? else {
            return Ok(None);
        };
        if now.since(row.last_used_at) < SESSION_TOUCH_MS {
            return Ok(Some(live));
        }
        // Looked at once more, in the transaction: it may have ended meanwhile.
        self.writer
            .write(move |connection, now| {
                let Some((live, row)) = self::live(connection, owner, id, secret_hash, now)? else { return Ok(None) };
                touch(connection, owner, id, now, row.expiry_of(now))?;
                Ok(Some(live))
            })
            .await
    }

    async fn end_session(&self, owner: OwnerId, id: SessionId) -> Result<Changed, StoreError> {
        self.writer
            .write(move |connection, _| {
                let mut statement = connection.prepare_cached("DELETE FROM sessions WHERE owner = ? AND id = ?")?;
                Ok(changed(statement.execute(params![owner.0, id.0])?))
            })
            .await
    }

    async fn end_other_sessions(&self, owner: OwnerId, kept: SessionId) -> Result<usize, StoreError> {
        self.writer
            .write(move |connection, _| {
                let mut statement = connection.prepare_cached("DELETE FROM sessions WHERE owner = ? AND id <> ?")?;
                Ok(statement.execute(params![owner.0, kept.0])?)
            })
            .await
    }

    async fn sessions_of(&self, owner: OwnerId) -> Result<Vec<SessionRecord>, StoreError> {
        let now = self.clock.now();
        self.scan(move |connection| {
            let Some(who) = active_owner(connection, owner)? else { return Ok(Vec::new()) };
            let mut statement = connection.prepare_cached(
                "SELECT * FROM sessions WHERE owner = ? AND owner_epoch = ? AND expires_at > ?
                 ORDER BY signed_in_at DESC, id",
            )?;
            statement
                .query_and_then(params![owner.0, to_integer(who.epoch)?, now.0], |row| {
                    Ok(SessionRow::read(row)?.record())
                })?
                .collect()
        })
        .await
    }
}

fn begin(connection: &Connection, session: &NewSession, now: Timestamp) -> Result<SessionBeginning, StoreError> {
    if now > session.deadline {
        return Ok(SessionBeginning::TooLate { now });
    }
    if active_owner(connection, session.owner)?.is_none_or(|owner| owner.epoch != session.owner_epoch) {
        return Ok(SessionBeginning::OwnerChanged);
    }
    let absolute_expiry = now.plus(session.absolute_ms);
    // The same command once more finds its own row and leaves it.
    connection
        .prepare_cached(
            "INSERT INTO sessions
             (owner, id, secret_hash, owner_epoch, signed_in_at, last_used_at, absolute_expiry, idle_ms, address, agent,
              expires_at)
             VALUES
             (:owner, :id, :secret_hash, :owner_epoch, :now, :now, :absolute_expiry, :idle_ms, :address, :agent,
              :expires_at)
             ON CONFLICT DO NOTHING",
        )?
        .execute(named_params! {
            ":owner": session.owner.0,
            ":id": session.id.0,
            ":secret_hash": session.secret_hash,
            ":owner_epoch": to_integer(session.owner_epoch)?,
            ":now": now.0,
            ":absolute_expiry": absolute_expiry.0,
            ":idle_ms": session.idle_ms,
            ":address": session.origin.address,
            ":agent": session.origin.agent,
            ":expires_at": now.plus(session.idle_ms).min(absolute_expiry).0,
        })?;
    Ok(SessionBeginning::Stored)
}

fn active_owner(connection: &Connection, id: OwnerId) -> Result<Option<OwnerRecord>, StoreError> {
    Ok(owners::load_owner(connection, id)?.filter(|owner| owner.status == OwnerStatus::Active))
}

/// The session, if it is alive and the secret is its own.
fn live(
    connection: &Connection,
    owner: OwnerId,
    id: SessionId,
    secret_hash: [u8; 32],
    now: Timestamp,
) -> Result<Option<(LiveSession, SessionRow)>, StoreError> {
    let row = connection
        .prepare_cached("SELECT * FROM sessions WHERE owner = ? AND id = ?")?
        .query_row(params![owner.0, id.0], |row| Ok(SessionRow::read(row)))
        .optional()?
        .transpose()?;
    let Some(row) = row.filter(|row| row.secret_hash == secret_hash && now < row.expires_at) else { return Ok(None) };
    let Some(who) = active_owner(connection, owner)?.filter(|who| who.epoch == row.owner_epoch) else {
        return Ok(None);
    };
    let live = LiveSession {
        now,
        signed_in_at: row.signed_in_at,
        owner_epoch: who.epoch,
        subject: who.subject,
        username: who.username,
    };
    Ok(Some((live, row)))
}

fn touch(
    connection: &Connection,
    owner: OwnerId,
    id: SessionId,
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<(), StoreError> {
    connection
        .prepare_cached("UPDATE sessions SET last_used_at = ?3, expires_at = ?4 WHERE owner = ?1 AND id = ?2")?
        .execute(params![owner.0, id.0, now.0, expires_at.0])?;
    Ok(())
}

struct SessionRow {
    id: SessionId,
    secret_hash: [u8; 32],
    owner_epoch: u64,
    signed_in_at: Timestamp,
    last_used_at: Timestamp,
    absolute_expiry: Timestamp,
    idle_ms: i64,
    expires_at: Timestamp,
    origin: Origin,
}

impl SessionRow {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: SessionId(row.get("id")?),
            secret_hash: row.get("secret_hash").map_err(corrupt)?,
            owner_epoch: to_number(row.get("owner_epoch")?)?,
            signed_in_at: time(row, "signed_in_at")?,
            last_used_at: time(row, "last_used_at")?,
            absolute_expiry: time(row, "absolute_expiry")?,
            idle_ms: row.get("idle_ms")?,
            expires_at: time(row, "expires_at")?,
            origin: Origin { address: row.get("address")?, agent: row.get("agent")? },
        })
    }

    fn expiry_of(&self, used_at: Timestamp) -> Timestamp {
        used_at.plus(self.idle_ms).min(self.absolute_expiry)
    }

    fn record(self) -> SessionRecord {
        SessionRecord {
            id: self.id,
            signed_in_at: self.signed_in_at,
            last_used_at: self.last_used_at,
            expires_at: self.expires_at,
            origin: self.origin,
        }
    }
}
