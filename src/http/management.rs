//! What the management address serves: health, for the load balancer and the operator, and metrics.
//!
//! Not here: what is counted, see `telemetry/metrics.rs`.

use std::sync::Arc;

use poem::{
    Endpoint, EndpointExt, IntoResponse, Response, Route, endpoint::make_sync, get, handler, http::StatusCode,
    web::Data,
};

use crate::{App, telemetry::metrics::Snapshot};

/// The text format that Prometheus asks for first.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The pages.
pub fn management(app: &Arc<App>) -> impl Endpoint<Output = Response> + use<> {
    Route::new()
        .at("/health/live", get(make_sync(|_| "live\n")))
        .at("/health/ready", get(ready))
        .at("/metrics", get(metrics))
        .data(Arc::clone(app))
        .map_to_response()
}

#[handler]
async fn ready(Data(app): Data<&Arc<App>>) -> Response {
    match app.store.ping().await {
        Ok(()) => "ready\n".into_response(),
        Err(error) => {
            tracing::warn!(%error, "not ready");
            Response::builder().status(StatusCode::SERVICE_UNAVAILABLE).body(format!("not ready: {error}\n"))
        }
    }
}

#[handler]
async fn metrics(Data(app): Data<&Arc<App>>) -> Response {
    let (password_queue, password_queue_limit) = app.passwords.queue();
    let signing_key_age = app.issuer.signing().age_seconds(app.store.now());
    let page = app.metrics.page(Snapshot { password_queue, password_queue_limit, signing_key_age });
    Response::builder().content_type(OPEN_METRICS).body(page)
}
