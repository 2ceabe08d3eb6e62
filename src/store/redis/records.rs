//! Records as Redis hashes, and the answers of scripts as outcomes.

use std::{collections::HashMap, str::FromStr};

use redis::Value;

use super::grant_record;
use crate::{
    clock::Timestamp,
    ids::{ClientId, OwnerId, SessionId, Subject, Username},
    scope::Scope,
    store::{
        ApprovedDevice, CodeRefusal, Delivery, DevicePoll, DeviceRecord, LiveSession, Origin, OwnerRecord,
        OwnerStanding, OwnerStatus, Presented, Redemption, Refusal, RevocationReason, Rotation, SessionRecord,
        StoreError,
    },
};

/// A hash as `HGETALL` answers it.
pub(super) type Fields = HashMap<String, Vec<u8>>;

pub(super) fn corrupt(what: &str) -> StoreError {
    StoreError::Corrupt(format!("redis: {what}"))
}

fn text(fields: &Fields, name: &str) -> Result<String, StoreError> {
    let bytes = fields.get(name).ok_or_else(|| corrupt(&format!("no field {name}")))?;
    String::from_utf8(bytes.clone()).map_err(|_| corrupt(&format!("field {name} is not text")))
}

fn number<T: FromStr>(fields: &Fields, name: &str) -> Result<T, StoreError> {
    text(fields, name)?.parse().map_err(|_| corrupt(&format!("field {name} is not a number")))
}

fn time(fields: &Fields, name: &str) -> Result<Timestamp, StoreError> {
    number(fields, name).map(Timestamp)
}

/// Audiences are URIs, so a space separates them.
pub(super) fn join_audience(audience: &[String]) -> String {
    audience.join(" ")
}

