//! What failed, in few lines: of a long log people see the end, whichever part of it failed.

use std::fmt::Write as _;

use serde_json::Value;

/// The most failures that are told one by one.
const MAX_TOLD: usize = 25;
/// Lines of each one's message.
const MAX_LINES: usize = 12;
/// Characters of each line.
const MAX_LINE: usize = 200;

/// A test that failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Its name, with its place.
    pub(crate) name: String,
    /// Why, in its own words.
    pub(crate) message: String,
}

/// Failures as text, bounded. Empty when there is none.
pub(crate) fn told(failures: &[Failure]) -> String {
    let mut text = String::new();
    for Failure { name, message } in failures.iter().take(MAX_TOLD) {
        // Writing to a string can't fail.
        let _ = writeln!(text, "✗ {name}");
        let lines = message.lines().map(str::trim_end).filter(|line| !line.is_empty());
        for line in lines.take(MAX_LINES) {
            let _ = writeln!(text, "    {}", line.chars().take(MAX_LINE).collect::<String>());
        }
    }
    if let Some(more) = failures.len().checked_sub(MAX_TOLD).filter(|more| *more > 0) {
        let _ = writeln!(text, "… and {more} more");
    }
    text
}

/// What failed in a run of Playwright, from its JSON report.
pub(crate) fn of_playwright(report: &str) -> Vec<Failure> {
    let Ok(report) = serde_json::from_str::<Value>(report) else {
        return Vec::new();
    };
    let mut failures = Vec::new();
    // What is wrong before any test runs, such as a file that can't be read.
    for error in list(&report["errors"]) {
        failures.push(Failure {
            name: "the run itself".to_owned(),
            message: told_of_error(error),
        });
    }
    list(&report["suites"]).for_each(|suite| collect(suite, &mut failures));
    failures
}

fn collect(suite: &Value, failures: &mut Vec<Failure>) {
    list(&suite["suites"]).for_each(|inner| collect(inner, failures));
    for spec in list(&suite["specs"]).filter(|spec| spec["ok"] == false) {
        let results = list(&spec["tests"]).flat_map(|test| list(&test["results"]));
        // A test whose time is over says in a second one what it was waiting for.
        let errors: Vec<String> = results
            .flat_map(|result| list(&result["errors"]))
            .map(told_of_error)
            .collect();
        failures.push(Failure {
            name: format!(
                "{}:{} › {}",
                spec["file"].as_str().unwrap_or_default(),
                spec["line"],
                spec["title"].as_str().unwrap_or_default()
            ),
            message: if errors.is_empty() {
                "it says nothing".to_owned()
            } else {
                errors.join("\n")
            },
        });
    }
}

/// Where in the test, and what.
fn told_of_error(error: &Value) -> String {
    let message = plain(error["message"].as_str().unwrap_or_default());
    let Some(file) = error["location"]["file"].as_str() else {
        return message;
    };
    let name = file.rsplit('/').next().unwrap_or(file);
    format!("at {name}:{}\n{message}", error["location"]["line"])
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Text without the escape sequences that colour it.
fn plain(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        text + part
            .split_once(|c: char| c.is_ascii_alphabetic())
            .map_or("", |(_, rest)| rest)
    })
}

/// What failed in a run of nextest, from the XML report that it writes.
pub(crate) fn of_junit(report: &str) -> Vec<Failure> {
    let cases = report.split("<testcase ").skip(1);
    cases.filter_map(failure_of_case).collect()
}

fn failure_of_case(text: &str) -> Option<Failure> {
    let case = text.split("</testcase>").next()?;
    // A test that passed when it was tried again has `flakyFailure`.
    let failure = ["<failure", "<error"]
        .iter()
        .find_map(|tag| Some(case.split_once(tag)?.1))?;
    let (head, rest) = failure.split_once('>')?;
    let text = rest.split("</").next().unwrap_or_default();
    let message = if text.trim().is_empty() {
        attribute(head, "message").unwrap_or_default()
    } else {
        unescaped(text)
    };
    let of = attribute(case, "classname").unwrap_or_default();
    Some(Failure {
        name: format!("{of} {}", attribute(case, "name")?),
        message: plain(&message),
    })
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let begin = format!("{name}=\"");
    let value = tag
        .strip_prefix(&begin)
        .or_else(|| Some(tag.split_once(&format!(" {begin}"))?.1))?;
    Some(unescaped(value.split('"').next()?))
}

