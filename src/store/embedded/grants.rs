//! Grants in SQLite: a row each.
//!
//! Not here: rotation's rules, see `store/decide.rs`.

use async_trait::async_trait;
use rusqlite::{Connection, Row, named_params, params};

use super::{
    EmbeddedStore, owners,
    schema::{corrupt, time, to_integer, to_number},
    throttle,
};
use crate::{
    clock::Timestamp,
    ids::{ClientId, GrantId, OwnerId},
    scope::Scope,
    store::{
        Changed, Delivery, GrantCreation, GrantRecord, GrantStatus, GrantStore, LoginOutcome, MAX_GRANTS_PER_OWNER,
        NewGrant, Origin, OwnerStanding, OwnerStatus, Presented, RevocationReason, Rotation, StoreError, TOMBSTONE_MS,
        decide::{Delta, decide},
    },
};

#[async_trait]
impl GrantStore for EmbeddedStore {
    async fn create_grant(&self, grant: &NewGrant) -> Result<GrantCreation, StoreError> {
        let grant = grant.clone();
        self.writer.write(move |connection, now| create_grant(connection, &grant, now)).await
    }

    async fn rotate(&self, presented: &Presented) -> Result<Rotation, StoreError> {
        let presented = presented.clone();
        self.writer
            .write(move |connection, now| {
                let record = load_grant(connection, presented.owner, presented.grant)?;
                let owner = owners::load_owner(connection, presented.owner)?.map(OwnerStanding::from);
                let decision = decide(record.as_ref(), owner.as_ref(), &presented, now);
                apply(connection, presented.owner, presented.grant, &decision.delta)?;
                Ok(decision.rotation)
            })
            .await
    }

    async fn revoke_grant(
        &self,
        owner: OwnerId,
        id: GrantId,
        reason: RevocationReason,
        from: &Origin,
    ) -> Result<Changed, StoreError> {
        let from = from.clone();
        self.writer
            .write(move |connection, now| {
                let Some(record) = load_grant(connection, owner, id)? else {
                    return Ok(Changed::NotFound);
                };
                if record.status == GrantStatus::Active {
                    let revocation = Delta::Revoke { reason, at: now, forget_at: record.forget_at(now), from };
                    apply(connection, owner, id, &revocation)?;
                }
                Ok(Changed::Stored)
            })
            .await
    }

    async fn revoke_grants(
        &self,
        owner: OwnerId,
        reason: RevocationReason,
        from: &Origin,
    ) -> Result<usize, StoreError> {
        let from = from.clone();
        self.writer.write(move |connection, now| revoke_all_but(connection, owner, 0, reason, &from, now)).await
    }

    async fn grant(&self, owner: OwnerId, id: GrantId) -> Result<Option<GrantRecord>, StoreError> {
        self.readers.read(|connection| load_grant(connection, owner, id))
    }

    async fn standing(
        &self,
        owner: OwnerId,
        id: GrantId,
    ) -> Result<Option<(GrantRecord, Option<OwnerStanding>)>, StoreError> {
        self.readers.read(|connection| {
            let Some(grant) = load_grant(connection, owner, id)? else { return Ok(None) };
            Ok(Some((grant, owners::load_owner(connection, owner)?.map(OwnerStanding::from))))
        })
    }

    async fn grants_of(&self, owner: OwnerId) -> Result<Vec<GrantId>, StoreError> {
        self.scan(move |connection| grants_of(connection, owner)).await
    }
}

fn create_grant(connection: &Connection, grant: &NewGrant, now: Timestamp) -> Result<GrantCreation, StoreError> {
    if now > grant.deadline {
        return Ok(GrantCreation::TooLate { now });
    }
    if let Some(stored) = load_grant(connection, grant.owner, grant.id)? {
        // The same command once more: its first answer was lost.
        if stored.family_hash == grant.family_hash {
            return Ok(GrantCreation::Stored { now: stored.created_at });
        }
        return Err(StoreError::Corrupt("another grant has the identifier of a new one".to_owned()));
    }
    if let Some(ticket) = &grant.settles {
        throttle::settle(connection, grant.owner, ticket, LoginOutcome::Succeeded, now)?;
    }
    let owner = owners::load_owner(connection, grant.owner)?;
    if !owner.is_some_and(|owner| owner.status == OwnerStatus::Active && owner.epoch == grant.owner_epoch) {
        return Ok(GrantCreation::OwnerChanged);
    }
    make_room(connection, grant.owner, &grant.from, now)?;
    let absolute_expiry = now.plus(grant.absolute_ms);
    let record = GrantRecord {
        status: GrantStatus::Active,
        family_hash: grant.family_hash,
        generation: 1,
        key_id: grant.key_id,
        current_since: now,
        created_at: now,
        absolute_expiry,
        idle_ms: grant.idle_ms,
        grace_ms: grant.grace_ms,
        client_id: grant.client_id.clone(),
        owner_epoch: grant.owner_epoch,
        client_epoch: grant.client_epoch,
        scope: grant.scope.clone(),
        audience: grant.audience.clone(),
        delivery: grant.delivery,
        access_expires_at: now.plus(grant.access_token_lifetime_ms).min(absolute_expiry),
        used_in_place: false,
        repeats: 0,
        last_used_from: grant.from.clone(),
    };
    insert_grant(connection, grant.owner, grant.id, &record, None)?;
    Ok(GrantCreation::Stored { now })
}

