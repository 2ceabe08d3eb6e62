//! The scripts, hashed once. A script that Redis has forgotten is sent again.

use redis::{Cmd, RedisResult, ToRedisArgs, aio::MultiplexedConnection};

/// A script that Redis runs by its hash.
pub(super) struct Script(redis::Script);

/// Room for the arguments of the longest call, so that a command is made in one piece of memory.
const ARGUMENTS: usize = 32;
const BYTES: usize = 768;

impl Script {
    fn new(code: &str) -> Self {
        Self(redis::Script::new(code))
    }

    /// A call of the script on these keys; its arguments follow.
    pub(super) fn on<const N: usize>(&self, keys: [&str; N]) -> ScriptCall<'_> {
        let mut command = Cmd::with_capacity(ARGUMENTS, BYTES);
        command.arg("EVALSHA").arg(self.0.get_hash()).arg(N);
        for key in keys {
            command.arg(key);
        }
        ScriptCall { script: self, command }
    }
}

/// A call of a script. `redis::ScriptInvocation` does the same with a vector for each argument.
pub(super) struct ScriptCall<'s> {
    script: &'s Script,
    pub(super) command: Cmd,
}

impl ScriptCall<'_> {
    /// Adds an argument.
    pub(super) fn arg(&mut self, argument: impl ToRedisArgs) -> &mut Self {
        self.command.arg(argument);
        self
    }

    /// Sends the script itself.
    pub(super) async fn load(&self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        self.script.0.load_async(connection).await.map(drop)
    }
}

/// A script on grants, which follows `grant.lua`. A full store must not hinder it: nothing grows but a revocation, which soon
/// goes, and a grant that takes the place of its code.
macro_rules! on_grants {
    ($($file:literal),+) => {
        Script::new(concat!("#!lua flags=allow-oom\n", include_str!("lua/grant.lua"), $(include_str!($file)),+))
    };
}

pub(super) struct Scripts {
    pub(super) rotate: Script,
    pub(super) create_grant: Script,
    pub(super) revoke_grant: Script,
    pub(super) revoke_grants: Script,
    pub(super) confirm_revoked: Script,
    pub(super) standing: Script,
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
            rotate: on_grants!("lua/rotate.lua"),
            create_grant: Script::new(concat!(
                "#!lua\n",
                include_str!("lua/settle.lua"),
                include_str!("lua/grant.lua"),
                include_str!("lua/new_grant.lua"),
                include_str!("lua/create_grant.lua")
            )),
            revoke_grant: on_grants!("lua/revoke_grant.lua"),
            revoke_grants: on_grants!("lua/revoke_grants.lua"),
            confirm_revoked: on_grants!("lua/confirm_revoked.lua"),
            standing: Script::new(include_str!("lua/standing.lua")),
            create_owner: Script::new(include_str!("lua/create_owner.lua")),
            change_owner: Script::new(include_str!("lua/change_owner.lua")),
            delete_owner: Script::new(include_str!("lua/delete_owner.lua")),
            add_signing_key: Script::new(include_str!("lua/add_signing_key.lua")),
            remove_signing_key: Script::new(include_str!("lua/remove_signing_key.lua")),
            write_client: Script::new(include_str!("lua/write_client.lua")),
            create_code: Script::new(include_str!("lua/create_code.lua")),
            redeem: on_grants!("lua/new_grant.lua", "lua/redeem.lua"),
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
            settle_login: Script::new(concat!(
                "#!lua\n",
                include_str!("lua/settle.lua"),
                include_str!("lua/settle_login.lua")
            )),
        }
    }
}
