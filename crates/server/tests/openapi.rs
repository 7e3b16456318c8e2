//! The OpenAPI document is a snapshot: the web's types are made from the file, so a change of the
//! API is a change of a file that a person reads.

use std::path::Path;

#[test]
fn the_document_is_the_one_that_is_kept() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    let document = mistle_server::api::openapi_json();
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    if kept == document {
        return;
    }
    if std::env::var_os("INSTA_UPDATE").is_some_and(|update| update == "always") {
        std::fs::write(&file, document).unwrap();
        return;
    }
    let line = kept
        .lines()
        .zip(document.lines())
        .take_while(|(kept, made)| kept == made)
        .count()
        + 1;
    panic!(
        "the API differs from {} from line {line} on; accept it with INSTA_UPDATE=always",
        file.display()
    );
}

#[test]
fn every_object_of_the_live_stream_is_described() {
    let document: serde_json::Value = serde_json::from_str(&mistle_server::api::openapi_json()).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    for name in [
        "LiveMessage",
        "SessionEvent",
        "AgentEvent",
        "Item",
        "Approval",
        "Session",
        "StreamMessage",
        "TerminalInput",
        "Problem",
        "Exec",
    ] {
        assert!(document["components"]["schemas"].get(name).is_some(), "{name}");
    }
    // Whatever is referred to is there.
    let text = document.to_string();
    for reference in text.split("#/components/schemas/").skip(1) {
        let name: String = reference.chars().take_while(|c| *c != '"').collect();
        assert!(document["components"]["schemas"].get(&name).is_some(), "{name}");
    }
}

#[test]
fn operations_have_names_of_their_own() {
    let document: serde_json::Value = serde_json::from_str(&mistle_server::api::openapi_json()).unwrap();
    let mut names: Vec<&str> = Vec::new();
    for item in document["paths"].as_object().unwrap().values() {
        for operation in item
            .as_object()
            .unwrap()
            .values()
            .filter(|operation| operation.is_object())
        {
            let name = operation["operationId"].as_str().unwrap();
            assert!(!names.contains(&name), "{name}");
            names.push(name);
        }
    }
    assert!(names.len() > 25);
}
