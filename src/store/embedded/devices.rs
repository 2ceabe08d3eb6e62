//! Device authorizations in SQLite: a row each.
//!
//! Not here: what a poll leads to, see `store/poll.rs`.

use async_trait::async_trait;
use rusqlite::{Connection, Row, named_params, params};

use super::{
    EmbeddedStore,
    schema::{corrupt, time, to_integer, to_number},
};
use crate::{
    clock::Timestamp,
    ids::{ClientId, DeviceId, OwnerId},
    scope::Scope,
    store::{
        DEVICE_REMEMBRANCE_MS, DeviceDecided, DeviceDecision, DevicePoll, DeviceRecord, DeviceStart, DeviceStore,
        NewDevice, Origin, PresentedDevice, StoreError,
        poll::{DeviceDelta, StartedDevice, poll},
    },
};

#[async_trait]
impl DeviceStore for EmbeddedStore {
    async fn start_device(&self, device: &NewDevice) -> Result<DeviceStart, StoreError> {
        let device = device.clone();
        self.writer.write(move |connection, now| start(connection, &device, now)).await
    }

    async fn device(&self, id: DeviceId) -> Result<Option<DeviceRecord>, StoreError> {
        let now = self.clock.now();
        let row = self.readers.read(|connection| load(connection, id))?;
        Ok(row.map(|row| row.record).filter(|record| now < record.expires_at))
    }

    async fn decide_device(
        &self,
        id: DeviceId,
        decision: DeviceDecision,
        deadline: Timestamp,
    ) -> Result<DeviceDecided, StoreError> {
        self.writer.write(move |connection, now| decide(connection, id, decision, deadline, now)).await
    }

    async fn poll_device(&self, presented: &PresentedDevice) -> Result<DevicePoll, StoreError> {
        let presented = presented.clone();
        self.writer
            .write(move |connection, now| {
                let (outcome, delta) = poll(load(connection, presented.id)?.as_ref(), &presented, now);
                match delta {
                    DeviceDelta::Unchanged => {}
                    DeviceDelta::Claim => claim(connection, presented.id, now)?,
                    DeviceDelta::Wait { interval_ms } => wait(connection, presented.id, interval_ms, now)?,
                }
                Ok(outcome)
            })
            .await
    }

    async fn count_attempt(&self, bucket: [u8; 16], window_ms: i64) -> Result<u32, StoreError> {
        self.writer
            .write(move |connection, now| {
                let mut statement = connection.prepare_cached(
                    "INSERT INTO attempts VALUES (?1, ?2, 1, ?3)
                     ON CONFLICT DO UPDATE SET number = min(number + 1, 4294967295) RETURNING number",
                )?;
                let stretch = now.0.div_euclid(window_ms.max(1));
                Ok(statement.query_row(params![bucket, stretch, now.plus(window_ms).0], |row| row.get(0))?)
            })
            .await
    }
}

fn start(connection: &Connection, device: &NewDevice, now: Timestamp) -> Result<DeviceStart, StoreError> {
    if now > device.deadline {
        return Ok(DeviceStart::TooLate);
    }
    if let Some(there) = load(connection, device.id)? {
        // The same command once more: its first answer was lost.
        let same = there.secret_hash == device.secret_hash;
        return Ok(if same { DeviceStart::Stored } else { DeviceStart::Taken });
    }
    let codes_expire_at = now.plus(device.lifetime_ms);
    connection
        .prepare_cached(
            "INSERT INTO devices
             (id, secret_hash, client_id, client_epoch, scope, audience, address, agent, started_at, codes_expire_at,
              interval_ms, next_poll_at, expires_at)
             VALUES
             (:id, :secret_hash, :client_id, :client_epoch, :scope, :audience, :address, :agent, :now, :codes_expire_at,
              :interval_ms, :now, :expires_at)",
        )?
        .execute(named_params! {
            ":id": device.id.0,
            ":secret_hash": device.secret_hash,
            ":client_id": device.client_id.as_str(),
            ":client_epoch": to_integer(device.client_epoch)?,
            ":scope": device.scope.as_str(),
            ":audience": serde_json::to_string(&device.audience).map_err(corrupt)?,
            ":address": device.origin.address,
            ":agent": device.origin.agent,
            ":now": now.0,
            ":codes_expire_at": codes_expire_at.0,
            ":interval_ms": device.interval_ms,
            ":expires_at": codes_expire_at.plus(DEVICE_REMEMBRANCE_MS).0,
        })?;
    Ok(DeviceStart::Stored)
}

