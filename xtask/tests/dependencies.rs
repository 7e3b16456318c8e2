//! Who may depend on whom, checked on the real dependency graph.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Which crates of ours a crate may use. What is not listed is not allowed.
const MAY_USE: &[(&str, &[&str])] = &[
    ("mistle-protocol", &[]),
    ("mistle-model", &["mistle-protocol"]),
    ("mistle-store", &["mistle-model", "mistle-protocol"]),
    ("mistle-sandbox", &["mistle-model", "mistle-protocol"]),
    ("mistle-egress", &["mistle-model", "mistle-protocol"]),
    ("mistle-scripted-model", &[]),
    ("mistle-sandboxd", &["mistle-protocol"]),
    (
        "mistle-server",
        &[
            "mistle-egress",
            "mistle-model",
            "mistle-protocol",
            "mistle-sandbox",
            "mistle-scripted-model",
            "mistle-store",
        ],
    ),
    (
        "mistle-testkit",
        &[
            "mistle-model",
            "mistle-protocol",
            "mistle-sandbox",
            "mistle-scripted-model",
            "mistle-server",
            "mistle-store",
        ],
    ),
    ("xtask", &[]),
];

/// The only crate that may contain unsafe code.
const MAY_BE_UNSAFE: &[&str] = &["mistle-sandbox"];

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version=1",
            "--locked",
            "--offline",
            "--filter-platform=x86_64-unknown-linux-gnu",
        ])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn root() -> &'static str {
    concat!(env!("CARGO_MANIFEST_DIR"), "/..")
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn members(metadata: &Value) -> Vec<&Value> {
    let ids: BTreeSet<&str> = list(metadata, "workspace_members")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    list(metadata, "packages")
        .iter()
        .filter(|package| ids.contains(text(package, "id")))
        .collect()
}

fn deny_toml() -> toml::Table {
    std::fs::read_to_string(format!("{}/deny.toml", root()))
        .unwrap()
        .parse()
        .unwrap()
}

#[test]
fn crates_use_only_the_crates_below_them() {
    let metadata = metadata();
    let rules: BTreeMap<&str, &[&str]> = MAY_USE.iter().copied().collect();
    let members = members(&metadata);
    let names: BTreeSet<&str> = members.iter().map(|package| text(package, "name")).collect();
    assert_eq!(
        names,
        rules.keys().copied().collect(),
        "MAY_USE lists every crate, and no other"
    );
    for package in members {
        let name = text(package, "name");
        for dependency in list(package, "dependencies").iter().filter(|d| d["kind"].is_null()) {
            let used = text(dependency, "name");
            assert!(
                !names.contains(used) || rules[name].contains(&used),
                "{name} may not use {used}"
            );
        }
    }
}

#[test]
fn walled_off_dependencies_have_one_user() {
    let metadata = metadata();
    let deny = deny_toml();
    for rule in deny["bans"]["deny"].as_array().unwrap() {
        let banned = rule["crate"].as_str().unwrap();
        let wrappers: Vec<&str> = match rule.get("wrappers") {
            Some(wrappers) => wrappers.as_array().unwrap().iter().filter_map(|w| w.as_str()).collect(),
            None => Vec::new(),
        };
        for package in list(&metadata, "packages") {
            let name = text(package, "name");
            let uses = list(package, "dependencies")
                .iter()
                .any(|d| text(d, "name") == banned && d["kind"].is_null() && d["optional"] == false);
            assert!(
                !uses || wrappers.contains(&name),
                "{name} may not use {banned}; see deny.toml"
            );
        }
    }
}

#[test]
fn every_licence_is_one_we_accept() {
    let metadata = metadata();
    let deny = deny_toml();
    let allowed: BTreeSet<&str> = deny["licenses"]["allow"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|l| l.as_str())
        .collect();
    let clarified: BTreeMap<&str, &str> = deny["licenses"]["clarify"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|clarify| Some((clarify["crate"].as_str()?, clarify["expression"].as_str()?)))
        .collect();
    for package in list(&metadata, "packages") {
        let licence = clarified
            .get(text(package, "name"))
            .copied()
            .unwrap_or(text(package, "license"));
        // An SPDX expression is acceptable when one alternative of each conjunct is.
        let accepted = licence.replace('/', " OR ").split(" AND ").all(|part| {
            part.trim_matches(['(', ')', ' '])
                .split(" OR ")
                .any(|one| allowed.contains(one.trim_matches(['(', ')', ' '])))
        });
        assert!(
            accepted,
            "{} {} has the licence {licence:?}",
            text(package, "name"),
            text(package, "version")
        );
    }
}

#[test]
fn unsafe_code_stays_behind_its_wall() {
    for package in members(&metadata()) {
        let name = text(package, "name");
        if MAY_BE_UNSAFE.contains(&name) {
            continue;
        }
        let manifest = std::fs::read_to_string(text(package, "manifest_path"))
            .unwrap()
            .parse::<toml::Table>()
            .unwrap();
        let inherits = manifest
            .get("lints")
            .and_then(|lints| lints.get("workspace"))
            .and_then(toml::Value::as_bool);
        assert_eq!(
            inherits,
            Some(true),
            "{name} must inherit the workspace lints, which forbid unsafe code"
        );
    }
}
