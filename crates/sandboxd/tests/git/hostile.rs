//! A repository that tries to have something run.

use std::os::unix::fs::PermissionsExt as _;

use mistle_protocol::changes::Scope;

use crate::world::World;

#[tokio::test]
async fn nothing_of_a_repository_runs() {
    let world = World::new().await;
    let marker = world.beside("marker");
    let script = world.beside("evil.sh");
    std::fs::write(
        &script,
        format!("#!/bin/sh\necho \"$0 $*\" >> {}\ncat\n", marker.display()),
    )
    .unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let evil = script.to_str().unwrap();
    for n in 0..3 {
        world.write(&format!("f{n}.evil"), "one\n");
    }
    world.write("sub/kept", "x\n");
    world.commit("files");
    std::fs::create_dir(world.path("module")).unwrap();
    world.git_in(&world.path("module"), &["init", "-q"]);
    std::fs::write(world.path("module/file"), "x").unwrap();
    world.git_in(&world.path("module"), &["add", "-A"]);
    world.git_in(&world.path("module"), &["commit", "-q", "-m", "m"]);
    world.git(&["-c", "advice.addEmbeddedRepo=false", "add", "module"]);
    world.git(&["commit", "-q", "-m", "module"]);
    world.git(&["checkout", "-q", "-b", "work"]);

    // Staged while nothing is in the way.
    world.write("f1.evil", "two\n");
    world.git(&["add", "f1.evil"]);

    let attributes = "*.evil filter=evil diff=evil merge=evil\n* filter=evil diff=evil\n";
    world.write(".gitattributes", attributes);
    std::fs::create_dir_all(world.path(".git/info")).unwrap();
    std::fs::write(world.path(".git/info/attributes"), attributes).unwrap();
    for (key, value) in [
        ("filter.evil.clean", evil),
        ("filter.evil.smudge", evil),
        ("filter.evil.process", evil),
        ("filter.evil.required", "true"),
        ("diff.evil.textconv", evil),
        ("diff.evil.command", evil),
        ("diff.external", evil),
        ("core.fsmonitor", evil),
        ("core.pager", evil),
        ("pager.diff", evil),
        ("core.editor", evil),
        ("core.sshCommand", evil),
        ("core.alternateRefsCommand", evil),
        ("core.gitProxy", evil),
        ("alias.diff", &format!("!{evil}")),
        ("alias.ls-files", &format!("!{evil}")),
        ("uploadpack.packObjectsHook", evil),
        ("credential.helper", evil),
        ("gpg.program", evil),
        ("extensions.partialClone", "origin"),
        ("remote.origin.url", "ext::sh -c evil"),
        ("remote.origin.promisor", "true"),
        ("remote.origin.uploadpack", evil),
        ("core.worktree", "/etc"),
    ] {
        world.git(&["config", "--file", ".git/config", key, value]);
    }
    world.git(&["config", "--file", "module/.git/config", "core.fsmonitor", evil]);
    let hooks = world.path(".git/hooks");
    std::fs::create_dir_all(&hooks).unwrap();
    for hook in [
        "post-index-change",
        "fsmonitor-watchman",
        "post-checkout",
        "pre-commit",
        "reference-transaction",
    ] {
        std::fs::copy(&script, hooks.join(hook)).unwrap();
    }
    world.write("f0.evil", "two\n");
    world.write("f1.evil", "two\n");
    std::fs::remove_file(world.path("f2.evil")).unwrap();
    world.write("new.evil", "new\n");
    std::fs::write(world.path("module/file"), "dirty").unwrap();
    assert!(
        !marker.exists(),
        "{}",
        std::fs::read_to_string(&marker).unwrap_or_default()
    );

    for scope in [Scope::Branch, Scope::Uncommitted, Scope::LastTurn] {
        let name = scope.name();
        let list = world.list(scope).await;
        if scope != Scope::LastTurn {
            assert!(list.files.len() >= 4, "{:?}", list.lines());
        }
        world.diff(&format!("scope={name}&path=f0.evil")).await;
        world.diff(&format!("scope={name}&path=module")).await;
        world.get(&format!("/git/patch?scope={name}")).await;
        if scope != Scope::LastTurn {
            world
                .get(&format!("/git/blob?scope={name}&path=f0.evil&side=old"))
                .await;
            let undo = world.discard("f0.evil", scope, None).await.unwrap();
            assert_eq!(world.read("f0.evil"), "one\n");
            assert!(world.restore(&undo).await.is_success());
            let undo = world.discard("f1.evil", scope, None).await.unwrap();
            let staged = || {
                let raw = [
                    "-c",
                    "core.fsmonitor=false",
                    "-c",
                    "core.hooksPath=/dev/null",
                    "-c",
                    "core.worktree=.",
                ];
                world.git(&[&raw[..], &["diff-index", "--cached", "--name-only", "HEAD"]].concat())
            };
            assert_eq!(staged(), "");
            assert!(world.restore(&undo).await.is_success());
            assert_eq!(staged(), "f1.evil");
        }
        world.snapshot().await;
    }
    world.get("/git/blob?path=f0.evil&side=new").await;
    assert!(
        !marker.exists(),
        "{}",
        std::fs::read_to_string(&marker).unwrap_or_default()
    );
    // That the repository would have: git itself runs them.
    world.try_git(&world.top, &["--work-tree=.", "status"]);
    assert!(marker.exists(), "the repository is not hostile");
}

#[tokio::test]
async fn no_mark_in_an_index_hides_a_change() {
    let world = World::new().await;
    world.git(&["update-index", "--assume-unchanged", "a.txt"]);
    world.git(&["update-index", "--skip-worktree", "b.txt"]);
    world.write("a.txt", "hidden\n");
    world.write("b.txt", "hidden\n");
    assert_eq!(world.git(&["status", "--porcelain"]), "");
    assert_eq!(
        world.list(Scope::Uncommitted).await.lines(),
        ["Modified a.txt +1 -10", "Modified b.txt +1 -1"]
    );
}

#[tokio::test]
async fn a_replaced_object_and_a_pipe_do_not_mislead() {
    let world = World::new().await;
    let blob = world.git(&["rev-parse", "HEAD:b.txt"]);
    world.write("b.txt", "evil\n");
    let other = world.git(&["hash-object", "-w", "b.txt"]);
    world.git(&["replace", &blob, &other]);
    assert_eq!(world.list(Scope::Uncommitted).await.lines(), ["Modified b.txt +1 -1"]);
    rustix::fs::mknodat(
        rustix::fs::CWD,
        world.path("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    assert_eq!(world.list(Scope::Uncommitted).await.files.len(), 1);
    assert_eq!(
        world.send("GET", "/git/blob?path=pipe&side=new", None).await.status(),
        http::StatusCode::NOT_FOUND
    );
}