fn decide(
    connection: &Connection,
    id: DeviceId,
    decision: DeviceDecision,
    deadline: Timestamp,
    now: Timestamp,
) -> Result<DeviceDecided, StoreError> {
    if now > deadline {
        return Ok(DeviceDecided::TooLate);
    }
    let Some(row) = load(connection, id)?.filter(|row| now < row.record.expires_at) else {
        return Ok(DeviceDecided::Gone);
    };
    if let Some(before) = row.decision {
        let same = match (before, decision) {
            (DeviceDecision::Approve { owner, .. }, DeviceDecision::Approve { owner: again, .. }) => owner == again,
            (DeviceDecision::Deny, DeviceDecision::Deny) => true,
            _ => false,
        };
        return Ok(if same { DeviceDecided::Stored } else { DeviceDecided::Already });
    }
    let (approved, owner, owner_epoch) = match decision {
        DeviceDecision::Approve { owner, owner_epoch } => (true, Some(owner.0), Some(to_integer(owner_epoch)?)),
        DeviceDecision::Deny => (false, None, None),
    };
    connection
        .prepare_cached("UPDATE devices SET approved = ?2, owner = ?3, owner_epoch = ?4 WHERE id = ?1")?
        .execute(params![id.0, approved, owner, owner_epoch])?;
    Ok(DeviceDecided::Stored)
}

fn claim(connection: &Connection, id: DeviceId, now: Timestamp) -> Result<(), StoreError> {
    connection.prepare_cached("UPDATE devices SET claimed_at = ?2 WHERE id = ?1")?.execute(params![id.0, now.0])?;
    Ok(())
}

fn wait(connection: &Connection, id: DeviceId, interval_ms: i64, now: Timestamp) -> Result<(), StoreError> {
    connection
        .prepare_cached("UPDATE devices SET interval_ms = ?2, next_poll_at = ?3 WHERE id = ?1")?
        .execute(params![id.0, interval_ms, now.plus(interval_ms).0])?;
    Ok(())
}

fn load(connection: &Connection, id: DeviceId) -> Result<Option<StartedDevice>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT * FROM devices WHERE id = ?")?;
    let mut rows = statement.query([id.0])?;
    rows.next()?.map(device_of_row).transpose()
}

fn device_of_row(row: &Row<'_>) -> Result<StartedDevice, StoreError> {
    let decision = match row.get::<_, Option<bool>>("approved")? {
        None => None,
        Some(false) => Some(DeviceDecision::Deny),
        Some(true) => Some(DeviceDecision::Approve {
            owner: OwnerId(row.get("owner")?),
            owner_epoch: to_number(row.get("owner_epoch")?)?,
        }),
    };
    Ok(StartedDevice {
        record: DeviceRecord {
            client_id: ClientId::parse(row.get_ref("client_id")?.as_str().map_err(corrupt)?).map_err(corrupt)?,
            client_epoch: to_number(row.get("client_epoch")?)?,
            scope: Scope::parse(row.get_ref("scope")?.as_str().map_err(corrupt)?).map_err(corrupt)?,
            audience: serde_json::from_str(row.get_ref("audience")?.as_str().map_err(corrupt)?).map_err(corrupt)?,
            origin: Origin { address: row.get("address")?, agent: row.get("agent")? },
            decided: decision.is_some(),
            started_at: time(row, "started_at")?,
            expires_at: time(row, "codes_expire_at")?,
        },
        secret_hash: row.get("secret_hash")?,
        interval_ms: row.get("interval_ms")?,
        next_poll_at: time(row, "next_poll_at")?,
        decision,
        claimed_at: row.get::<_, Option<i64>>("claimed_at")?.map(Timestamp),
    })
}
