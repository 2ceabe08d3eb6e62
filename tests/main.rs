//! All integration tests, in one binary: a module per capability.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test stops where it fails")]

#[path = "it/account.rs"]
mod account;
#[path = "it/admin.rs"]
mod admin;
#[path = "it/admin_page.rs"]
mod admin_page;
#[path = "it/authorization.rs"]
mod authorization;
#[path = "it/client_authentication.rs"]
mod client_authentication;
#[path = "it/client_credentials.rs"]
mod client_credentials;
#[path = "it/code_contract.rs"]
mod code_contract;
#[path = "it/command_line.rs"]
mod command_line;
#[path = "it/cookie_mode.rs"]
mod cookie_mode;
#[path = "it/cors.rs"]
mod cors;
#[path = "it/deploy.rs"]
mod deploy;
#[path = "it/deployments.rs"]
mod deployments;
#[path = "it/device_contract.rs"]
mod device_contract;
#[path = "it/device_flow.rs"]
mod device_flow;
#[path = "it/device_page.rs"]
mod device_page;
#[path = "it/differential.rs"]
mod differential;
#[path = "it/differential_codes.rs"]
mod differential_codes;
#[path = "it/fuzz_corpus.rs"]
mod fuzz_corpus;
#[path = "fuzz/targets.rs"]
mod fuzz_targets;
#[path = "it/house.rs"]
mod house;
#[path = "it/introspection.rs"]
mod introspection;
#[path = "it/key_kinds.rs"]
mod key_kinds;
#[path = "it/limits.rs"]
mod limits;
#[path = "it/metadata.rs"]
mod metadata;
#[path = "it/model.rs"]
mod model;
#[path = "it/person.rs"]
mod person;
#[path = "it/redis_facts.rs"]
mod redis_facts;
#[path = "it/refresh.rs"]
mod refresh;
#[path = "it/resource.rs"]
mod resource;
#[path = "it/revocation.rs"]
mod revocation;
#[path = "it/rolling.rs"]
mod rolling;
#[path = "it/session_contract.rs"]
mod session_contract;
#[path = "it/sign_in.rs"]
mod sign_in;
#[path = "it/signing_keys.rs"]
mod signing_keys;
#[path = "it/store_contract.rs"]
mod store_contract;
#[path = "it/support.rs"]
mod support;
#[path = "it/telemetry.rs"]
mod telemetry;
#[path = "it/throttling.rs"]
mod throttling;
#[path = "it/tls.rs"]
mod tls;
#[path = "it/token_requests.rs"]
mod token_requests;
#[path = "it/topologies.rs"]
mod topologies;
#[path = "it/traces.rs"]
mod traces;
#[path = "it/transfer.rs"]
mod transfer;
