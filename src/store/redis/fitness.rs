//! Checks whether a Redis is fit for production: what `regrant check` and `regrant serve` refuse.

use std::collections::HashMap;

use redis::cmd;

use super::connection::Connection;
use crate::store::StoreError;

/// What the operator must change, each with the command that does it; empty when all is well.
pub(super) async fn warnings(connection: &Connection) -> Result<Vec<String>, StoreError> {
    let info: String = connection.query(&cmd("INFO")).await?;
    let fields: HashMap<&str, &str> = info.lines().filter_map(|line| line.trim_end().split_once(':')).collect();
    let mut warnings = Vec::new();

    let version = fields.get("redis_version").copied().unwrap_or("unknown");
    let major: u32 = version.split('.').next().and_then(|text| text.parse().ok()).unwrap_or(0);
    if major < 7 {
        warnings.push(format!("Redis {version} is too old: install Redis 7 or later"));
    }
    // INFO tells the policy even where CONFIG is forbidden.
    match fields.get("maxmemory_policy").copied() {
        Some("noeviction") => {}
        Some(policy) => warnings.push(format!(
            "Redis evicts keys (maxmemory-policy {policy}): a full memory would log people out. Run: redis-cli CONFIG SET maxmemory-policy noeviction, and put it in redis.conf"
        )),
        None => warnings.push("Redis does not tell its maxmemory-policy; it must be noeviction".to_owned()),
    }
    Ok(warnings)
}
