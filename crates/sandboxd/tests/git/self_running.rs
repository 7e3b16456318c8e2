//! What runs by itself is told, wherever it is and whatever its name was.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use mistle_protocol::changes::{Scope, SelfRunning};

use crate::world::{World, shown};

fn script(path: &Path) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, "#!/bin/sh\nevil\n").unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn hooks_of_a_worktree_and_of_a_submodule_are_in_the_folder_that_git_uses() {
    let world = World::new().await;
    let library = world.beside("library");
    std::fs::create_dir(&library).unwrap();
    world.git_in(&library, &["init", "-q", "-b", "main"]);
    world.git_in(&library, &["commit", "-q", "--allow-empty", "-m", "library"]);
    world.git(&["submodule", "add", "-q", library.to_str().unwrap(), "lib"]);
    world.commit("with a submodule");
    let tree = world.beside("worktree");
    world.git(&["worktree", "add", "-q", "-b", "side", tree.to_str().unwrap()]);
    script(&world.path(".git/hooks/pre-push"));
    script(&world.path(".git/modules/lib/hooks/post-merge"));
    let mut inside = World::bare().await;
    for (top, name) in [(tree, "pre-push"), (world.path("lib"), "post-merge")] {
        inside.top = top;
        let path = format!(".git/hooks/{name}");
        let list = inside.list(Scope::Uncommitted).await;
        assert_eq!(list.lines(), [format!("Untracked {path} +2 -0")]);
        assert_eq!(list.totals.self_running, 1);
        let diff = inside.diff(&format!("scope=uncommitted&path={path}")).await;
        assert_eq!(diff.file.as_ref(), Some(&list.files[0]));
        assert!(shown(&diff).contains("+evil"));
        let refusal = inside.discard(&path, Scope::Uncommitted, None).await.unwrap_err();
        assert_eq!(refusal.kind, "not-discardable");
        assert_eq!(inside.list(Scope::Uncommitted).await.files.len(), 1);
    }
}

#[tokio::test]
async fn hooks_behind_a_link_are_not_discarded_from_here() {
    let world = World::new().await;
    let outside = world.beside("hooks");
    script(&outside.join("pre-push"));
    std::fs::remove_dir_all(world.path(".git/hooks")).unwrap();
    symlink(&outside, world.path(".git/hooks")).unwrap();
    let path = ".git/hooks/pre-push";
    let list = world.list(Scope::Uncommitted).await;
    assert_eq!(list.lines(), [format!("Untracked {path} +2 -0")]);
    let refusal = world.discard(path, Scope::Uncommitted, None).await.unwrap_err();
    assert_eq!(refusal.kind, "not-discardable");
    assert!(refusal.detail.unwrap().contains(outside.to_str().unwrap()));
    assert!(outside.join("pre-push").exists());
}

#[tokio::test]
async fn hooks_are_where_the_configuration_says() {
    let world = World::new().await;
    // Outside of the tree.
    let outside = world.beside("hooks");
    script(&outside.join("pre-commit"));
    script(&world.path(".git/hooks/pre-push"));
    world.git(&["config", "core.hooksPath", outside.to_str().unwrap()]);
    let list = world.list(Scope::Uncommitted).await;
    assert_eq!(
        list.lines(),
        ["Untracked .git/hooks/pre-commit +2 -0", "Modified .git/config +1 -0"]
    );
    // In the tree, where git ignores some of them.
    world.git(&["config", "--unset", "core.hooksPath"]);
    world.write(".gitignore", "scripts/hooks/_*\n");
    script(&world.path("scripts/hooks/known"));
    world.commit("a hook");
    script(&world.path("scripts/hooks/_ignored"));
    script(&world.path("scripts/hooks/new"));
    world.git(&["config", "core.hooksPath", "./scripts/hooks/"]);
    let list = world.list(Scope::Uncommitted).await;
    assert_eq!(
        list.lines(),
        [
            "Untracked scripts/hooks/new +2 -0",
            "Untracked scripts/hooks/_ignored +2 -0",
            "Modified .git/config +1 -0"
        ]
    );
    for path in ["scripts/hooks/new", "scripts/hooks/_ignored"] {
        assert_eq!(list.file(path).self_running, Some(SelfRunning::GitHook));
        let diff = world.diff(&format!("scope=uncommitted&path={path}")).await;
        assert_eq!(diff.file.as_ref(), Some(list.file(path)));
        world.discard(path, Scope::Uncommitted, None).await.unwrap();
    }
    assert_eq!(
        world.list(Scope::Uncommitted).await.lines(),
        ["Modified .git/config +1 -0"]
    );
}

