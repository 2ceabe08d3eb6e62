//! Nothing, see Cargo.toml.
