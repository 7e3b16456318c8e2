//! What was measured, and how it is shown.

use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;

/// One row.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    what: String,
    unit: &'static str,
    samples: usize,
    median: f64,
    p99: f64,
    budget: Option<f64>,
}

/// All rows, in the order of measuring.
#[derive(Debug, Default)]
pub(crate) struct Report {
    figures: Vec<Figure>,
}

impl Report {
    /// Adds durations, in milliseconds.
    pub(crate) fn times(&mut self, what: &str, budget_ms: Option<f64>, samples: &[Duration]) {
        let samples: Vec<f64> = samples.iter().map(|sample| sample.as_secs_f64() * 1000.0).collect();
        self.add(what, "ms", budget_ms, &samples);
    }

    /// Adds sizes, in MiB.
    pub(crate) fn sizes(&mut self, what: &str, budget_mib: Option<f64>, bytes: &[u64]) {
        let samples: Vec<f64> = bytes.iter().map(|bytes| *bytes as f64 / 1_048_576.0).collect();
        self.add(what, "MiB", budget_mib, &samples);
    }

    /// Adds numbers of any unit.
    pub(crate) fn add(&mut self, what: &str, unit: &'static str, budget: Option<f64>, samples: &[f64]) {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let Some(last) = sorted.len().checked_sub(1) else {
            return;
        };
        eprintln!("  {what}: {:.1} {unit}", sorted[last / 2]);
        self.figures.push(Figure {
            what: what.to_owned(),
            unit,
            samples: sorted.len(),
            median: sorted[last / 2],
            p99: sorted[last * 99 / 100],
            budget,
        });
    }

    /// As a Markdown table.
    pub(crate) fn table(&self) -> String {
        let mut out = String::from("| What | Budget | Median | p99 | Unit | Samples |\n|---|--:|--:|--:|---|--:|\n");
        for figure in &self.figures {
            let budget = figure
                .budget
                .map_or_else(|| "–".to_owned(), |budget| format!("{budget}"));
            let late = if figure.budget.is_some_and(|budget| figure.median > budget) {
                " ✗"
            } else {
                ""
            };
            // Writing to a string can't fail.
            let _ = writeln!(
                out,
                "| {} | {budget} | {:.1}{late} | {:.1} | {} | {} |",
                figure.what, figure.median, figure.p99, figure.unit, figure.samples
            );
        }
        out
    }

    /// As JSON.
    pub(crate) fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(&self.figures)
    }
}
