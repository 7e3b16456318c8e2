//! Taking changes back, and bringing them back.

use std::sync::mpsc::{self, TryRecvError};

use http::StatusCode;
use mistle_protocol::changes::{Discard, RepoPath, Scope};

use crate::world::World;

#[tokio::test]
async fn a_file_goes_back_and_returns() {
    let world = World::new().await;
    world.write("a.txt", "mine\n");
    world.write("new/file.txt", "mine\n");
    std::fs::remove_file(world.path("b.txt")).unwrap();
    let mut undo = Vec::new();
    for path in ["a.txt", "new/file.txt", "b.txt"] {
        undo.push(world.discard(path, Scope::Uncommitted, None).await.unwrap());
    }
    assert_eq!(world.list(Scope::Uncommitted).await.lines(), Vec::<String>::new());
    assert_eq!(world.git(&["status", "--porcelain"]), "");
    assert!(!world.path("new/file.txt").exists());
    for token in &undo {
        assert_eq!(world.restore(token).await, StatusCode::NO_CONTENT);
    }
    assert_eq!(
        (world.read("a.txt"), world.read("new/file.txt")),
        ("mine\n".to_owned(), "mine\n".to_owned())
    );
    assert!(!world.path("b.txt").exists());
    // Once only.
    assert_eq!(world.restore(&undo[0]).await, StatusCode::NOT_FOUND);
    assert_eq!(world.restore("../../etc").await, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn one_hunk_goes_back_and_the_others_stay() {
    let world = World::new().await;
    let before = world.read("a.txt");
    world.write(
        "a.txt",
        before.replace("line 2\n", "two\nand more\n").replace("line 9\n", ""),
    );
    let diff = world.diff("scope=uncommitted&path=a.txt&context=1").await;
    let undo = world
        .discard("a.txt", Scope::Uncommitted, Some(diff.hunks[0].range))
        .await
        .unwrap();
    assert_eq!(world.read("a.txt"), before.replace("line 9\n", ""));
    assert_eq!(world.restore(&undo).await, StatusCode::NO_CONTENT);
    world
        .discard("a.txt", Scope::Uncommitted, Some(diff.hunks[1].range))
        .await
        .unwrap();
    assert_eq!(world.read("a.txt"), before.replace("line 2\n", "two\nand more\n"));
}

#[tokio::test]
async fn a_rename_a_link_and_a_mode() {
    for world in [World::new().await, World::in_memory().await] {
        world.write("run.sh", "#!/bin/sh\n");
        std::os::unix::fs::symlink("a.txt", world.path("link")).unwrap();
        world.commit("more");
        std::fs::rename(world.path("a.txt"), world.path("renamed.txt")).unwrap();
        std::fs::remove_file(world.path("link")).unwrap();
        world.write("link", "a file\n");
        std::fs::set_permissions(
            world.path("run.sh"),
            std::os::unix::fs::PermissionsExt::from_mode(0o755),
        )
        .unwrap();
        let mut undo = Vec::new();
        for path in ["renamed.txt", "link", "run.sh"] {
            undo.push(world.discard(path, Scope::Uncommitted, None).await.unwrap());
        }
        assert_eq!(world.git(&["status", "--porcelain"]), "");
        // As one finds it that was stopped in the middle of bringing it back: it is done to the end.
        std::fs::remove_file(world.path("a.txt")).unwrap();
        for token in &undo {
            assert_eq!(world.restore(token).await, StatusCode::NO_CONTENT);
        }
        assert!(!world.path("a.txt").exists() && world.path("renamed.txt").exists());
        assert_eq!(world.read("link"), "a file\n");
    }
}

#[tokio::test]
async fn what_changed_meanwhile_is_left_alone() {
    let world = World::new().await;
    world.write("b.txt", "mine\n");
    let fingerprint = world.list(Scope::Uncommitted).await.file("b.txt").fingerprint.clone();
    world.write("b.txt", "later\n");
    let discard = Discard {
        path: RepoPath::from_bytes(b"b.txt"),
        scope: Scope::Uncommitted,
        hunk: None,
        fingerprint,
    };
    assert_eq!(world.discard_as(&discard).await.unwrap_err().kind, "file-changed");
    assert_eq!(world.read("b.txt"), "later\n");
    let undo = world.discard("b.txt", Scope::Uncommitted, None).await.unwrap();
    world.write("b.txt", "later still\n");
    assert_eq!(world.restore(&undo).await, StatusCode::CONFLICT);
    assert_eq!(world.read("b.txt"), "later still\n");
}

#[tokio::test]
async fn a_folder_and_a_file_that_took_each_others_name() {
    let world = World::new().await;
    world.write("folder/x", "x\n");
    world.write("file", "f\n");
    world.commit("more");
    std::fs::remove_dir_all(world.path("folder")).unwrap();
    std::fs::remove_file(world.path("file")).unwrap();
    world.write("folder", "a file\n");
    world.write("file/y", "y\n");

    let refusal = world.discard("file", Scope::Uncommitted, None).await.unwrap_err();
    let detail = refusal.detail.unwrap();
    assert!(detail.contains("a folder with files in it has its name"), "{detail}");
    let mut undo = Vec::new();
    for path in ["folder", "folder/x", "file/y", "file"] {
        undo.push(world.discard(path, Scope::Uncommitted, None).await.unwrap());
    }
    assert_eq!(world.git(&["status", "--porcelain"]), "");
    for token in undo.iter().rev() {
        assert_eq!(world.restore(token).await, StatusCode::NO_CONTENT);
    }
    assert_eq!(
        (world.read("folder"), world.read("file/y")),
        ("a file\n".into(), "y\n".into())
    );
}

#[tokio::test]
async fn the_lines_of_a_link_are_all_of_it() {
    for world in [World::new().await, World::in_memory().await] {
        std::os::unix::fs::symlink("a.txt", world.path("link")).unwrap();
        world.commit("link");
        std::fs::remove_file(world.path("link")).unwrap();
        std::os::unix::fs::symlink("b.txt", world.path("link")).unwrap();
        let diff = world.diff("scope=uncommitted&path=link").await;
        let undo = world
            .discard("link", Scope::Uncommitted, Some(diff.hunks[0].range))
            .await
            .unwrap();
        assert_eq!(
            std::fs::read_link(world.path("link")).unwrap(),
            std::path::Path::new("a.txt")
        );
        assert_eq!(world.restore(&undo).await, StatusCode::NO_CONTENT);
        assert_eq!(
            std::fs::read_link(world.path("link")).unwrap(),
            std::path::Path::new("b.txt")
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_never_away_and_never_half_written() {
    for world in [World::new().await, World::in_memory().await] {
        let mine = "mine\n".repeat(1_000);
        world.write("b.txt", &mine);
        let (path, mine) = (world.path("b.txt"), &mine);
        let (working, done) = mpsc::channel::<()>();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                while done.try_recv() == Err(TryRecvError::Empty) {
                    let content = std::fs::read_to_string(&path).unwrap();
                    assert!(content == "b\n" || content == *mine, "{} bytes", content.len());
                }
            });
            tokio::task::block_in_place(|| {
                tokio::runtime::Handle::current().block_on(async {
                    for _ in 0..5 {
                        let undo = world.discard("b.txt", Scope::Uncommitted, None).await.unwrap();
                        assert_eq!(world.restore(&undo).await, StatusCode::NO_CONTENT);
                    }
                });
            });
            drop(working);
        });
    }
}
