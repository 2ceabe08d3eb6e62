//! Authorization codes in SQLite: a row each, until a trigger of the grants' table takes it away.
//!
//! Not here: the rules of redemption, see `store/redeem.rs`.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, Row, named_params, params};

use super::{
    EmbeddedStore, grants, owners,
    schema::{corrupt, time, to_integer, to_number},
};
use crate::{
    clock::Timestamp,
    ids::{ClientId, GrantId, OwnerId},
    pkce::CodeChallenge,
    scope::Scope,
    store::{
        CodeCreation, CodeRecord, CodeStore, NewCode, OwnerStatus, PresentedCode, Redemption, RevocationReason,
        StoreError,
        decide::Delta,
        redeem::{CodeDelta, RedeemedGrant, redeem},
    },
};

#[async_trait]
impl CodeStore for EmbeddedStore {
    async fn create_code(&self, code: &NewCode) -> Result<CodeCreation, StoreError> {
        let code = code.clone();
        self.writer.write(move |connection, now| create(connection, &code, now)).await
    }

    async fn redeem(&self, presented: &PresentedCode) -> Result<Redemption, StoreError> {
        let presented = presented.clone();
        self.writer.write(move |connection, now| present(connection, &presented, now)).await
    }
}

fn create(connection: &Connection, code: &NewCode, now: Timestamp) -> Result<CodeCreation, StoreError> {
    if now > code.deadline {
        return Ok(CodeCreation::TooLate { now });
    }
    let owner = owners::load_owner(connection, code.owner)?;
    if owner.is_none_or(|owner| owner.status != OwnerStatus::Active || owner.epoch != code.owner_epoch) {
        return Ok(CodeCreation::OwnerChanged);
    }
    // The same command once more finds its own row and leaves it.
    connection
        .prepare_cached(
            "INSERT INTO codes
             (owner, grant_id, code_hash, challenge, redirect_uri_hash, client_id, client_epoch, owner_epoch, scope,
              audience, expires_at)
             VALUES
             (:owner, :grant_id, :code_hash, :challenge, :redirect_uri_hash, :client_id, :client_epoch, :owner_epoch,
              :scope, :audience, :expires_at)
             ON CONFLICT DO NOTHING",
        )?
        .execute(named_params! {
            ":owner": code.owner.0,
            ":grant_id": code.grant.0,
            ":code_hash": code.code_hash,
            ":challenge": code.challenge.0,
            ":redirect_uri_hash": code.redirect_uri_hash,
            ":client_id": code.client_id.as_str(),
            ":client_epoch": to_integer(code.client_epoch)?,
            ":owner_epoch": to_integer(code.owner_epoch)?,
            ":scope": code.scope.as_str(),
            ":audience": serde_json::to_string(&code.audience).map_err(corrupt)?,
            ":expires_at": now.plus(code.lifetime_ms).0,
        })?;
    Ok(CodeCreation::Stored)
}

fn present(connection: &Connection, presented: &PresentedCode, now: Timestamp) -> Result<Redemption, StoreError> {
    let (owner, id) = (presented.owner, presented.grant);
    let code = load(connection, owner, id)?;
    let redeemed = load_redeemed(connection, owner, id)?;
    let record = owners::load_owner(connection, owner)?;
    let (redemption, delta) = redeem(code.as_ref(), redeemed.as_ref(), record.as_ref(), presented, now);
    match delta {
        CodeDelta::Unchanged => {}
        CodeDelta::Burn => {
            let mut burn = connection.prepare_cached("DELETE FROM codes WHERE owner = ? AND grant_id = ?")?;
            burn.execute(params![owner.0, id.0])?;
        }
        CodeDelta::Grant(grant) => {
            grants::make_room(connection, owner, &presented.from, now)?;
            let code = Some((presented.code_hash, presented.request_id));
            grants::insert_grant(connection, owner, id, &grant, code)?;
        }
        CodeDelta::Revoke(at) => {
            if let Some(RedeemedGrant { record, .. }) = redeemed {
                let reason = RevocationReason::CodeReplay;
                let from = presented.from.clone();
                let revocation = Delta::Revoke { reason, at, forget_at: record.forget_at(at), from };
                grants::apply(connection, owner, id, &revocation)?;
            }
        }
    }
    Ok(redemption)
}

fn load(connection: &Connection, owner: OwnerId, id: GrantId) -> Result<Option<CodeRecord>, StoreError> {
    connection
        .prepare_cached("SELECT * FROM codes WHERE owner = ? AND grant_id = ?")?
        .query_row(params![owner.0, id.0], |row| Ok(code_of_row(row)))
        .optional()?
        .transpose()
}

fn code_of_row(row: &Row<'_>) -> Result<CodeRecord, StoreError> {
    Ok(CodeRecord {
        code_hash: row.get("code_hash")?,
        challenge: CodeChallenge(row.get("challenge")?),
        redirect_uri_hash: row.get("redirect_uri_hash")?,
        client_id: ClientId::parse(row.get_ref("client_id")?.as_str().map_err(corrupt)?).map_err(corrupt)?,
        client_epoch: to_number(row.get("client_epoch")?)?,
        owner_epoch: to_number(row.get("owner_epoch")?)?,
        scope: Scope::parse(row.get_ref("scope")?.as_str().map_err(corrupt)?).map_err(corrupt)?,
        audience: serde_json::from_str(row.get_ref("audience")?.as_str().map_err(corrupt)?).map_err(corrupt)?,
        expires_at: time(row, "expires_at")?,
    })
}

/// The grant that the code has become, if it has.
fn load_redeemed(connection: &Connection, owner: OwnerId, id: GrantId) -> Result<Option<RedeemedGrant>, StoreError> {
    let Some(record) = grants::load_grant(connection, owner, id)? else { return Ok(None) };
    let (code_hash, request_id) = connection
        .prepare_cached("SELECT code_hash, redeemed_by FROM grants WHERE owner = ? AND id = ?")?
        .query_row(params![owner.0, id.0], |row| Ok((row.get::<_, Option<_>>(0)?, row.get::<_, Option<_>>(1)?)))?;
    // A grant that came of no code has no hash that a code could match.
    let (Some(code_hash), Some(request_id)) = (code_hash, request_id) else {
        return Ok(Some(RedeemedGrant { record, code_hash: [0; 32], request_id: [0; 16] }));
    };
    Ok(Some(RedeemedGrant { record, code_hash, request_id }))
}