pub(super) fn split_audience(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// The delivery as the scripts take it.
pub(super) const fn cookie_mode(delivery: Delivery) -> u8 {
    match delivery {
        Delivery::Body => 0,
        Delivery::Cookie => 1,
    }
}

/// A session, and the owner's epoch at its beginning.
pub(super) fn session(id: SessionId, fields: &Fields) -> Result<(u64, SessionRecord), StoreError> {
    let (last_used_at, idle_ms) = (time(fields, "lu")?, number(fields, "idl")?);
    let record = SessionRecord {
        id,
        signed_in_at: time(fields, "t0")?,
        last_used_at,
        expires_at: last_used_at.plus(idle_ms).min(time(fields, "abs")?),
        origin: Origin { address: text(fields, "ip")?, agent: text(fields, "ua")? },
    };
    Ok((number(fields, "ue")?, record))
}

fn username(stored: String) -> Result<Username, StoreError> {
    serde_json::from_value(stored.into()).map_err(|_| corrupt("username"))
}

pub(super) fn device(fields: &Fields) -> Result<DeviceRecord, StoreError> {
    Ok(DeviceRecord {
        client_id: ClientId::parse(&text(fields, "cid")?).map_err(|_| corrupt("client_id"))?,
        client_epoch: number(fields, "ce")?,
        scope: Scope::parse(&text(fields, "sc")?).map_err(|_| corrupt("scope"))?,
        audience: split_audience(&text(fields, "au")?),
        origin: Origin { address: text(fields, "ip")?, agent: text(fields, "ua")? },
        decided: text(fields, "st")? != "P",
        started_at: time(fields, "t0")?,
        expires_at: time(fields, "exp")?,
    })
}

pub(super) fn owner(fields: &Fields) -> Result<OwnerRecord, StoreError> {
    Ok(OwnerRecord {
        username: username(text(fields, "name")?)?,
        subject: Subject(text(fields, "sub")?),
        status: owner_status(&text(fields, "st")?)?,
        epoch: number(fields, "ue")?,
        sealed_password: fields.get("phc").cloned().ok_or_else(|| corrupt("no password hash"))?,
        created_at: time(fields, "t0")?,
        demo: fields.contains_key("demo"),
    })
}

fn owner_status(word: &str) -> Result<OwnerStatus, StoreError> {
    match word {
        "A" => Ok(OwnerStatus::Active),
        "D" => Ok(OwnerStatus::Disabled),
        _ => Err(corrupt("unknown owner status")),
    }
}

/// How an owner stands, if there is one: status, epoch and subject.
pub(super) fn standing(fields: Vec<Option<String>>) -> Result<Option<OwnerStanding>, StoreError> {
    let Ok([Some(status), Some(epoch), Some(subject)]) = <[_; 3]>::try_from(fields) else { return Ok(None) };
    Ok(Some(OwnerStanding {
        status: owner_status(&status)?,
        epoch: epoch.parse().map_err(|_| corrupt("owner epoch"))?,
        subject: Subject(subject),
    }))
}

/// The fields of a new owner, name and value in turn.
pub(super) fn owner_fields(owner: &OwnerRecord) -> Vec<Vec<u8>> {
    let status = if owner.status == OwnerStatus::Active { "A" } else { "D" };
    let mut fields: Vec<Vec<u8>> = Vec::with_capacity(14);
    for (name, value) in [
        ("name", owner.username.as_str().as_bytes()),
        ("sub", owner.subject.0.as_bytes()),
        ("st", status.as_bytes()),
        ("ue", owner.epoch.to_string().as_bytes()),
        ("phc", &owner.sealed_password),
        ("t0", owner.created_at.0.to_string().as_bytes()),
    ] {
        fields.push(name.into());
        fields.push(value.to_vec());
    }
    if owner.demo {
        fields.extend([b"demo".to_vec(), b"1".to_vec()]);
    }
    fields
}

/// The answer of a script: texts and whole numbers, one after the other.
pub(super) struct Reply {
    values: std::vec::IntoIter<Value>,
    /// The code.
    pub(super) code: String,
    /// The store's time.
    pub(super) now: Timestamp,
}

impl Reply {
    pub(super) fn parse(values: Vec<Value>) -> Result<Self, StoreError> {
        let mut reply = Self { values: values.into_iter(), code: String::new(), now: Timestamp(0) };
        reply.code = reply.text()?;
        reply.now = reply.time()?;
        Ok(reply)
    }

    pub(super) fn text(&mut self) -> Result<String, StoreError> {
        String::from_utf8(self.bytes()?).map_err(|_| corrupt("answer is not text"))
    }

    fn bytes(&mut self) -> Result<Vec<u8>, StoreError> {
        match self.values.next() {
            Some(Value::BulkString(bytes)) => Ok(bytes),
            other => Err(corrupt(&format!("unexpected answer {other:?}"))),
        }
    }

    /// The rest: names and values in turn.
    pub(super) fn fields(self) -> Result<Fields, StoreError> {
        let mut fields = Fields::new();
        let mut values = self.values;
        while let Some(name) = values.next() {
            let (Value::BulkString(name), Some(Value::BulkString(value))) = (name, values.next()) else {
                return Err(corrupt("unexpected answer"));
            };
            fields.insert(String::from_utf8(name).map_err(|_| corrupt("a name is not text"))?, value);
        }
        Ok(fields)
    }

    pub(super) fn number<T: FromStr + TryFrom<i64>>(&mut self) -> Result<T, StoreError> {
        let number = match self.values.next() {
            Some(Value::Int(number)) => T::try_from(number).ok(),
            Some(Value::BulkString(digits)) => str::from_utf8(&digits).ok().and_then(|digits| digits.parse().ok()),
            _ => None,
        };
        number.ok_or_else(|| corrupt("answer is not a number"))
    }

    fn time(&mut self) -> Result<Timestamp, StoreError> {
        self.number::<i64>().map(Timestamp)
    }

    fn reason(&mut self) -> Result<RevocationReason, StoreError> {
        RevocationReason::parse(&self.text()?).ok_or_else(|| corrupt("unknown reason"))
    }

    /// The outcome of `use_session.lua`.
    pub(super) fn session(mut self) -> Result<Option<LiveSession>, StoreError> {
        match self.code.as_str() {
            "NF" => Ok(None),
            "OK" => Ok(Some(LiveSession {
                now: self.now,
                signed_in_at: self.time()?,
                owner_epoch: self.number()?,
                subject: Subject(self.text()?),
                username: username(self.text()?)?,
            })),
            code => Err(corrupt(&format!("unknown code {code}"))),
        }
    }

    /// The outcome of `redeem.lua`.
    pub(super) fn redemption(mut self) -> Result<Redemption, StoreError> {
        let refusal = match self.code.as_str() {
            "OK" => {
                let (_, live) = grant_record::live(&self.bytes()?, None, &[])?;
                return Ok(Redemption::Redeemed(live));
            }
            "RP" => return Ok(Redemption::Replayed),
            "TL" => return Ok(Redemption::TooLate { now: self.now }),
            "NF" => CodeRefusal::Unknown,
            "WF" => CodeRefusal::WrongSecret,
            "WC" => CodeRefusal::WrongClient {
                issued_to: ClientId::parse(&self.text()?).map_err(|_| corrupt("client_id"))?,
            },
            "RV" => CodeRefusal::Revoked(self.reason()?),
            "XP" => CodeRefusal::Expired,
            "OW" => CodeRefusal::OwnerChanged,
            "CE" => CodeRefusal::ClientChanged,
            "RD" => CodeRefusal::RedirectUri,
            "PK" => CodeRefusal::Challenge,
            code => return Err(corrupt(&format!("unknown code {code}"))),
        };
        Ok(Redemption::Refused(refusal))
    }

    /// The outcome of `poll_device.lua`.
    pub(super) fn device_poll(mut self) -> Result<DevicePoll, StoreError> {
        Ok(match self.code.as_str() {
            "PD" => DevicePoll::Pending,
            "SD" => DevicePoll::SlowDown,
            "DN" => DevicePoll::Denied,
            "XP" => DevicePoll::Expired,
            "FR" => DevicePoll::Foreign,
            "TL" => DevicePoll::TooLate,
            "WC" => {
                DevicePoll::WrongClient { issued_to: ClientId::parse(&self.text()?).map_err(|_| corrupt("client_id"))? }
            }
            "US" => DevicePoll::Used { owner: self.owner()? },
            code @ ("OK" | "RT") => {
                let repeated = code == "RT";
                DevicePoll::Approved(ApprovedDevice {
                    owner: self.owner()?,
                    owner_epoch: self.number()?,
                    client_epoch: self.number()?,
                    scope: Scope::parse(&self.text()?).map_err(|_| corrupt("scope"))?,
                    audience: split_audience(&self.text()?),
                    repeated,
                })
            }
            code => return Err(corrupt(&format!("unknown code {code}"))),
        })
    }

    fn owner(&mut self) -> Result<OwnerId, StoreError> {
        OwnerId::parse(&self.text()?).ok_or_else(|| corrupt("owner"))
    }

    /// The outcome of `rotate.lua`.
    pub(super) fn rotation(answer: Value, presented: &Presented) -> Result<Rotation, StoreError> {
        let values = match answer {
            Value::BulkString(packed) => {
                let (scope, audience) = (presented.requested_scope.as_ref(), &presented.requested_audience);
                return match grant_record::live(&packed, scope, audience)? {
                    (b"OK", live) => Ok(Rotation::Rotated(live)),
                    (b"RT", live) => Ok(Rotation::Repeated(live)),
                    (b"FW", live) => Ok(Rotation::Repaired(live)),
                    _ => Err(corrupt("unknown code")),
                };
            }
            Value::Array(values) => values,
            other => return Err(corrupt(&format!("unexpected answer {other:?}"))),
        };
        let mut reply = Self::parse(values)?;
        let refused = |refusal| Ok(Rotation::Refused(refusal));
        match reply.code.as_str() {
            "RP" => {
                let (reason, presented) = (reply.reason()?, presented.generation);
                Ok(Rotation::Replayed { reason, presented, current: reply.number()? })
            }
            "NF" => refused(Refusal::Unknown),
            "WF" => refused(Refusal::WrongFamily),
            "WC" => refused(Refusal::WrongClient {
                issued_to: ClientId::parse(&reply.text()?).map_err(|_| corrupt("client_id"))?,
            }),
            "WD" => refused(Refusal::WrongDelivery),
            "RV" => refused(Refusal::Revoked(reply.reason()?)),
            "XP" => refused(Refusal::Expired),
            "SC" => refused(Refusal::Scope),
            "AU" => refused(Refusal::Audience),
            "TL" => Ok(Rotation::TooLate { now: reply.now }),
            code => Err(corrupt(&format!("unknown code {code}"))),
        }
    }
}
