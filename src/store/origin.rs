//! Where a request came from, for the resource owner who looks at their account and for the operator.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// The longest User-Agent that is kept, bytes.
const MAX_AGENT: usize = 64;
/// As much of a User-Agent is looked at, bytes.
const MAX_READ: usize = 256;

/// Where a request came from. Nothing is decided by it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The client's IP address; empty when it is not known.
    pub address: String,
    /// The beginning of its User-Agent, without what all browsers say, in printable ASCII.
    pub agent: String,
}

impl Origin {
    /// From an address and a User-Agent header, cut to what is worth keeping.
    pub fn new(address: Option<IpAddr>, agent: &[u8]) -> Self {
        let printable = |byte: &u8| char::from(if matches!(byte, 0x20..=0x7e) { *byte } else { b'?' });
        let agent: String = agent.iter().take(MAX_READ).map(printable).collect();
        let address = address.map(|address| address.to_string()).unwrap_or_default();
        Self { address, agent: distinctive(&agent).chars().take(MAX_AGENT).collect() }
    }
}

/// Without what every browser says for historical reasons: what tells them apart would be cut off.
fn distinctive(agent: &str) -> String {
    let Some(agent) = agent.strip_prefix("Mozilla/5.0 ") else { return agent.to_owned() };
    let agent = match (agent.find("AppleWebKit/"), agent.split_once("(KHTML, like Gecko) ")) {
        (Some(start), Some((before, rest))) if start < before.len() => format!("{}{rest}", &agent[..start]),
        _ => agent.replace("Gecko/20100101 ", ""),
    };
    match agent.contains("Chrome/") {
        true => agent.replace(" Mobile Safari/537.36", " Mobile").replace(" Safari/537.36", ""),
        false => agent,
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
