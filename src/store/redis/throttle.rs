//! Guesses of passwords in Redis: a JSON text for each account, in the owner's slot, which expires.

use async_trait::async_trait;
use redis::Value;

use super::{RedisStore, keys, records, records::Reply, scripts::ScriptCall};
use crate::{
    ids::OwnerId,
    store::{
        LoginAdmission, LoginAttempt, LoginOutcome, LoginTicket, StoreError, ThrottleStore,
        throttle::{
            FIRST_WAIT_MS, FREE_FAILURES, FREE_FAILURES_TRUSTED, LONGEST_WAIT_MS, MAX_IN_FLIGHT, MAX_TRUSTED,
            SETTLE_MS, STRANGERS_BURST, STRANGERS_INTERVAL_MS, STRANGERS_STREAK, TRUST_MS,
        },
    },
};

/// What `lua/settle.lua` needs to know, the outcome aside.
pub(super) fn settlement(call: &mut ScriptCall<'_>, ticket: &LoginTicket) {
    call.arg(&ticket.source).arg(i32::from(ticket.trusted));
    call.arg(LONGEST_WAIT_MS).arg(STRANGERS_INTERVAL_MS).arg(TRUST_MS).arg(MAX_TRUSTED);
}

#[async_trait]
impl ThrottleStore for RedisStore {
    async fn attempt_login(&self, attempt: &LoginAttempt) -> Result<LoginAdmission, StoreError> {
        let key = keys::throttle(attempt.owner);
        let (device, epoch) = match &attempt.device {
            Some((device, epoch)) => (format!("d{device}"), *epoch),
            None => (String::new(), 0),
        };
        let values: Vec<Value> = self
            .connection
            .run(&key, attempt.deadline, |deadline| {
                let mut call = self.scripts.attempt_login.on([&key, &keys::owner(attempt.owner)]);
                call.arg(deadline.0).arg(self.connection.clock_offset_ms());
                call.arg(format!("a{}", attempt.address)).arg(&device).arg(epoch);
                call.arg(FREE_FAILURES).arg(FREE_FAILURES_TRUSTED).arg(FIRST_WAIT_MS).arg(LONGEST_WAIT_MS);
                call.arg(STRANGERS_BURST).arg(STRANGERS_INTERVAL_MS).arg(STRANGERS_STREAK);
                call.arg(MAX_IN_FLIGHT).arg(SETTLE_MS).arg(MAX_TRUSTED);
                call
            })
            .await?;
        let mut reply = Reply::parse(values)?;
        match reply.code.as_str() {
            "OK" => {
                let ticket = LoginTicket { source: reply.text()?, trusted: reply.text()? == "1" };
                let fields = reply.fields()?;
                let owner = if fields.is_empty() { None } else { Some(records::owner(&fields)?) };
                Ok(LoginAdmission::Admitted { owner, ticket })
            }
            "NO" => Ok(LoginAdmission::Refused { retry_after_ms: reply.number()? }),
            "TL" => Ok(LoginAdmission::TooLate),
            code => Err(StoreError::Corrupt(format!("redis: unknown code {code}"))),
        }
    }

    async fn settle_login(
        &self,
        owner: OwnerId,
        ticket: &LoginTicket,
        outcome: LoginOutcome,
    ) -> Result<(), StoreError> {
        let key = keys::throttle(owner);
        let word = match outcome {
            LoginOutcome::Succeeded => "S",
            LoginOutcome::Failed => "F",
            LoginOutcome::Withdrawn => "W",
        };
        let prepare = |_| {
            let mut call = self.scripts.settle_login.on([&key]);
            call.arg(self.connection.clock_offset_ms()).arg(word);
            settlement(&mut call, ticket);
            call
        };
        self.connection.run::<i64>(&key, self.connection.deadline(), prepare).await.map(drop)
    }
}
