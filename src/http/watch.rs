//! Counts, measures and traces every response of the public address.
//!
//! Not here: what becomes of it, see `telemetry/metrics.rs` and `telemetry/traces.rs`.

use std::sync::Arc;

use poem::{PathPattern, Request, Response, http::Method};
use tokio::time::Instant;

use super::request_context::request_id;
use crate::{
    App,
    telemetry::traces::{Answered, Recorder},
};

/// A request that is being answered.
pub struct Watch {
    began: Instant,
    /// Its spans and its method, when it is recorded.
    recorded: Option<(Arc<Recorder>, &'static str)>,
}

impl Watch {
    /// Begins with a request.
    pub fn begin(app: &App, request: &Request) -> Self {
        let recorded = app.traces.as_ref().and_then(|traces| {
            let parent = request.headers().get("traceparent").and_then(|value| value.to_str().ok());
            Some((traces.begin(parent)?, method(request.method())))
        });
        Self { began: Instant::now(), recorded }
    }

    /// Records what the request waits for, when it is recorded.
    pub fn recorder(&self) -> Option<Arc<Recorder>> {
        self.recorded.as_ref().map(|(recorder, _)| Arc::clone(recorder))
    }

    /// Ends with the response. A request that no route took has none: its address could hold anything.
    pub fn end(&self, app: &App, response: &Response, route: Option<&str>) {
        if let (Some((recorder, method)), Some(traces)) = (&self.recorded, &app.traces) {
            let pattern = response.data::<PathPattern>().map(|pattern| pattern.0.as_ref());
            let answered = Answered {
                method,
                route: route.or(pattern).map(str::to_owned),
                status: response.status().as_u16(),
                request_id: request_id(response),
                now: app.store.now(),
            };
            traces.finish(recorder, answered, &app.metrics);
        }
        app.metrics.response(response.status().as_u16(), self.began.elapsed().as_secs_f64());
    }
}

/// The method, from a closed list: a client may send any word.
fn method(method: &Method) -> &'static str {
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
        .into_iter()
        .find(|known| method == known)
        .unwrap_or("_OTHER")
}