#[tokio::test]
async fn programs_that_the_configuration_names_are_told() {
    let world = World::new().await;
    assert_eq!(world.list(Scope::Branch).await.files.len(), 0);
    world.git(&["config", "alias.co", "checkout"]);
    world.git(&["config", "credential.helper", "store"]);
    world.git(&["config", "core.sshCommand", "ssh -v"]);
    world.git(&["config", "--global", "core.editor", "vi"]);
    world.snapshot().await;
    assert_eq!(world.list(Scope::LastTurn).await.files.len(), 0);
    world.git(&["config", "core.fsmonitor", "/tmp/evil"]);
    world.git(&["config", "alias.st", "!evil"]);
    world.git(&["config", "--unset", "core.sshCommand"]);

    let list = world.list(Scope::Branch).await;
    assert_eq!(list.lines(), ["Modified .git/config +3 -0"]);
    assert_eq!(list.files[0].self_running, Some(SelfRunning::GitConfig));
    assert_eq!((list.totals.files, list.totals.self_running), (1, 1));
    let turn = world.list(Scope::LastTurn).await;
    assert_eq!(turn.lines(), ["Modified .git/config +2 -1"]);
    let diff = world.diff("scope=last_turn&path=.git/config").await;
    assert_eq!(diff.file.as_ref(), Some(&turn.files[0]));
    insta::assert_snapshot!(shown(&diff), @r"
    @@ 1,1 1,2
      1     -core.sshcommand = ssh -v
          1 +core.fsmonitor = /tmp/evil
          2 +alias.st = !evil
    ");
    let refusal = world.discard(".git/config", Scope::Branch, None).await.unwrap_err();
    assert_eq!(refusal.kind, "not-discardable");
}

#[tokio::test]
async fn a_name_that_was_left_and_one_that_stands_for_a_folder() {
    let world = World::new().await;
    let long = (0..50).fold(String::new(), |text, n| text + &n.to_string() + "\n");
    world.write(".github/workflows/ci.yml", &long);
    world.write("docs/task.json", long.replace('1', "one"));
    world.write("plain.txt", long.replace('2', "two"));
    world.commit("more");
    std::fs::create_dir_all(world.path(".vscode")).unwrap();
    for (from, to) in [
        (".github/workflows/ci.yml", "docs/ci.yml"),
        ("docs/task.json", ".vscode/tasks.json"),
        ("plain.txt", "plainer.txt"),
    ] {
        std::fs::rename(world.path(from), world.path(to)).unwrap();
    }
    std::fs::create_dir(world.path("sub")).unwrap();
    symlink("../elsewhere", world.path("sub/.github")).unwrap();
    symlink("elsewhere", world.path(".husky")).unwrap();
    symlink("elsewhere", world.path("link")).unwrap();
    let list = world.list(Scope::Uncommitted).await;
    let told = |path: &str| list.file(path).self_running;
    assert_eq!(told("docs/ci.yml"), Some(SelfRunning::Ci));
    assert_eq!(told(".vscode/tasks.json"), Some(SelfRunning::EditorTask));
    assert_eq!(told("plainer.txt"), None);
    assert_eq!(told("sub/.github"), Some(SelfRunning::Ci));
    assert_eq!(told(".husky"), Some(SelfRunning::GitHook));
    assert_eq!(told("link"), None);
    assert_eq!(list.totals.self_running, 4);
    let diff = world
        .diff("scope=uncommitted&path=docs/ci.yml&old_path=.github/workflows/ci.yml")
        .await;
    assert_eq!(diff.file.unwrap().self_running, Some(SelfRunning::Ci));
}
