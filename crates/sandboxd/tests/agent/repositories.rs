//! Clones, with real git.

use std::path::Path;
use std::process::Command;

use mistle_protocol::agent::{AgentEvent, SetupStep};
use mistle_protocol::plan::ApprovalPolicy;

use crate::world::World;

fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(folder)
        .env_remove("GIT_CONFIG_GLOBAL")
        .args([
            "-c",
            "user.name=Test",
            "-c",
            "user.email=test@localhost",
            "-c",
            "init.defaultBranch=main",
        ])
        .args(arguments)
        .output()
        .expect("git");
    assert!(
        output.status.success(),
        "git {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A repository with a file on `main`, another branch and a tag.
fn source(world: &World) -> String {
    let folder = world.path("source");
    std::fs::create_dir_all(&folder).unwrap();
    let folder = Path::new(&folder);
    git(folder, &["init", "-q"]);
    std::fs::write(folder.join("README.md"), "main\n").unwrap();
    git(folder, &["add", "."]);
    git(folder, &["commit", "-qm", "First"]);
    git(folder, &["tag", "v1"]);
    git(folder, &["checkout", "-qb", "work"]);
    std::fs::write(folder.join("README.md"), "work\n").unwrap();
    git(folder, &["commit", "-qam", "Second"]);
    git(folder, &["checkout", "-q", "main"]);
    folder.to_str().unwrap().to_owned()
}

async fn set_up(world: &mut World) -> Result<(), (SetupStep, String)> {
    world.open().await;
    let mut events = world.events(0);
    world.put_plan().await;
    let event = events
        .until(|event| matches!(event, AgentEvent::RuntimeReady { .. } | AgentEvent::SetupFailed { .. }))
        .await;
    match event {
        AgentEvent::SetupFailed { step, message } => Err((step, message)),
        _ => Ok(()),
    }
}

#[tokio::test]
async fn a_repository_is_cloned_with_its_branch_origin_and_an_identity() {
    let mut world = World::new(ApprovalPolicy::Autonomous).await;
    let from = source(&world);
    let repository = world.repository("project", &from);
    repository.branch = Some("work".to_owned());
    repository.origin = Some("https://example.org/project.git".to_owned());
    set_up(&mut world).await.unwrap();
    let clone = world.workspaces().join("project");
    assert_eq!(world.file("README.md").as_deref(), Some("work\n"));
    assert_eq!(
        git(&clone, &["remote", "get-url", "origin"]),
        "https://example.org/project.git"
    );
    assert_eq!(git(&clone, &["rev-parse", "--abbrev-ref", "HEAD"]), "work");
    let identity = std::fs::read_to_string(world.path("home/.gitconfig")).unwrap();
    assert!(identity.contains("name = Mistle"), "{identity}");
    let left: Vec<_> = std::fs::read_dir(world.workspaces())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["project"]);
}

#[tokio::test]
async fn a_folder_that_is_there_is_left_alone_and_a_half_clone_is_not_taken_for_one() {
    let mut world = World::new(ApprovalPolicy::Autonomous).await;
    let from = source(&world);
    world.repository("project", &from);
    // A clone that was killed.
    std::fs::create_dir_all(world.workspaces().join(".project.mistle-clone/.git")).unwrap();
    set_up(&mut world).await.unwrap();
    assert_eq!(world.file("README.md").as_deref(), Some("main\n"));
    world.write("README.md", "mine\n");
    world.shutdown().await;
    set_up(&mut world).await.unwrap();
    assert_eq!(world.file("README.md").as_deref(), Some("mine\n"));
}

