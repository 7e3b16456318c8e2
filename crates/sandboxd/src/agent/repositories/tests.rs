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
            "fatal: failed to copy file to '/w/.a/.git/objects/17/a5': No such file or directory",
            "changed while it was cloned",
        ),
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

#[tokio::test]
async fn a_source_that_is_tidied_meanwhile_is_cloned_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let git = |arguments: &[&str]| {
        let status = std::process::Command::new("git").args(arguments).status().unwrap();
        assert!(status.success(), "git {arguments:?}");
    };
    let source = path("source").to_str().unwrap().to_owned();
    git(&["init", "-q", &source]);
    let author = ["-c", "user.name=T", "-c", "user.email=t@t"];
    git(&[
        &["-C", &source],
        &author[..],
        &["commit", "-q", "--allow-empty", "-m", "one"],
    ]
    .concat());
    // Copying finds a file gone, as when the source is packed in that moment.
    let script = r#"#!/bin/sh
case "$*" in
*--no-hardlinks*)
    for target; do :; done
    mkdir -p "$target/.git/objects/17"
    echo "fatal: failed to copy file to '$target/.git/objects/17/a5': No such file or directory" >&2
    exit 128;;
esac
PATH="$REAL_PATH" exec git "$@"
"#;
    std::fs::create_dir(path("bin")).unwrap();
    std::fs::write(path("bin/git"), script).unwrap();
    std::fs::set_permissions(path("bin/git"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let real = std::env::var("PATH").unwrap();
    let environment = BTreeMap::from([
        ("PATH".to_owned(), format!("{}:{real}", path("bin").display())),
        ("REAL_PATH".to_owned(), real),
        ("HOME".to_owned(), folder.path().to_str().unwrap().to_owned()),
    ]);
    let repository = RepositoryPlan {
        source,
        origin: None,
        ..repository(None)
    };
    let git = Git {
        environment: &environment,
    };
    fetch(&git, &repository, folder.path(), &|_| ()).await.unwrap();
    assert!(path("a/.git/HEAD").exists());
}
