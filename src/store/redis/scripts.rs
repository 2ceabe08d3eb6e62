//! The scripts, hashed once. A script that Redis has forgotten is sent again by the library.

use redis::Script;

pub(super) struct Scripts {
    pub(super) rotate: Script,
    pub(super) create_grant: Script,
    pub(super) revoke_grant: Script,
    pub(super) revoke_grants: Script,
    pub(super) confirm_revoked: Script,
    pub(super) create_owner: Script,
    pub(super) change_owner: Script,
    pub(super) delete_owner: Script,
    pub(super) write_client: Script,
    pub(super) begin_session: Script,
    pub(super) create_code: Script,
    pub(super) redeem: Script,
    pub(super) use_session: Script,
    pub(super) end_sessions: Script,
    pub(super) remember_consent: Script,
    pub(super) forget_consents: Script,
    pub(super) deny: Script,
    pub(super) add_signing_key: Script,
    pub(super) remove_signing_key: Script,
    pub(super) start_device: Script,
    pub(super) decide_device: Script,
    pub(super) poll_device: Script,
    pub(super) count_attempt: Script,
    pub(super) attempt_login: Script,
    pub(super) settle_login: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            rotate: Script::new(include_str!("lua/rotate.lua")),
            create_grant: Script::new(concat!(include_str!("lua/settle.lua"), include_str!("lua/create_grant.lua"))),
            revoke_grant: Script::new(include_str!("lua/revoke_grant.lua")),
            revoke_grants: Script::new(include_str!("lua/revoke_grants.lua")),
            confirm_revoked: Script::new(include_str!("lua/confirm_revoked.lua")),
            create_owner: Script::new(include_str!("lua/create_owner.lua")),
            change_owner: Script::new(include_str!("lua/change_owner.lua")),
            delete_owner: Script::new(include_str!("lua/delete_owner.lua")),
            add_signing_key: Script::new(include_str!("lua/add_signing_key.lua")),
            remove_signing_key: Script::new(include_str!("lua/remove_signing_key.lua")),
            write_client: Script::new(include_str!("lua/write_client.lua")),
            create_code: Script::new(include_str!("lua/create_code.lua")),
            redeem: Script::new(include_str!("lua/redeem.lua")),
            begin_session: Script::new(include_str!("lua/begin_session.lua")),
            use_session: Script::new(include_str!("lua/use_session.lua")),
            end_sessions: Script::new(include_str!("lua/end_sessions.lua")),
            remember_consent: Script::new(include_str!("lua/remember_consent.lua")),
            forget_consents: Script::new(include_str!("lua/forget_consents.lua")),
            deny: Script::new(include_str!("lua/deny.lua")),
            start_device: Script::new(include_str!("lua/start_device.lua")),
            decide_device: Script::new(include_str!("lua/decide_device.lua")),
            poll_device: Script::new(include_str!("lua/poll_device.lua")),
            count_attempt: Script::new(include_str!("lua/count_attempt.lua")),
            attempt_login: Script::new(include_str!("lua/attempt_login.lua")),
            settle_login: Script::new(concat!(include_str!("lua/settle.lua"), include_str!("lua/settle_login.lua"))),
        }
    }
}