pub(super) fn load_grant(
    connection: &Connection,
    owner: OwnerId,
    id: GrantId,
) -> Result<Option<GrantRecord>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT * FROM grants WHERE owner = ? AND id = ?")?;
    let mut rows = statement.query(params![owner.0, id.0])?;
    rows.next()?.map(grant_of_row).transpose()
}

fn grant_of_row(row: &Row<'_>) -> Result<GrantRecord, StoreError> {
    let status = match row.get::<_, Option<String>>("revoked_reason")? {
        None => GrantStatus::Active,
        Some(word) => GrantStatus::Revoked {
            reason: RevocationReason::parse(&word).ok_or_else(|| corrupt("an unknown reason of a revocation"))?,
            at: time(row, "revoked_at")?,
            from: origin(row, "revoked_from_address", "revoked_from_agent")?,
        },
    };
    Ok(GrantRecord {
        status,
        family_hash: row.get("family_hash")?,
        generation: row.get("generation")?,
        key_id: row.get("key_id")?,
        current_since: time(row, "current_since")?,
        created_at: time(row, "created_at")?,
        absolute_expiry: time(row, "absolute_expiry")?,
        idle_ms: row.get("idle_ms")?,
        grace_ms: row.get("grace_ms")?,
        client_id: ClientId::parse(row.get_ref("client_id")?.as_str().map_err(corrupt)?).map_err(corrupt)?,
        owner_epoch: to_number(row.get("owner_epoch")?)?,
        client_epoch: to_number(row.get("client_epoch")?)?,
        scope: Scope::parse(row.get_ref("scope")?.as_str().map_err(corrupt)?).map_err(corrupt)?,
        audience: serde_json::from_str(row.get_ref("audience")?.as_str().map_err(corrupt)?).map_err(corrupt)?,
        delivery: if row.get("cookie_mode")? { Delivery::Cookie } else { Delivery::Body },
        access_expires_at: time(row, "access_expires_at")?,
        used_in_place: row.get("used_in_place")?,
        repeats: row.get("repeats")?,
        last_used_from: origin(row, "used_from_address", "used_from_agent")?,
    })
}

fn origin(row: &Row<'_>, address: &str, agent: &str) -> Result<Origin, StoreError> {
    Ok(Origin { address: row.get(address)?, agent: row.get(agent)? })
}

/// Stores a new, active grant; `code` is the hash of the code that it came of, and the request that redeemed it.
pub(super) fn insert_grant(
    connection: &Connection,
    owner: OwnerId,
    id: GrantId,
    record: &GrantRecord,
    code: Option<([u8; 32], [u8; 16])>,
) -> Result<(), StoreError> {
    let (code_hash, redeemed_by) = code.unzip();
    connection
        .prepare_cached(
            "INSERT INTO grants
             (owner, id, family_hash, generation, key_id, current_since, created_at, absolute_expiry, idle_ms,
              grace_ms, client_id, owner_epoch, client_epoch, scope, audience, cookie_mode, access_expires_at,
              used_in_place, repeats, used_from_address, used_from_agent, expires_at, code_hash, redeemed_by)
             VALUES
             (:owner, :id, :family_hash, :generation, :key_id, :current_since, :created_at, :absolute_expiry, :idle_ms,
              :grace_ms, :client_id, :owner_epoch, :client_epoch, :scope, :audience, :cookie_mode, :access_expires_at,
              :used_in_place, :repeats, :used_from_address, :used_from_agent, :expires_at, :code_hash, :redeemed_by)",
        )?
        .execute(named_params! {
            ":owner": owner.0,
            ":id": id.0,
            ":family_hash": record.family_hash,
            ":generation": record.generation,
            ":key_id": record.key_id,
            ":current_since": record.current_since.0,
            ":created_at": record.created_at.0,
            ":absolute_expiry": record.absolute_expiry.0,
            ":idle_ms": record.idle_ms,
            ":grace_ms": record.grace_ms,
            ":client_id": record.client_id.as_str(),
            ":owner_epoch": to_integer(record.owner_epoch)?,
            ":client_epoch": to_integer(record.client_epoch)?,
            ":scope": record.scope.as_str(),
            ":audience": serde_json::to_string(&record.audience).map_err(corrupt)?,
            ":cookie_mode": record.delivery == Delivery::Cookie,
            ":access_expires_at": record.access_expires_at.0,
            ":used_in_place": record.used_in_place,
            ":repeats": record.repeats,
            ":used_from_address": record.last_used_from.address,
            ":used_from_agent": record.last_used_from.agent,
            ":expires_at": record.expires_at().0,
            ":code_hash": code_hash,
            ":redeemed_by": redeemed_by,
        })?;
    Ok(())
}

