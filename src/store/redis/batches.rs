//! Commands that are asked for at the same time travel together: one write, one timer and one message of the library for all
//! of them. A busy server writes a few times for a hundred requests; without this it wrote after every second one, because
//! the runtime runs the library's writer as soon as a command is there.
//!
//! Not here: which connection, see `node.rs`; what follows from an error, see `connection.rs`.

use std::io;

use redis::{Cmd, Pipeline, RedisError, RedisResult, Value, aio::MultiplexedConnection};
use tokio::{
    sync::{mpsc, oneshot},
    task::yield_now,
};

/// Commands of one batch at most: a longer one would keep the first of them waiting.
const MOST: usize = 64;

/// A command that waits for its batch.
struct Waiting {
    command: Cmd,
    reply: oneshot::Sender<RedisResult<Value>>,
}

/// The way into the batches of one connection.
pub(super) struct Batches(mpsc::UnboundedSender<Waiting>);

impl Batches {
    /// Batches on a connection. They end with it.
    pub(super) fn on(connection: MultiplexedConnection) -> Self {
        let (sender, queue) = mpsc::unbounded_channel();
        tokio::spawn(send(connection, queue));
        Self(sender)
    }

    /// Sends a command with the next batch, and waits for its answer.
    pub(super) fn send(&self, command: Cmd) -> impl Future<Output = RedisResult<Value>> + use<> {
        let (reply, answer) = oneshot::channel();
        // A batch that is not made any more drops the other half of the channel.
        drop(self.0.send(Waiting { command, reply }));
        async { answer.await.unwrap_or_else(|_| Err(ended())) }
    }
}

/// The runtime stops.
fn ended() -> RedisError {
    io::Error::from(io::ErrorKind::BrokenPipe).into()
}

async fn send(connection: MultiplexedConnection, mut queue: mpsc::UnboundedReceiver<Waiting>) {
    let mut batch = Vec::new();
    while queue.recv_many(&mut batch, MOST).await > 0 {
        // Requests that can go on at this moment come first: their commands travel with this one.
        yield_now().await;
        while batch.len() < MOST
            && let Ok(more) = queue.try_recv()
        {
            batch.push(more);
        }
        let mut commands = Pipeline::with_capacity(batch.len());
        let mut replies = Vec::with_capacity(batch.len());
        for Waiting { command, reply } in batch.drain(..) {
            commands.add_command(command);
            replies.push(reply);
        }
        // The next batch does not wait for the answers to this one.
        tokio::spawn(answer(connection.clone(), commands, replies));
    }
}

async fn answer(
    mut connection: MultiplexedConnection,
    commands: Pipeline,
    replies: Vec<oneshot::Sender<RedisResult<Value>>>,
) {
    // Whoever asked may have gone: then nobody needs the answer.
    match connection.send_packed_commands(&commands, 0, replies.len()).await {
        Ok(values) => {
            for (reply, value) in replies.into_iter().zip(values) {
                drop(reply.send(value.extract_error()));
            }
        }
        Err(error) => {
            for reply in replies {
                drop(reply.send(Err(error.clone())));
            }
        }
    }
}
