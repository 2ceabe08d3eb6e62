//! Copies of clients, forgotten the moment one changes anywhere.
//!
//! Every write of a client publishes its id in the same script. The message arrives on the connection that
//! carries our commands, so as long as commands are answered, messages arrive too; when a connection
//! breaks, another master takes over or slots move, everything is forgotten. A cluster tells the message to all its
//! nodes, and we listen on each that we talk to.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use redis::{PushInfo, PushKind, Value};

use super::connection::CLIENTS_CHANNEL;
use crate::{client::Client, ids::ClientId};

/// Clients kept at most; above that the cache starts over.
const CAPACITY: usize = 10_000;

#[derive(Default)]
pub(super) struct ClientCache {
    inner: RwLock<Inner>,
}

#[derive(Default)]
struct Inner {
    clients: HashMap<ClientId, Arc<Client>>,
    /// Counts what was forgotten: a copy that was read before a change is not kept after it.
    forgotten: u64,
}

impl ClientCache {
    pub(super) fn get(&self, id: &ClientId) -> Option<Arc<Client>> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner).clients.get(id).cloned()
    }

    /// A number to hand to [`keep`](Self::keep): take it before reading the store.
    pub(super) fn mark(&self) -> u64 {
        self.inner.read().unwrap_or_else(PoisonError::into_inner).forgotten
    }

    /// Keeps what was read, unless something was forgotten since `mark`.
    pub(super) fn keep(&self, mark: u64, client: &Arc<Client>) {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        if inner.forgotten != mark {
            return;
        }
        if inner.clients.len() >= CAPACITY {
            inner.clients.clear();
        }
        inner.clients.insert(client.id.clone(), Arc::clone(client));
    }

    /// Forgets one client.
    pub(super) fn forget(&self, id: &str) {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        inner.forgotten += 1;
        if let Ok(id) = ClientId::parse(id) {
            inner.clients.remove(&id);
        }
    }

    /// Forgets all: something may have changed while nobody listened.
    pub(super) fn forget_all(&self) {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        inner.forgotten += 1;
        inner.clients.clear();
    }

    /// Reads what the connection pushes: a change, or its own end.
    pub(super) fn observe(&self, push: &PushInfo) {
        match (&push.kind, push.data.as_slice()) {
            (PushKind::Message, [Value::BulkString(channel), Value::BulkString(id)])
                if channel == CLIENTS_CHANNEL.as_bytes() =>
            {
                self.forget(&String::from_utf8_lossy(id));
            }
            (PushKind::Disconnection, _) => self.forget_all(),
            _ => {}
        }
    }
}
