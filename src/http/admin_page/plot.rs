//! Draws the last hours as SVG: areas over time, without a script and without a style of their own. What is drawn can be
//! read as well, in a sentence and in a table.
//!
//! Not here: where the figures come from, see `telemetry/history.rs`; the colours, see `pages/style.css`.

use std::fmt::Write as _;

use crate::telemetry::history::{MINUTES, Minute};

/// The height of a plot in its own units; its width is a unit a minute.
const HEIGHT: u64 = 100;

/// One plot.
pub(super) struct Plot {
    /// Tells it from the others of the page.
    pub(super) id: &'static str,
    /// The heading.
    pub(super) title: &'static str,
    /// What it shows, in a sentence.
    pub(super) summary: String,
    /// What the upper edge stands for.
    pub(super) top: u64,
    /// The areas, the highest first: each hides what is below.
    pub(super) areas: Vec<Area>,
}

/// One area of a plot.
pub(super) struct Area {
    /// Its class in the style sheet.
    pub(super) class: &'static str,
    /// What it stands for.
    pub(super) label: &'static str,
    /// The path.
    pub(super) path: String,
}

/// The minutes of a plot, and the one after the last.
pub(super) struct Window<'a> {
    pub(super) minutes: &'a [Minute],
    pub(super) end: i64,
}

impl Window<'_> {
    /// The first minute.
    pub(super) fn start(&self) -> i64 {
        self.end - i64::try_from(MINUTES).unwrap_or(i64::MAX)
    }

    /// The minutes of the window.
    pub(super) fn within(&self) -> impl Iterator<Item = &Minute> {
        let (start, end) = (self.start(), self.end);
        self.minutes.iter().filter(move |minute| (start..end).contains(&minute.number))
    }

    /// The outline of an area: a step a minute. A minute in which nobody measured is drawn as nothing.
    pub(super) fn area(&self, top: u64, value: impl Fn(&Minute) -> u64) -> String {
        let mut path = format!("M0 {HEIGHT}");
        let (mut x, mut height) = (0, 0);
        let mut step = |to: i64, value: u64| {
            // In tenths, so that small values still show.
            let new = (value.saturating_mul(HEIGHT * 10) / top.max(1)).min(HEIGHT * 10);
            if new != height {
                if to > x {
                    // A String takes everything.
                    _ = write!(path, "H{to}");
                }
                let y = HEIGHT * 10 - new;
                _ = write!(path, "V{}", y / 10);
                if !y.is_multiple_of(10) {
                    _ = write!(path, ".{}", y % 10);
                }
                (x, height) = (to, new);
            }
        };
        let mut next = self.start();
        for minute in self.within() {
            if minute.number > next {
                step(next - self.start(), 0);
            }
            step(minute.number - self.start(), value(minute));
            next = minute.number + 1;
        }
        step(next - self.start(), 0);
        path.push('Z');
        path
    }
}

/// A round number that is not less than the highest value.
pub(super) fn round_up(highest: u64) -> u64 {
    let mut unit: u64 = 1;
    loop {
        for factor in [1, 2, 5] {
            let candidate = unit.saturating_mul(factor);
            if candidate >= highest {
                return candidate;
            }
        }
        unit = unit.saturating_mul(10);
    }
}

/// The time of a minute: `17:05`, UTC.
pub(super) fn time_of(minute: i64) -> String {
    format!("{:02}:{:02}", minute.div_euclid(60).rem_euclid(24), minute.rem_euclid(60))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::history::Counts;

    #[test]
    fn an_area_steps_once_a_minute_and_leaves_gaps() {
        let minute =
            |number, granted| Minute { number, counts: Counts { granted, ..Counts::default() }, longest_queue: 0 };
        let minutes = [minute(5, 9), minute(1000, 1), minute(1001, 1), minute(1002, 3), minute(1010, 4)];
        let window = Window { minutes: &minutes, end: 1360 };
        assert_eq!(window.area(4, |minute| minute.counts.granted), "M0 100V75H2V25H3V100H10V0H11V100Z");
        assert_eq!(window.area(1000, |minute| minute.counts.granted), "M0 100V99.9H2V99.7H3V100H10V99.6H11V100Z");
        assert_eq!(Window { minutes: &[], end: 1360 }.area(4, |_| 1), "M0 100Z");
    }

    #[test]
    fn the_scale_is_round() {
        for (highest, top) in [(0, 1), (1, 1), (2, 2), (3, 5), (6, 10), (11, 20), (201, 500), (u64::MAX, u64::MAX)] {
            assert_eq!(round_up(highest), top);
        }
        assert_eq!((time_of(0), time_of(1439), time_of(1440)), ("00:00".into(), "23:59".into(), "00:00".into()));
    }
}
