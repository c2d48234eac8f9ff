//! One line of the output, and the rounds behind it.

use serde_json::json;
use std::time::Instant;

/// Prints a figure; `floor` is `None` where the limit is absolute.
pub(crate) fn print(workload: &str, n: usize, value: f64, unit: &str, floor: Option<f64>) {
    let round = |x: f64| (x * 1000.0).round() / 1000.0;
    let ratio = floor.map(|floor| round(value / floor));
    let line = json!({
        "workload": workload, "n": n, "value": round(value), "unit": unit,
        "floor": floor.map(round), "ratio": ratio,
    });
    println!("{line}");
}

/// The middle of some figures.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Seconds since.
pub(crate) fn seconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64()
}