fn unescaped(text: &str) -> String {
    // The ampersand last, or what it begins would be read again.
    [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&apos;", "'"),
        ("&#10;", "\n"),
        ("&#13;", ""),
        ("&amp;", "&"),
    ]
    .iter()
    .fold(text.to_owned(), |text, (escaped, character)| {
        text.replace(escaped, character)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(name: &str, message: &str) -> Failure {
        Failure {
            name: name.to_owned(),
            message: message.to_owned(),
        }
    }

    #[test]
    fn playwrights_failures_are_found_at_any_depth() {
        let report = r#"{
          "errors": [],
          "suites": [{
            "title": "around.spec.ts",
            "specs": [
              { "title": "passes", "ok": true, "file": "around.spec.ts", "line": 3, "tests": [{ "results": [{ "status": "passed" }] }] },
              { "title": "fails", "ok": false, "file": "around.spec.ts", "line": 9, "tests": [{ "results": [
                { "status": "failed", "errors": [
                  { "message": "Error: \u001b[2mexpect(\u001b[22m\u001b[31mreceived\u001b[39m)\n\nno <b>", "location": { "file": "/e2e/tests/around.spec.ts", "line": 12, "column": 5 } },
                  { "message": "and this" }
                ] }
              ] }] }
            ],
            "suites": [{ "title": "inner", "specs": [
              { "title": "hangs", "ok": false, "file": "around.spec.ts", "line": 30, "tests": [{ "results": [{ "status": "timedOut" }] }] }
            ] }]
          }]
        }"#;
        assert_eq!(
            of_playwright(report),
            [
                failure("around.spec.ts:30 › hangs", "it says nothing"),
                failure(
                    "around.spec.ts:9 › fails",
                    "at around.spec.ts:12\nError: expect(received)\n\nno <b>\nand this"
                ),
            ]
        );
        let broken = r#"{ "suites": [], "errors": [{ "message": "SyntaxError: x" }] }"#;
        assert_eq!(of_playwright(broken), [failure("the run itself", "SyntaxError: x")]);
        assert_eq!(of_playwright("cut {"), []);
    }

    #[test]
    fn nextests_failures_are_found() {
        let report = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="nextest-run" tests="3" failures="1" errors="1">
  <testsuite name="mistle-model" tests="3">
    <testcase name="queue::tests::is_fine" classname="mistle-model" time="0.004"></testcase>
    <testcase name="queue::tests::breaks" classname="mistle-model" time="0.005">
      <failure message="thread panicked" type="test failure">thread &apos;queue&apos; panicked at a.rs:1:1:
assertion `left == right` failed
  left: &lt;1 &amp;lt;&gt;</failure>
      <system-out>stdout</system-out>
    </testcase>
    <testcase name="dies" classname="mistle-model::it" time="0.1">
      <error message="process aborted with signal 9 (SIGKILL)" type="test abort"></error>
    </testcase>
  </testsuite>
</testsuites>"#;
        assert_eq!(
            of_junit(report),
            [
                failure(
                    "mistle-model queue::tests::breaks",
                    "thread 'queue' panicked at a.rs:1:1:\nassertion `left == right` failed\n  left: <1 &lt;>"
                ),
                failure("mistle-model::it dies", "process aborted with signal 9 (SIGKILL)"),
            ]
        );
        assert_eq!(of_junit(""), []);
    }

    #[test]
    fn much_is_told_in_few_lines() {
        let long = "x".repeat(5000);
        let failures: Vec<Failure> = (0..100)
            .map(|n| failure(&format!("test {n}"), &format!("{long}\n\n").repeat(50)))
            .collect();
        let text = told(&failures);
        assert_eq!(text.lines().count(), MAX_TOLD * (1 + MAX_LINES) + 1);
        assert!(text.ends_with("… and 75 more\n"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= MAX_LINE + 4));
        assert_eq!(told(&failures[..1]).lines().next(), Some("✗ test 0"));
        assert_eq!(told(&[]), "");
    }
}
