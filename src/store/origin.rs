//! Where a request came from, for the resource owner who looks at their account and for the operator.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// The longest User-Agent that is kept, bytes.
const MAX_AGENT: usize = 64;

/// Where a request came from. Nothing is decided by it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The client's IP address; empty when it is not known.
    pub address: String,
    /// The beginning of its User-Agent, in printable ASCII.
    pub agent: String,
}

impl Origin {
    /// From an address and a User-Agent header, cut to what is worth keeping.
    pub fn new(address: Option<IpAddr>, agent: &[u8]) -> Self {
        let printable = |byte: &u8| char::from(if matches!(byte, 0x20..=0x7e) { *byte } else { b'?' });
        Self {
            address: address.map(|address| address.to_string()).unwrap_or_default(),
            agent: agent.iter().take(MAX_AGENT).map(printable).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_printable_ascii_and_short() {
        let origin = Origin::new(None, "Böse\r\n\u{1b}[31m agent".repeat(9).as_bytes());
        assert_eq!(origin.agent.len(), 64);
        assert!(origin.agent.starts_with("B??se???[31m agentB"), "{origin:?}");
    }
}
