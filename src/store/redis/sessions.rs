//! Browser sessions in Redis: a hash each, and an index of an owner's.

use async_trait::async_trait;
use redis::{Value, cmd};

use super::{
    RedisStore, changed, keys,
    records::{self, Reply},
};
use crate::{
    ids::{OwnerId, SessionId},
    store::{
        Changed, LiveSession, MAX_SESSIONS_PER_OWNER, NewSession, OwnerStatus, OwnerStore as _, SESSION_TOUCH_MS,
        SessionBeginning, SessionRecord, SessionStore, StoreError,
    },
};

#[async_trait]
impl SessionStore for RedisStore {
    async fn begin_session(&self, session: &NewSession) -> Result<SessionBeginning, StoreError> {
        let values: Vec<Value> = self
            .connection
            .run(&keys::session(session.owner, session.id), session.deadline, |deadline| {
                let mut call = self.scripts.begin_session.on([
                    &keys::session(session.owner, session.id),
                    &keys::owner(session.owner),
                    &keys::sessions_of(session.owner),
                ]);
                call.arg(deadline.0).arg(self.connection.clock_offset_ms());
                call.arg(session.id.to_string()).arg(session.owner_epoch).arg(session.secret_hash.as_slice());
                call.arg(session.idle_ms).arg(session.absolute_ms);
                call.arg(session.origin.address.as_str()).arg(session.origin.agent.as_str());
                call.arg(MAX_SESSIONS_PER_OWNER).arg(keys::session_prefix(session.owner));
                call
            })
            .await?;
        let reply = Reply::parse(values)?;
        match reply.code.as_str() {
            "OK" => Ok(SessionBeginning::Stored),
            "OW" => Ok(SessionBeginning::OwnerChanged),
            "TL" => Ok(SessionBeginning::TooLate { now: reply.now }),
            code => Err(StoreError::Corrupt(format!("redis: unknown code {code}"))),
        }
    }

    async fn use_session(
        &self,
        owner: OwnerId,
        id: SessionId,
        secret_hash: [u8; 32],
    ) -> Result<Option<LiveSession>, StoreError> {
        let values: Vec<Value> = self
            .connection
            .run(&keys::session(owner, id), self.connection.deadline(), |_| {
                let mut call = self.scripts.use_session.on([&keys::session(owner, id), &keys::owner(owner)]);
                call.arg(secret_hash.as_slice());
                call.arg(self.connection.clock_offset_ms()).arg(SESSION_TOUCH_MS);
                call
            })
            .await?;
        Reply::parse(values)?.session()
    }

    async fn end_session(&self, owner: OwnerId, id: SessionId) -> Result<Changed, StoreError> {
        self.end_sessions(owner, "one", id).await.map(changed)
    }

    async fn end_other_sessions(&self, owner: OwnerId, kept: SessionId) -> Result<usize, StoreError> {
        let ended = self.end_sessions(owner, "others", kept).await?;
        Ok(usize::try_from(ended).unwrap_or_default())
    }

    async fn sessions_of(&self, owner: OwnerId) -> Result<Vec<SessionRecord>, StoreError> {
        let Some(who) = self.owner(owner).await?.filter(|who| who.status == OwnerStatus::Active) else {
            return Ok(Vec::new());
        };
        let ids: Vec<String> =
            self.connection.query(cmd("ZRANGE").arg(keys::sessions_of(owner)).arg(0).arg(-1)).await?;
        let mut sessions = Vec::with_capacity(ids.len());
        for id in ids.iter().filter_map(|id| SessionId::parse(id)) {
            if let Some(fields) = self.fields(keys::session(owner, id)).await? {
                let (epoch, session) = records::session(id, &fields)?;
                if epoch == who.epoch && session.expires_at > self.connection.now() {
                    sessions.push(session);
                }
            }
        }
        sessions.sort_by_key(|session| std::cmp::Reverse(session.signed_in_at));
        Ok(sessions)
    }
}

impl RedisStore {
    async fn end_sessions(&self, owner: OwnerId, which: &str, id: SessionId) -> Result<i64, StoreError> {
        self.connection
            .run_durably(&keys::sessions_of(owner), |_| {
                let mut call = self.scripts.end_sessions.on([&keys::sessions_of(owner)]);
                call.arg(which).arg(id.to_string()).arg(keys::session_prefix(owner));
                call
            })
            .await
    }
}
