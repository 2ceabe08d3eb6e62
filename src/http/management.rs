//! What the management address serves: health, for the load balancer and the operator, and metrics.
//!
//! Not here: what is counted, see `telemetry/metrics.rs`.

use std::sync::Arc;

use poem::{
    Endpoint, EndpointExt, IntoResponse, PathPattern, Request, Response, Route,
    endpoint::BoxEndpoint,
    endpoint::make_sync,
    get, handler,
    http::{Method, StatusCode},
    web::Data,
};
use tokio::time::Instant;

use super::request_context::request_id;
use crate::{
    App,
    telemetry::{
        metrics::Snapshot,
        traces::{Answered, recorded},
    },
};

/// The text format that Prometheus asks for first.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The pages.
pub fn management(app: &Arc<App>) -> BoxEndpoint<'static, Response> {
    Route::new()
        .at("/health/live", get(make_sync(|_| "live\n")))
        .at("/health/ready", get(ready))
        .at("/metrics", get(metrics))
        .data(Arc::clone(app))
        .map_to_response()
        .boxed()
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

/// Counts, measures and traces every response of the public address.
pub async fn count<E: Endpoint>(next: Arc<E>, request: Request, app: Arc<App>) -> poem::Result<Response> {
    let began = Instant::now();
    let Some(traces) = &app.traces else {
        let response = next.call(request).await?.into_response();
        app.metrics.response(response.status().as_u16(), began.elapsed().as_secs_f64());
        return Ok(response);
    };
    let parent = request.headers().get("traceparent").and_then(|value| value.to_str().ok());
    let (recorder, method) = (traces.begin(parent), method(request.method()));
    let response = recorded(recorder.clone(), next.call(request)).await?.into_response();
    if let Some(recorder) = recorder {
        let answered = Answered {
            method,
            // A request that no route took has none: its address could hold anything.
            route: response.data::<PathPattern>().map(|pattern| pattern.0.to_string()),
            status: response.status().as_u16(),
            request_id: request_id(&response),
            now: app.store.now(),
        };
        traces.finish(&recorder, answered, &app.metrics);
    }
    app.metrics.response(response.status().as_u16(), began.elapsed().as_secs_f64());
    Ok(response)
}

/// The method, from a closed list: a client may send any word.
fn method(method: &Method) -> &'static str {
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
        .into_iter()
        .find(|known| method == known)
        .unwrap_or("_OTHER")
}
