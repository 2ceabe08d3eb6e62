//! Authorization codes in Redis: a hash each, in the slot of their owner.
//!
//! Not here: the rules of redemption, see `store/redeem.rs`; `lua/redeem.lua` is their port.

use async_trait::async_trait;
use redis::Value;

use super::{
    RedisStore, grant_record, keys,
    records::{self, Reply, join_audience},
};
use crate::store::{
    CodeCreation, CodeStore, MAX_GRANTS_PER_OWNER, NewCode, PresentedCode, Redemption, StoreError, TOMBSTONE_MS,
};

#[async_trait]
impl CodeStore for RedisStore {
    async fn create_code(&self, code: &NewCode) -> Result<CodeCreation, StoreError> {
        let key = keys::code(code.owner, code.grant);
        let values: Vec<Value> = self
            .connection
            .run(&key, code.deadline, |deadline| {
                let mut call = self.scripts.create_code.on([&key, &keys::owner(code.owner)]);
                call.arg(deadline.0).arg(self.connection.clock_offset_ms());
                call.arg(code.owner_epoch).arg(code.code_hash.as_slice()).arg(code.challenge.0.as_slice());
                call.arg(code.redirect_uri_hash.as_slice()).arg(code.client_id.as_str()).arg(code.client_epoch);
                call.arg(code.scope.as_str()).arg(join_audience(&code.audience)).arg(code.lifetime_ms);
                call
            })
            .await?;
        let reply = Reply::parse(values)?;
        match reply.code.as_str() {
            "OK" => Ok(CodeCreation::Stored),
            "OW" => Ok(CodeCreation::OwnerChanged),
            "TL" => Ok(CodeCreation::TooLate { now: reply.now }),
            code => Err(StoreError::Corrupt(format!("redis: unknown code {code}"))),
        }
    }

    async fn redeem(&self, presented: &PresentedCode) -> Result<Redemption, StoreError> {
        let grant = keys::grant(presented.owner, presented.grant);
        let values: Vec<Value> = self
            .connection
            .run(&grant, presented.deadline, |deadline| {
                let mut call = self.scripts.redeem.on([
                    &keys::code(presented.owner, presented.grant),
                    &grant,
                    &keys::owner(presented.owner),
                    &keys::grants_of(presented.owner),
                ]);
                call.arg(presented.code_hash.as_slice()).arg(presented.client_id.as_str());
                call.arg(presented.client_epoch).arg(presented.redirect_uri_hash.as_slice());
                call.arg(presented.challenge.0.as_slice()).arg(deadline.0).arg(presented.request_id.as_slice());
                call.arg(presented.family_hash.as_slice()).arg(presented.key_id);
                call.arg(presented.idle_ms).arg(presented.absolute_ms).arg(presented.grace_ms);
                call.arg(presented.access_token_lifetime_ms).arg(TOMBSTONE_MS);
                call.arg(self.connection.clock_offset_ms()).arg(records::cookie_mode(presented.delivery));
                call.arg(presented.grant.to_string()).arg(MAX_GRANTS_PER_OWNER);
                call.arg(grant_record::origin(&presented.from)).arg(keys::grant_prefix(presented.owner));
                call
            })
            .await?;
        let redemption = Reply::parse(values)?.redemption()?;
        if let Redemption::Replayed = redemption {
            // The grant is revoked; the client hears of it when no failover can bring it back.
            self.connection.run_durably::<i64>(&grant, |_| self.scripts.confirm_revoked.on([&grant])).await?;
        }
        Ok(redemption)
    }
}
