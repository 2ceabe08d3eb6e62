//! Grants in Redis: a string each, and an index of an owner's.
//!
//! Not here: rotation's rules, see `store/decide.rs`; `lua/rotate.lua` is their port.

use async_trait::async_trait;
use redis::{Value, cmd};

use super::{
    RedisStore, changed, grant_record, keys,
    records::{self, Reply, join_audience},
    throttle::settlement,
};
use crate::{
    ids::{GrantId, OwnerId},
    store::{
        Changed, GrantCreation, GrantRecord, GrantStore, MAX_GRANTS_PER_OWNER, NewGrant, Origin, OwnerStanding,
        Presented, RevocationReason, Rotation, StoreError, TOMBSTONE_MS,
    },
};

#[async_trait]
impl GrantStore for RedisStore {
    async fn create_grant(&self, grant: &NewGrant) -> Result<GrantCreation, StoreError> {
        let key = keys::grant(grant.owner, grant.id);
        let values: Vec<Value> = self
            .connection
            .run(&key, grant.deadline, |deadline| {
                let mut call = self.scripts.create_grant.on([
                    &key,
                    &keys::owner(grant.owner),
                    &keys::grants_of(grant.owner),
                    &keys::throttle(grant.owner),
                ]);
                call.arg(deadline.0).arg(self.connection.clock_offset_ms());
                call.arg(grant.id.to_string()).arg(grant.owner_epoch);
                call.arg(grant.family_hash.as_slice()).arg(grant.key_id);
                call.arg(grant.client_id.as_str()).arg(grant.client_epoch);
                call.arg(grant.scope.as_str()).arg(join_audience(&grant.audience));
                call.arg(grant.idle_ms).arg(grant.absolute_ms).arg(grant.grace_ms);
                call.arg(grant.access_token_lifetime_ms).arg(MAX_GRANTS_PER_OWNER);
                call.arg(records::cookie_mode(grant.delivery));
                call.arg(grant_record::origin(&grant.from));
                call.arg(TOMBSTONE_MS).arg(keys::grant_prefix(grant.owner));
                if let Some(ticket) = &grant.settles {
                    settlement(&mut call, ticket);
                }
                call
            })
            .await?;
        let reply = Reply::parse(values)?;
        let now = reply.now;
        match reply.code.as_str() {
            "OK" => Ok(GrantCreation::Stored { now }),
            "OW" => Ok(GrantCreation::OwnerChanged),
            "TL" => Ok(GrantCreation::TooLate { now }),
            code => Err(StoreError::Corrupt(format!("redis: unknown code {code}"))),
        }
    }

    async fn rotate(&self, presented: &Presented) -> Result<Rotation, StoreError> {
        let key = keys::grant(presented.owner, presented.grant);
        let answer: Value = self
            .connection
            .run(&key, presented.deadline, |deadline| {
                let mut call = self.scripts.rotate.on([&key, &keys::owner(presented.owner)]);
                call.arg(grant_record::holder(presented));
                call.arg(grant_record::request(presented, deadline, self.connection.clock_offset_ms()));
                call
            })
            .await?;
        let rotation = Reply::rotation(answer, presented)?;
        if matches!(rotation, Rotation::Replayed { .. }) {
            // The grant is revoked; the client hears of it when no failover can bring it back.
            Box::pin(self.connection.run_durably::<i64>(&key, |_| self.scripts.confirm_revoked.on([&key]))).await?;
        }
        Ok(rotation)
    }

    async fn revoke_grant(
        &self,
        owner: OwnerId,
        id: GrantId,
        reason: RevocationReason,
        from: &Origin,
    ) -> Result<Changed, StoreError> {
        let key = keys::grant(owner, id);
        let prepare = |_| {
            let mut call = self.scripts.revoke_grant.on([&key, &keys::grants_of(owner)]);
            call.arg(id.to_string()).arg(reason.as_str());
            call.arg(TOMBSTONE_MS).arg(self.connection.clock_offset_ms());
            call.arg(grant_record::origin(from));
            call
        };
        self.connection.run_durably(&key, prepare).await.map(changed)
    }

    async fn revoke_grants(
        &self,
        owner: OwnerId,
        reason: RevocationReason,
        from: &Origin,
    ) -> Result<usize, StoreError> {
        let key = keys::grants_of(owner);
        let revoked: i64 = self
            .connection
            .run_durably(&key, |_| {
                let mut call = self.scripts.revoke_grants.on([&key]);
                call.arg(reason.as_str()).arg(TOMBSTONE_MS).arg(self.connection.clock_offset_ms());
                call.arg(grant_record::origin(from)).arg(keys::grant_prefix(owner));
                call
            })
            .await?;
        Ok(usize::try_from(revoked).unwrap_or_default())
    }

    async fn grant(&self, owner: OwnerId, id: GrantId) -> Result<Option<GrantRecord>, StoreError> {
        let stored: Option<Vec<u8>> = self.connection.query(cmd("GET").arg(keys::grant(owner, id))).await?;
        stored.as_deref().map(grant_record::grant).transpose()
    }

    async fn standing(
        &self,
        owner: OwnerId,
        id: GrantId,
    ) -> Result<Option<(GrantRecord, Option<OwnerStanding>)>, StoreError> {
        let key = keys::grant(owner, id);
        let call = |_| self.scripts.standing.on([&key, &keys::owner(owner)]);
        let (stored, standing): (Option<Vec<u8>>, Vec<Option<String>>) =
            self.connection.run(&key, self.connection.deadline(), call).await?;
        let Some(stored) = stored else { return Ok(None) };
        Ok(Some((grant_record::grant(&stored)?, records::standing(standing)?)))
    }

    async fn grants_of(&self, owner: OwnerId) -> Result<Vec<GrantId>, StoreError> {
        let ids: Vec<String> = self.connection.query(cmd("ZRANGE").arg(keys::grants_of(owner)).arg(0).arg(-1)).await?;
        Ok(ids.iter().filter_map(|id| GrantId::parse(id)).collect())
    }
}