#[tokio::test]
async fn a_repository_of_somebody_else_is_cloned_and_fetched_from() {
    const SOMEBODY_ELSE: (&str, &str) = ("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1");
    let mut world = World::new(ApprovalPolicy::Autonomous).await;
    let from = source(&world);
    world.plan.environment = [SOMEBODY_ELSE]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    world.repository("project", &from);
    let read = |home: &str| {
        let mut git = Command::new("git");
        git.args(["ls-remote", &from])
            .env("HOME", home)
            .env(SOMEBODY_ELSE.0, SOMEBODY_ELSE.1)
            .output()
            .unwrap()
    };
    assert!(
        !read(&world.path("nobody")).status.success(),
        "git refuses it when nothing is said"
    );
    set_up(&mut world).await.unwrap();
    assert_eq!(world.file("README.md").as_deref(), Some("main\n"));
    assert!(read(&world.path("home")).status.success());
}

#[tokio::test]
async fn an_empty_repository_is_fine() {
    let mut world = World::new(ApprovalPolicy::Autonomous).await;
    let empty = world.path("empty");
    std::fs::create_dir_all(&empty).unwrap();
    git(Path::new(&empty), &["init", "-q"]);
    world.repository("project", &empty);
    set_up(&mut world).await.unwrap();
    assert!(world.workspaces().join("project/.git").is_dir());
}

#[tokio::test]
async fn hooks_of_a_repository_do_not_run() {
    let mut world = World::new(ApprovalPolicy::Autonomous).await;
    let from = source(&world);
    let ran = world.path("hook-ran");
    for hook in ["post-checkout", "post-merge", "pre-commit", "reference-transaction"] {
        let path = Path::new(&from).join(".git/hooks").join(hook);
        std::fs::write(&path, format!("#!/bin/sh\ntouch {ran}\n")).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    world.repository("project", &from);
    set_up(&mut world).await.unwrap();
    assert!(!Path::new(&ran).exists());
}

/// Makes a source; `CLOSED` in it is an address where nobody listens.
type Source = fn(&World) -> String;

#[tokio::test]
async fn failures_say_what_to_do() {
    // Bound and not listening: nobody else can listen there either.
    let reserved = tokio::net::TcpSocket::new_v4().unwrap();
    reserved.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let closed = reserved.local_addr().unwrap();
    let cases: [(&str, Source, Option<&str>); 6] = [
        ("no git repository at", |world| world.path("nothing"), None),
        (
            "no git repository at",
            |world| {
                std::fs::create_dir_all(world.path("plain")).unwrap();
                world.path("plain")
            },
            None,
        ),
        ("has no branch or tag “nope”", source, Some("nope")),
        (
            "has no branch or tag “--upload-pack=touch”",
            source,
            Some("--upload-pack=touch"),
        ),
        ("can't be reached", |_| "CLOSED".to_owned(), None),
        ("can't be cloned", |_| "ext::sh -c touch% made".to_owned(), None),
    ];
    for (expected, from, branch) in cases {
        let mut world = World::new(ApprovalPolicy::Autonomous).await;
        let from = from(&world).replace("CLOSED", &format!("http://{closed}/x.git"));
        world.repository("project", &from).branch = branch.map(str::to_owned);
        let (step, message) = set_up(&mut world).await.unwrap_err();
        assert_eq!(step, SetupStep::Repository);
        assert!(message.contains(expected), "{message}");
        let left = std::fs::read_dir(world.workspaces()).unwrap().count();
        assert_eq!(left, 0, "{message}");
    }
}

#[tokio::test]
async fn a_name_can_not_leave_the_workspaces() {
    let mut world = World::new(ApprovalPolicy::Autonomous).await;
    let from = source(&world);
    world.repository("../outside", &from);
    let (step, message) = set_up(&mut world).await.unwrap_err();
    assert_eq!(step, SetupStep::Repository);
    assert!(message.contains("../outside"), "{message}");
    assert!(!Path::new(&world.path("outside")).exists());
}

#[tokio::test]
async fn a_repaired_source_is_fetched_at_the_next_attempt() {
    let mut world = World::new(ApprovalPolicy::Autonomous).await;
    let from = world.path("source");
    world.repository("project", &from);
    assert!(set_up(&mut world).await.is_err());
    source(&world);
    let mut events = world.events(world.agent().journal_seq());
    world.put_plan().await;
    events.ready().await;
    assert_eq!(world.file("README.md").as_deref(), Some("main\n"));
}
