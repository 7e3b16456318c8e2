//! What was measured, and how it is shown.

use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;

/// What a figure has to stay within.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Budget {
    /// The median may not be more.
    AtMost(f64),
    /// The median may not be less.
    AtLeast(f64),
}

impl Budget {
    fn is_met(self, median: f64) -> bool {
        match self {
            Self::AtMost(most) => median <= most,
            Self::AtLeast(least) => median >= least,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtMost(most) => format!("≤ {}", grouped(most)),
            Self::AtLeast(least) => format!("≥ {}", grouped(least)),
        }
    }
}

/// One row.
#[derive(Debug, Serialize)]
struct Figure {
    what: String,
    unit: &'static str,
    samples: usize,
    median: f64,
    /// None for one sample.
    p99: Option<f64>,
    budget: Option<Budget>,
    met: Option<bool>,
}

/// All rows, in the order of measuring, and what could not be measured.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    figures: Vec<Figure>,
    notes: Vec<String>,
}

impl Report {
    /// Adds durations, in milliseconds. Answers the median.
    pub(crate) fn times(&mut self, what: &str, most_ms: Option<f64>, samples: &[Duration]) -> f64 {
        let samples: Vec<f64> = samples.iter().map(|sample| sample.as_secs_f64() * 1000.0).collect();
        self.add(what, "ms", most_ms.map(Budget::AtMost), &samples)
    }

    /// Adds the slowest hundredth's bound as a row with a budget of its own, in milliseconds.
    pub(crate) fn p99(&mut self, what: &str, most_ms: f64, samples: &[Duration]) {
        let mut sorted = samples.to_vec();
        sorted.sort();
        let Some(last) = sorted.len().checked_sub(1) else {
            return;
        };
        self.times(what, Some(most_ms), &sorted[last * 99 / 100..=last * 99 / 100]);
    }

    /// Adds sizes, in MiB.
    pub(crate) fn sizes(&mut self, what: &str, most_mib: Option<f64>, bytes: &[u64]) {
        let samples: Vec<f64> = bytes.iter().map(|bytes| *bytes as f64 / 1_048_576.0).collect();
        self.add(what, "MiB", most_mib.map(Budget::AtMost), &samples);
    }

    /// Adds numbers of any unit. Answers the median; nothing is not a number.
    pub(crate) fn add(&mut self, what: &str, unit: &'static str, budget: Option<Budget>, samples: &[f64]) -> f64 {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let Some(last) = sorted.len().checked_sub(1) else {
            self.note(format!("{what}: nothing was measured"));
            return f64::NAN;
        };
        let median = sorted[last / 2];
        eprintln!("  {what}: {} {unit}", shown(median));
        self.figures.push(Figure {
            what: what.to_owned(),
            unit,
            samples: sorted.len(),
            median,
            p99: (last > 0).then(|| sorted[last * 99 / 100]),
            budget,
            met: budget.map(|budget| budget.is_met(median)),
        });
        median
    }

    /// Says what could not be measured, or how something was.
    pub(crate) fn note(&mut self, text: impl Into<String>) {
        let text = text.into();
        eprintln!("  {text}");
        self.notes.push(text);
    }

    /// As a Markdown table with the notes below it.
    pub(crate) fn markdown(&self) -> String {
        let mut out = String::from("| What | Budget | Median | p99 | Unit | Samples |\n|---|--:|--:|--:|---|--:|\n");
        for figure in &self.figures {
            let budget = figure.budget.map_or_else(|| "–".to_owned(), Budget::text);
            let missed = if figure.met == Some(false) { " ✗" } else { "" };
            let p99 = figure.p99.map_or_else(|| "–".to_owned(), shown);
            // Writing to a string can't fail.
            let _ = writeln!(
                out,
                "| {} | {budget} | {}{missed} | {p99} | {} | {} |",
                figure.what,
                shown(figure.median),
                figure.unit,
                figure.samples
            );
        }
        if !self.notes.is_empty() {
            out.push('\n');
        }
        for note in &self.notes {
            let _ = writeln!(out, "- {note}");
        }
        out
    }

    /// As JSON.
    pub(crate) fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }
}

/// Three digits that count, or all of a large number.
fn shown(number: f64) -> String {
    match number.abs() {
        size if size >= 100.0 => grouped(number.round()),
        size if size >= 10.0 => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    }
}

/// With commas between thousands.
fn grouped(number: f64) -> String {
    let text = number.to_string();
    let (whole, fraction) = text
        .split_once('.')
        .map_or((text.as_str(), None), |(w, f)| (w, Some(f)));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at) % 3 == 0 && digit.is_ascii_digit() && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    match fraction {
        Some(fraction) => format!("{grouped}.{fraction}"),
        None => grouped,
    }
}
