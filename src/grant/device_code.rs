//! The device authorization grant ([RFC 8628](https://www.rfc-editor.org/rfc/rfc8628)): a device gets a code, a person allows
//! it on another device, and the first one polls until then.
//!
//! Not here: the page, see `http/device.rs`; what a poll changes, see `store/devices.rs`.

use super::{ValidGrant, access::RequestedAccess, require};
use crate::{
    App,
    client::{GrantType, authentication::AuthenticatedClient},
    error::{DeviceRefusal, InvalidGrant, TokenError},
    ids::{GrantId, OwnerId},
    secret::SecretText,
    store::{
        ApprovedDevice, DevicePoll, DeviceStart, GrantStatus, NewDevice, Origin, OwnerStatus, PresentedDevice,
        RevocationReason,
    },
    token::device_code::{DeviceCode, UserCode},
};

/// How long a device waits between two polls, milliseconds (RFC 8628 §3.2).
const INTERVAL_MS: i64 = 5_000;

/// How many user codes are tried until one is free. Even with a million logins waiting one in 25,600 is taken.
const TRIES: usize = 5;

/// A device authorization that waits for a person.
#[derive(Debug)]
pub struct StartedDevice {
    /// For the device to poll with.
    pub device_code: SecretText,
    /// For the person to type.
    pub user_code: UserCode,
    /// Seconds until both expire.
    pub expires_in: i64,
    /// Seconds between two polls.
    pub interval: i64,
}

/// Starts a device authorization (RFC 8628 §3.1).
///
/// # Errors
/// `unauthorized_client`, `invalid_scope`, `invalid_target`, and 503 when the store can't answer.
pub async fn start(
    access: &RequestedAccess,
    client: &AuthenticatedClient,
    origin: Origin,
    app: &App,
) -> Result<StartedDevice, TokenError> {
    require(GrantType::DeviceCode, client)?;
    let granted = access.grant(client, &app.issuer)?;
    let codes = app.issuer.device_codes();
    for _ in 0..TRIES {
        let user_code = UserCode::random();
        let code = DeviceCode::random(codes.address(&user_code));
        let device = NewDevice {
            id: code.id,
            secret_hash: code.secret_hash(),
            client_id: client.id.clone(),
            client_epoch: client.epoch,
            scope: granted.scope.clone(),
            audience: granted.audience.clone(),
            origin: origin.clone(),
            lifetime_ms: app.issuer.device_code_lifetime_ms(),
            interval_ms: INTERVAL_MS,
            deadline: app.store.deadline(),
        };
        match app.store.start_device(&device).await? {
            DeviceStart::Stored => {
                return Ok(StartedDevice {
                    device_code: codes.encode(&code),
                    user_code,
                    expires_in: device.lifetime_ms / 1000,
                    interval: INTERVAL_MS / 1000,
                });
            }
            DeviceStart::Taken | DeviceStart::TooLate => {}
        }
    }
    Err(TokenError::TemporarilyUnavailable("no user code was free, or the store is slow".into()))
}

/// Polls (RFC 8628 §3.4). A poll that is answered with tokens has claimed them.
pub(super) async fn validate(
    device_code: &SecretText,
    access: &RequestedAccess,
    client: AuthenticatedClient,
    from: &Origin,
    app: &App,
) -> Result<ValidGrant, TokenError> {
    require(GrantType::DeviceCode, &client)?;
    let codes = app.issuer.device_codes();
    let code = codes.decode(device_code.expose()).ok_or_else(|| refuse(DeviceRefusal::NotOurs))?;
    // Before the poll, which would use the code up.
    let resources = match access.resources.is_empty() {
        true => Vec::new(),
        false => access.audience(&client, &app.issuer)?,
    };
    let device = poll(&code, &client, from, app).await?;
    // The client was deleted, made anew or reset since the person looked at it.
    if device.client_epoch != client.epoch {
        return Err(refuse(DeviceRefusal::ClientChanged));
    }
    // The owner who said yes must be the one who is there now; the store asks again when it creates the grant.
    let owner = app.store.owner(device.owner).await?;
    let Some(owner) = owner.filter(|o| o.status == OwnerStatus::Active && o.epoch == device.owner_epoch) else {
        return Err(refuse(DeviceRefusal::OwnerChanged));
    };
    if device.repeated {
        still_unused(device.owner, codes.grant_of(&code).0, app).await?;
    }
    Ok(ValidGrant::DeviceCode { client, code, device, subject: owner.subject, resources })
}

async fn poll(
    code: &DeviceCode,
    client: &AuthenticatedClient,
    from: &Origin,
    app: &App,
) -> Result<ApprovedDevice, TokenError> {
    for _ in 0..2 {
        let presented = PresentedDevice {
            id: code.id,
            secret_hash: code.secret_hash(),
            client_id: client.id.clone(),
            deadline: app.store.deadline(),
        };
        return Err(match app.store.poll_device(&presented).await? {
            DevicePoll::Approved(device) => return Ok(device),
            DevicePoll::Pending => TokenError::AuthorizationPending,
            DevicePoll::SlowDown => TokenError::SlowDown,
            DevicePoll::Denied => TokenError::DeviceDenied,
            DevicePoll::Expired => TokenError::ExpiredToken,
            DevicePoll::Foreign => refuse(DeviceRefusal::NotOurs),
            DevicePoll::WrongClient { issued_to } => refuse(DeviceRefusal::WrongClient { issued_to }),
            DevicePoll::Used { owner } => {
                // As for a code that is used twice (RFC 6749 §4.1.2): somebody has a copy.
                let grant = app.issuer.device_codes().grant_of(code).0;
                app.store.revoke_grant(owner, grant, RevocationReason::Replay, from).await?;
                refuse(DeviceRefusal::Used)
            }
            DevicePoll::TooLate => continue,
        });
    }
    Err(TokenError::TemporarilyUnavailable("the store keeps answering after the deadline".into()))
}

/// A repeated poll gets the same tokens only while nobody has used them, nor revoked them.
async fn still_unused(owner: OwnerId, grant: GrantId, app: &App) -> Result<(), TokenError> {
    match app.store.grant(owner, grant).await? {
        // The server stopped between the claim and the grant.
        None => Ok(()),
        Some(grant) if grant.status == GrantStatus::Active && grant.generation == 1 => Ok(()),
        Some(_) => Err(refuse(DeviceRefusal::Used)),
    }
}

const fn refuse(reason: DeviceRefusal) -> TokenError {
    TokenError::InvalidGrant(InvalidGrant::DeviceCode(reason))
}