/// Stores what a decision changes.
pub(super) fn apply(connection: &Connection, owner: OwnerId, id: GrantId, delta: &Delta) -> Result<(), StoreError> {
    match delta {
        Delta::Unchanged => 0,
        Delta::CountRepeat => connection
            .prepare_cached("UPDATE grants SET repeats = min(repeats + 1, 4294967295) WHERE owner = ? AND id = ?")?
            .execute(params![owner.0, id.0])?,
        Delta::Advance { generation, key_id, current_since, access_expires_at, used_in_place, expires_at, from } => {
            connection
                .prepare_cached(
                    "UPDATE grants SET generation = ?3, key_id = ?4, current_since = ?5, access_expires_at = ?6,
                 used_in_place = ?7, expires_at = ?8, used_from_address = ?9, used_from_agent = ?10 WHERE owner = ?1 AND id = ?2",
                )?
                .execute(params![
                    owner.0,
                    id.0,
                    generation,
                    key_id,
                    current_since.0,
                    access_expires_at.0,
                    used_in_place,
                    expires_at.0,
                    from.address,
                    from.agent
                ])?
        }
        Delta::Revoke { reason, at, forget_at, from } => connection
            .prepare_cached(
                "UPDATE grants SET revoked_reason = ?3, revoked_at = ?4, expires_at = ?5, revoked_from_address = ?6,
                 revoked_from_agent = ?7 WHERE owner = ?1 AND id = ?2",
            )?
            .execute(params![owner.0, id.0, reason.as_str(), at.0, forget_at.0, from.address, from.agent])?,
    };
    Ok(())
}

/// Revokes the owner's oldest living grants that have no room beside a new one.
pub(super) fn make_room(
    connection: &Connection,
    owner: OwnerId,
    from: &Origin,
    now: Timestamp,
) -> Result<usize, StoreError> {
    let others = MAX_GRANTS_PER_OWNER.saturating_sub(1);
    revoke_all_but(connection, owner, others, RevocationReason::Overflow, from, now)
}

/// Revokes the owner's living grants but so many of the newest. Says how many it revoked.
fn revoke_all_but(
    connection: &Connection,
    owner: OwnerId,
    newest: usize,
    reason: RevocationReason,
    from: &Origin,
    now: Timestamp,
) -> Result<usize, StoreError> {
    let (newest, forget_at) = (i64::try_from(newest).map_err(corrupt)?, now.plus(TOMBSTONE_MS).0);
    let mut revoke = connection.prepare_cached(
        "UPDATE grants SET revoked_reason = ?2, revoked_at = ?3, expires_at = max(access_expires_at, ?4),
         revoked_from_address = ?5, revoked_from_agent = ?6
         WHERE owner = ?1 AND id IN (
             SELECT id FROM grants WHERE owner = ?1 AND revoked_at IS NULL AND expires_at > ?3
             ORDER BY created_at DESC, id DESC LIMIT -1 OFFSET ?7)",
    )?;
    Ok(revoke.execute(params![owner.0, reason.as_str(), now.0, forget_at, from.address, from.agent, newest])?)
}

fn grant_id(row: &Row<'_>) -> rusqlite::Result<GrantId> {
    Ok(GrantId(row.get("id")?))
}

fn grants_of(connection: &Connection, owner: OwnerId) -> Result<Vec<GrantId>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT id FROM grants WHERE owner = ? ORDER BY created_at, id")?;
    let ids = statement.query_map([owner.0], grant_id)?;
    Ok(ids.collect::<Result<_, _>>()?)
}
