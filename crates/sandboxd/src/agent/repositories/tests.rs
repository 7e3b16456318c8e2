use super::*;

fn repository(branch: Option<&str>) -> RepositoryPlan {
    RepositoryPlan {
        name: "a".to_owned(),
        source: "/source".to_owned(),
        origin: Some("https://example.org/a".to_owned()),
        branch: branch.map(str::to_owned),
    }
}

#[test]
fn what_git_says_is_explained() {
    let cases = [
        (
            "fatal: unable to access 'https://example.org/a/': CONNECT tunnel failed, response 403",
            "`egress.allow`",
        ),
        (
            "fatal: unable to access 'https://example.org/a/': Could not resolve host: example.org",
            "can't be reached",
        ),
        (
            "fatal: could not read Username for 'https://example.org': terminal prompts disabled",
            "wants a login",
        ),
        ("fatal: write error: No space left on device", "disk is full"),
        (
            "remote: Not today.\nfatal: the remote end hung up",
            "can't be cloned: the remote end hung up",
        ),
    ];
    for (said, expected) in cases {
        let words: Vec<String> = said.lines().map(str::to_owned).collect();
        let message = explain(&repository(None), &words);
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn folder_names_are_plain() {
    let workspaces = Path::new("/workspace");
    assert_eq!(folder(workspaces, "a-b.c"), Ok(PathBuf::from("/workspace/a-b.c")));
    for name in ["", ".", "..", ".git", "a/b", "/etc", "a\0b", &"x".repeat(256)] {
        assert!(folder(workspaces, name).is_err(), "{name:?}");
    }
}

#[tokio::test]
async fn progress_is_passed_on_now_and_then_without_control_characters() {
    let heard = std::sync::Mutex::new(Vec::new());
    let mut words = Words::default();
    words.hear(b"Receiving objects:   1%\rReceiving objects:  99%\r", &|line| {
        heard.lock().unwrap().push(line);
    });
    words.hear("\u{1b}]0;title\u{7}fatal: no\n".as_bytes(), &|line| {
        heard.lock().unwrap().push(line);
    });
    assert_eq!(*heard.lock().unwrap(), ["Receiving objects:   1%"]);
    assert_eq!(words.end(), ["]0;titlefatal: no"]);
}
