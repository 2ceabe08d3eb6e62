//! Device authorizations in Redis: a hash each, alone in its slot.

use async_trait::async_trait;
use redis::Value;

use super::{
    RedisStore, keys,
    records::{self, Reply, join_audience},
};
use crate::{
    clock::Timestamp,
    ids::DeviceId,
    store::{
        CLAIM_GRACE_MS, DEVICE_REMEMBRANCE_MS, DeviceDecided, DeviceDecision, DevicePoll, DeviceRecord, DeviceStart,
        DeviceStore, NewDevice, POLL_LEEWAY_MS, PresentedDevice, SLOW_DOWN_MS, StoreError, StoreHealth as _,
    },
};

#[async_trait]
impl DeviceStore for RedisStore {
    async fn start_device(&self, device: &NewDevice) -> Result<DeviceStart, StoreError> {
        let values: Vec<Value> = self
            .connection
            .run(&keys::device(device.id), device.deadline, |deadline| {
                let mut call = self.scripts.start_device.on([&keys::device(device.id)]);
                call.arg(deadline.0).arg(self.connection.clock_offset_ms());
                call.arg(device.secret_hash.as_slice()).arg(device.client_id.as_str()).arg(device.client_epoch);
                call.arg(device.scope.as_str()).arg(join_audience(&device.audience));
                call.arg(device.origin.address.as_str()).arg(device.origin.agent.as_str());
                call.arg(device.lifetime_ms).arg(device.interval_ms).arg(DEVICE_REMEMBRANCE_MS);
                call
            })
            .await?;
        let reply = Reply::parse(values)?;
        match reply.code.as_str() {
            "OK" => Ok(DeviceStart::Stored),
            "TK" => Ok(DeviceStart::Taken),
            "TL" => Ok(DeviceStart::TooLate),
            code => Err(StoreError::Corrupt(format!("redis: unknown code {code}"))),
        }
    }

    async fn device(&self, id: DeviceId) -> Result<Option<DeviceRecord>, StoreError> {
        let record = self.fields(keys::device(id)).await?.as_ref().map(records::device).transpose()?;
        Ok(record.filter(|record| self.now() < record.expires_at))
    }

    async fn decide_device(
        &self,
        id: DeviceId,
        decision: DeviceDecision,
        deadline: Timestamp,
    ) -> Result<DeviceDecided, StoreError> {
        let (word, owner, epoch) = match decision {
            DeviceDecision::Approve { owner, owner_epoch } => ("A", owner.to_string(), owner_epoch),
            DeviceDecision::Deny => ("D", String::new(), 0),
        };
        let values: Vec<Value> = self
            .connection
            .run(&keys::device(id), deadline, |deadline| {
                let mut call = self.scripts.decide_device.on([&keys::device(id)]);
                call.arg(deadline.0).arg(self.connection.clock_offset_ms());
                call.arg(word).arg(&owner).arg(epoch);
                call
            })
            .await?;
        let reply = Reply::parse(values)?;
        match reply.code.as_str() {
            "OK" => Ok(DeviceDecided::Stored),
            "AL" => Ok(DeviceDecided::Already),
            "GN" => Ok(DeviceDecided::Gone),
            "TL" => Ok(DeviceDecided::TooLate),
            code => Err(StoreError::Corrupt(format!("redis: unknown code {code}"))),
        }
    }

    async fn poll_device(&self, presented: &PresentedDevice) -> Result<DevicePoll, StoreError> {
        let values: Vec<Value> = self
            .connection
            .run(&keys::device(presented.id), presented.deadline, |deadline| {
                let mut call = self.scripts.poll_device.on([&keys::device(presented.id)]);
                call.arg(deadline.0).arg(self.connection.clock_offset_ms());
                call.arg(presented.secret_hash.as_slice()).arg(presented.client_id.as_str());
                call.arg(CLAIM_GRACE_MS).arg(POLL_LEEWAY_MS).arg(SLOW_DOWN_MS);
                call
            })
            .await?;
        let reply = Reply::parse(values)?;
        reply.device_poll()
    }

    async fn count_attempt(&self, bucket: [u8; 16], window_ms: i64) -> Result<u32, StoreError> {
        let stretch = self.now().0.div_euclid(window_ms.max(1));
        let key = keys::attempts(DeviceId(bucket), stretch);
        self.connection
            .run(&key, self.connection.deadline(), |_| {
                let mut call = self.scripts.count_attempt.on([&key]);
                call.arg(window_ms);
                call
            })
            .await
    }
}
