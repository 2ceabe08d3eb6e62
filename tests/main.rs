//! All integration tests, in one binary: a module per capability.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test stops where it fails")]

#[path = "it/differential.rs"]
mod differential;
#[path = "it/house.rs"]
mod house;
#[path = "it/store_contract.rs"]
mod store_contract;
#[path = "it/support.rs"]
mod support;
