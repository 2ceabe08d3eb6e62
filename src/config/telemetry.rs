//! The settings of traces.

use serde::Deserialize;
use url::Url;

use super::ConfigError;

/// What the server tells about each request, and whom.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Telemetry {
    /// The URL that spans are sent to, by OTLP over HTTP. Empty means none; `OTEL_EXPORTER_OTLP_ENDPOINT` then says it.
    pub traces_endpoint: String,
    /// Which share of the requests is recorded that no caller has decided about, 0 to 1.
    pub traces_share: f64,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self { traces_endpoint: String::new(), traces_share: 1.0 }
    }
}

impl Telemetry {
    /// Where spans go, if anywhere.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] when it is no URL that we can send to.
    pub fn endpoint(&self) -> Result<Option<Url>, ConfigError> {
        if self.traces_endpoint.is_empty() {
            return Ok(None);
        }
        let invalid = |problem: String| ConfigError::Invalid { setting: "telemetry.traces_endpoint", problem };
        let text = &self.traces_endpoint;
        let url = Url::parse(text).map_err(|error| invalid(format!("{text:?} is not a URL: {error}")))?;
        if url.scheme() != "http" || url.host().is_none() {
            return Err(invalid("must start with http://: a collector near the server sends traces on by TLS".into()));
        }
        Ok(Some(url))
    }

    /// What the standard variables say (<https://opentelemetry.io/docs/specs/otel/protocol/exporter/>), where the settings say
    /// nothing.
    pub(super) fn or_standard(&mut self, variable: impl Fn(&str) -> Option<String>) {
        let variable = |name| variable(name).filter(|value| !value.is_empty());
        if self.traces_endpoint.is_empty() {
            let base = || {
                variable("OTEL_EXPORTER_OTLP_ENDPOINT").map(|base| format!("{}/v1/traces", base.trim_end_matches('/')))
            };
            self.traces_endpoint = variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").or_else(base).unwrap_or_default();
        }
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        if !(0.0..=1.0).contains(&self.traces_share) {
            let problem = "must be 0 to 1".into();
            return Err(ConfigError::Invalid { setting: "telemetry.traces_share", problem });
        }
        self.endpoint().map(drop)
    }
}
