//! The first part of the page: the last hours and the signing keys.
//!
//! Not here: the drawing, see `plot.rs`.

use askama::Template;
use poem::Response;

use super::{
    Administrator, Common, Frame,
    plot::{Area, Plot, Window, round_up, time_of},
};
use crate::{
    administration::Refusal,
    error::PageError,
    http::texts::{AdminTexts, Tally},
    telemetry::history::Minute,
    token::keys::KeyState,
};

/// Minutes of a row of the table, and of a mark below the plots.
const ROW: i64 = 20;
const MARK: i64 = 120;

#[derive(Template)]
#[template(path = "admin.html")]
struct Overview<'a> {
    frame: Frame<'a>,
    common: Common<'a>,
    plots: Vec<Plot>,
    marks: Vec<String>,
    rows: Vec<Row>,
    keys: Vec<KeyLine>,
}

/// A row of the table.
struct Row {
    from: String,
    tally: Tally,
    queue: u64,
}

/// A signing key.
struct KeyLine {
    id: String,
    algorithm: String,
    active: bool,
    state: String,
}

pub(super) async fn show(administrator: &Administrator<'_>) -> Result<Response, PageError> {
    let app = &administrator.browser.app;
    let common = administrator.common("overview", None);
    let texts = &common.frame.texts.admin;
    let minutes = app.metrics.history.minutes();
    // The minute that goes on is the last one.
    let end = app.store.now().0.div_euclid(60_000) + 1;
    let window = Window { minutes: &minutes, end };
    let measured = window.within().next().is_some();
    let plots = if measured { plots(&window, texts, app.passwords.queue().1) } else { Vec::new() };
    let page = Overview {
        frame: common.frame,
        plots,
        marks: (0..=3).map(|mark| time_of(window.start() + mark * MARK)).collect(),
        rows: rows(&window),
        keys: keys(administrator, texts).await?,
        common,
    };
    Ok(administrator.respond(page))
}

fn tally<'a>(minutes: impl Iterator<Item = &'a Minute>) -> (Tally, u64) {
    let mut sum = (Tally::default(), 0);
    for Minute { counts, longest_queue, .. } in minutes {
        let (tally, queue) = &mut sum;
        tally.granted += counts.granted;
        tally.refused += counts.refused;
        tally.unavailable += counts.unavailable;
        tally.replays += counts.replays;
        tally.most = tally.most.max(counts.granted + counts.refused + counts.unavailable);
        *queue = (*queue).max(*longest_queue);
    }
    sum
}

fn plots(window: &Window<'_>, texts: &'static AdminTexts, queue_limit: usize) -> Vec<Plot> {
    let (sum, longest_queue) = tally(window.within());
    let top = round_up(sum.most);
    // Stacked: each area reaches from the ground to the sum of itself and those under it.
    let requests = vec![
        Area {
            class: "unavailable",
            label: texts.unavailable,
            path: window.area(top, |Minute { counts, .. }| counts.granted + counts.refused + counts.unavailable),
        },
        Area {
            class: "refused",
            label: texts.refused,
            path: window.area(top, |Minute { counts, .. }| counts.granted + counts.refused),
        },
        Area { class: "granted", label: texts.granted, path: window.area(top, |minute| minute.counts.granted) },
    ];
    let replays_top = round_up(window.within().map(|minute| minute.counts.replays).max().unwrap_or_default());
    let queue_top = round_up(longest_queue);
    let single = |class, path| vec![Area { class, label: "", path }];
    vec![
        Plot { id: "requests", title: texts.requests, summary: (texts.requests_summary)(&sum), top, areas: requests },
        Plot {
            id: "replays",
            title: texts.replays,
            summary: (texts.replays_summary)(&sum),
            top: replays_top,
            areas: single("unavailable", window.area(replays_top, |minute| minute.counts.replays)),
        },
        Plot {
            id: "queue",
            title: texts.queue,
            summary: (texts.queue_summary)(longest_queue, queue_limit),
            top: queue_top,
            areas: single("granted", window.area(queue_top, |minute| minute.longest_queue)),
        },
    ]
}

/// The table: the same figures, a row for some minutes, the newest first.
fn rows(window: &Window<'_>) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut from = window.end - ROW;
    while from >= window.start() {
        let within = |minute: &&Minute| (from..from + ROW).contains(&minute.number);
        if window.within().any(|minute| within(&minute)) {
            let (tally, queue) = tally(window.within().filter(within));
            rows.push(Row { from: time_of(from), tally, queue });
        }
        from -= ROW;
    }
    rows
}

async fn keys(administrator: &Administrator<'_>, texts: &AdminTexts) -> Result<Vec<KeyLine>, PageError> {
    let app = &administrator.browser.app;
    let listed = app.issuer.signing().list(app.store.as_ref()).await.map_err(Refusal::from)?;
    let now = app.store.now();
    let line = |(key, id, state): (crate::store::SealedKey, String, KeyState)| {
        let seconds = now.since(key.active_from.max(key.created_at)) / 1000;
        KeyLine {
            id,
            algorithm: key.algorithm,
            active: state == KeyState::Active,
            state: (texts.key_state)(state.as_str(), seconds),
        }
    };
    Ok(listed.into_iter().rev().map(line).collect())
}
