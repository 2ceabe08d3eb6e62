//! One command, or one call of a script, on one connection.
//!
//! Not here: which server it goes to and what follows from an error, see `connection.rs`.

use std::sync::Arc;

use redis::{Cmd, RedisResult, ServerErrorKind, Value, aio::MultiplexedConnection};

use super::{
    node::{Asking, Dedicated, Shared},
    scripts::ScriptCall,
};
use crate::clock::Timestamp;

/// The connection that one command takes.
pub(super) enum Line {
    Shared(Arc<Shared>),
    Dedicated(Dedicated),
}

impl Line {
    fn connection(&self) -> MultiplexedConnection {
        match self {
            Self::Shared(shared) => shared.connection.clone(),
            Self::Dedicated(dedicated) => dedicated.connection.clone(),
        }
    }
}

/// What is sent: a script, which learns its deadline, or a command that may be carried out at any time.
pub(super) enum Call<'c, 's> {
    Script(&'c (dyn Fn(Timestamp) -> ScriptCall<'s> + Sync)),
    Command(&'c Cmd),
}

impl Call<'_, '_> {
    /// Sends it, and a script itself before when Redis has forgotten it. `asking` is for a slot that is being moved.
    pub(super) async fn send(&self, line: &Line, asking: bool, deadline: Timestamp) -> RedisResult<Value> {
        match self.send_once(line, asking, deadline).await {
            // Forgotten by Redis: sent again before the next call of it.
            Err(error) if error.kind() == ServerErrorKind::NoScript.into() => {
                if let Self::Script(prepare) = self {
                    Box::pin(prepare(deadline).load(&mut line.connection())).await?;
                }
                Box::pin(self.send_once(line, asking, deadline)).await
            }
            answered => answered,
        }
    }

    async fn send_once(&self, line: &Line, asking: bool, deadline: Timestamp) -> RedisResult<Value> {
        let command = || match self {
            Self::Script(prepare) => prepare(deadline).command,
            Self::Command(command) => (*command).clone(),
        };
        match line {
            Line::Shared(shared) if !asking => shared.batches.send(command()).await,
            line => Box::pin(alone(command(), line.connection(), asking)).await,
        }
    }
}

/// Sends a command that travels with no others.
async fn alone(command: Cmd, mut connection: MultiplexedConnection, asking: bool) -> RedisResult<Value> {
    if asking {
        return command.query_async(&mut Asking(&mut connection)).await;
    }
    command.query_async(&mut connection).await
}
