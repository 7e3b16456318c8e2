//! What is discarded leaves the index too, and comes back into it.

use http::StatusCode;
use mistle_protocol::changes::{FileStatus, Scope};

use crate::world::World;

impl World {
    /// How git sees the tree and the index, a line for each file.
    fn status(&self) -> Vec<String> {
        let output = self.try_git(&self.top, &["status", "--porcelain"]);
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    fn staged(&self, path: &str) -> String {
        self.git(&["show", &format!(":{path}")]) + "\n"
    }
}

const NOTHING: [&str; 0] = [];

#[tokio::test]
async fn what_was_added_leaves_the_next_commit_and_returns() {
    for (change, path, status) in [
        ("write new.txt", "new.txt", "A  new.txt"),
        ("write a.txt", "a.txt", "M  a.txt"),
        ("rm b.txt", "b.txt", "D  b.txt"),
        ("mv a.txt c/d.txt", "c/d.txt", "R  a.txt -> c/d.txt"),
        ("chmod a.txt", "a.txt", "M  a.txt"),
    ] {
        let world = World::new().await;
        match change.split(' ').collect::<Vec<_>>()[..] {
            ["write", path] => world.write(path, "mine\n"),
            ["rm", path] => std::fs::remove_file(world.path(path)).unwrap(),
            ["mv", from, to] => {
                std::fs::create_dir(world.path("c")).unwrap();
                std::fs::rename(world.path(from), world.path(to)).unwrap();
            }
            ["chmod", path] => {
                let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
                std::fs::set_permissions(world.path(path), executable).unwrap();
            }
            _ => unreachable!(),
        }
        world.git(&["add", "-A"]);
        let tree = world.git(&["write-tree"]);
        assert_eq!(world.status(), [status]);

        let undo = world.discard(path, Scope::Uncommitted, None).await.unwrap();
        assert_eq!(world.status(), NOTHING, "{change}");
        assert_eq!(world.git(&["write-tree"]), world.git(&["rev-parse", "HEAD^{tree}"]));
        assert_eq!(world.list(Scope::Uncommitted).await.lines(), NOTHING);
        assert!(!world.path(".git/index.lock").exists());

        assert_eq!(world.restore(&undo).await, StatusCode::NO_CONTENT);
        assert_eq!(world.status(), [status], "{change}");
        assert_eq!(world.git(&["write-tree"]), tree);
        assert!(!world.path(".git/index.lock").exists());
    }
}

/// The second line is changed and staged, the ninth is only changed.
async fn partly_staged() -> (World, String) {
    let world = World::new().await;
    let before = world.read("a.txt");
    world.write("a.txt", before.replace("line 2\n", "two\n"));
    world.git(&["add", "a.txt"]);
    world.write("a.txt", world.read("a.txt").replace("line 9\n", "nine\n"));
    assert_eq!(world.status(), ["MM a.txt"]);
    (world, before)
}

#[tokio::test]
async fn a_partly_staged_file_goes_and_returns_as_it_was() {
    let (world, before) = partly_staged().await;
    let undo = world.discard("a.txt", Scope::Uncommitted, None).await.unwrap();
    assert_eq!(world.status(), NOTHING);
    assert_eq!(world.restore(&undo).await, StatusCode::NO_CONTENT);
    assert_eq!(world.status(), ["MM a.txt"]);
    assert_eq!(world.staged("a.txt"), before.replace("line 2\n", "two\n"));
}

#[tokio::test]
async fn a_hunk_leaves_the_index_and_what_else_is_staged_stays() {
    let (world, before) = partly_staged().await;
    let hunks = world.diff("scope=uncommitted&path=a.txt&context=1").await.hunks;
    let (two, nine) = (Some(hunks[0].range), Some(hunks[1].range));

    // One that is staged.
    let undo = world.discard("a.txt", Scope::Uncommitted, two).await.unwrap();
    assert_eq!(world.read("a.txt"), before.replace("line 9\n", "nine\n"));
    assert_eq!(world.status(), [" M a.txt"]);
    assert_eq!(world.restore(&undo).await, StatusCode::NO_CONTENT);
    assert_eq!(world.status(), ["MM a.txt"]);

    // One that is not.
    let undo = world.discard("a.txt", Scope::Uncommitted, nine).await.unwrap();
    assert_eq!(world.status(), ["M  a.txt"]);
    assert_eq!(world.restore(&undo).await, StatusCode::NO_CONTENT);

    // One of two that are.
    world.git(&["add", "a.txt"]);
    let undo = world.discard("a.txt", Scope::Uncommitted, two).await.unwrap();
    assert_eq!(world.status(), ["M  a.txt"]);
    assert_eq!(world.staged("a.txt"), before.replace("line 9\n", "nine\n"));
    assert_eq!(world.git(&["fsck", "--no-dangling"]), "");
    assert_eq!(world.restore(&undo).await, StatusCode::NO_CONTENT);
    let both = before.replace("line 2\n", "two\n").replace("line 9\n", "nine\n");
    assert_eq!((world.staged("a.txt"), world.read("a.txt")), (both.clone(), both));
}

#[tokio::test]
async fn what_stays_staged_is_in_the_repository_and_not_in_the_shadow() {
    let world = World::new().await;
    let before = world.read("a.txt");
    let nine = before.replace("line 9\n", "nine\n");
    world.write("a.txt", &nine);
    world.snapshot().await;
    world.write("a.txt", nine.replace("line 2\n", "two\n"));
    world.git(&["add", "a.txt"]);
    let hunks = world.diff("scope=uncommitted&path=a.txt&context=1").await.hunks;
    world
        .discard("a.txt", Scope::Uncommitted, Some(hunks[0].range))
        .await
        .unwrap();
    assert_eq!(world.staged("a.txt"), nine);
    assert_eq!(world.git(&["fsck", "--no-dangling"]), "");
}

#[tokio::test]
async fn lines_that_can_not_be_told_apart_are_not_staged_any_more() {
    let (world, before) = partly_staged().await;
    world.write(
        "a.txt",
        before.replace("line 2\n", "zwei\n").replace("line 9\n", "nine\n"),
    );
    let hunks = world.diff("scope=uncommitted&path=a.txt&context=1").await.hunks;
    let undo = world
        .discard("a.txt", Scope::Uncommitted, Some(hunks[0].range))
        .await
        .unwrap();
    assert_eq!(world.staged("a.txt"), before);
    assert_eq!(world.read("a.txt"), before.replace("line 9\n", "nine\n"));
    assert_eq!(world.restore(&undo).await, StatusCode::NO_CONTENT);
    assert_eq!(world.staged("a.txt"), before.replace("line 2\n", "two\n"));
}

#[tokio::test]
async fn a_hunk_of_a_file_with_other_line_ends_in_the_tree() {
    let world = World::new().await;
    world.write(".gitattributes", "*.txt text eol=crlf\n");
    world.write("dos.txt", "one\r\ntwo\r\nthree\r\nfour\r\nfive\r\n");
    world.commit("dos");
    world.write("dos.txt", "1\r\ntwo\r\nthree\r\nfour\r\n5\r\n");
    world.git(&["add", "dos.txt"]);
    let hunks = world.diff("scope=uncommitted&path=dos.txt&context=0").await.hunks;
    world
        .discard("dos.txt", Scope::Uncommitted, Some(hunks[0].range))
        .await
        .unwrap();
    assert_eq!(world.read("dos.txt"), "one\r\ntwo\r\nthree\r\nfour\r\n5\r\n");
    assert_eq!(world.staged("dos.txt"), "one\ntwo\nthree\nfour\n5\n");
    assert_eq!(world.status(), ["M  dos.txt"]);
}

#[tokio::test]
async fn the_only_hunk_of_a_file_that_is_gone_brings_it_back() {
    let world = World::new().await;
    world.git(&["rm", "-q", "b.txt"]);
    let hunks = world.diff("scope=uncommitted&path=b.txt").await.hunks;
    world
        .discard("b.txt", Scope::Uncommitted, Some(hunks[0].range))
        .await
        .unwrap();
    assert_eq!((world.read("b.txt"), world.status()), ("b\n".to_owned(), Vec::new()));
}

#[tokio::test]
async fn what_is_committed_or_was_staged_before_the_turn_is_not_what_is_discarded() {
    let world = World::new().await;
    world.git(&["checkout", "-q", "-b", "work"]);
    world.write("a.txt", "committed\n");
    world.commit("on the branch");
    world.discard("a.txt", Scope::Branch, None).await.unwrap();
    assert_eq!(world.status(), [" M a.txt"]);
    assert_eq!(world.staged("a.txt"), "committed\n");

    world.write("b.txt", "before the turn\n");
    world.git(&["add", "b.txt"]);
    world.snapshot().await;
    world.write("b.txt", "in the turn\n");
    world.discard("b.txt", Scope::LastTurn, None).await.unwrap();
    assert_eq!(
        (world.read("b.txt"), world.staged("b.txt")),
        ("before the turn\n".to_owned(), "before the turn\n".to_owned())
    );
    world.write("b.txt", "in the turn\n");
    world.git(&["add", "b.txt"]);
    world.discard("b.txt", Scope::LastTurn, None).await.unwrap();
    assert_eq!(
        (world.read("b.txt"), world.staged("b.txt")),
        ("before the turn\n".to_owned(), "b\n".to_owned())
    );
}

#[tokio::test]
async fn an_index_that_another_git_holds_is_left_alone() {
    let world = World::new().await;
    world.write("a.txt", "staged\n");
    world.git(&["add", "a.txt"]);
    world.write("b.txt", "not staged\n");
    let lock = world.path(".git/index.lock");
    std::fs::write(&lock, "somebody else's").unwrap();

    let refusal = world.discard("a.txt", Scope::Uncommitted, None).await.unwrap_err();
    assert_eq!(refusal.kind, "index-locked");
    assert!(refusal.detail.unwrap().contains(lock.to_str().unwrap()));
    assert_eq!(world.read("a.txt"), "staged\n");
    assert_eq!(std::fs::read_to_string(&lock).unwrap(), "somebody else's");
    // Where nothing is staged the index does not matter.
    world.discard("b.txt", Scope::Uncommitted, None).await.unwrap();

    std::fs::remove_file(&lock).unwrap();
    assert_eq!(world.status(), ["M  a.txt"]);
    let undo = world.discard("a.txt", Scope::Uncommitted, None).await.unwrap();
    std::fs::write(&lock, "").unwrap();
    assert_eq!(world.restore(&undo).await, StatusCode::CONFLICT);
    assert_eq!(world.read("a.txt"), world.git(&["show", "HEAD:a.txt"]) + "\n");
    std::fs::remove_file(&lock).unwrap();
    assert_eq!(world.restore(&undo).await, StatusCode::NO_CONTENT);
    assert_eq!(world.status(), ["M  a.txt"]);
}

#[tokio::test]
async fn a_tree_that_can_not_be_changed_keeps_its_index() {
    let world = World::new().await;
    world.write("file", "f\n");
    world.commit("more");
    std::fs::remove_file(world.path("file")).unwrap();
    world.write("file/y", "y\n");
    world.git(&["add", "-A"]);
    let tree = world.git(&["write-tree"]);
    let refusal = world.discard("file", Scope::Uncommitted, None).await.unwrap_err();
    assert_eq!(refusal.kind, "discard-failed");
    assert_eq!(world.git(&["write-tree"]), tree);
    assert_eq!(world.read("file/y"), "y\n");
    assert!(!world.path(".git/index.lock").exists());
}

#[tokio::test]
async fn an_index_that_is_a_link_is_not_written() {
    let world = World::new().await;
    world.write("a.txt", "staged\n");
    world.git(&["add", "a.txt"]);
    let target = world.beside("index");
    std::fs::rename(world.path(".git/index"), &target).unwrap();
    std::os::unix::fs::symlink(&target, world.path(".git/index")).unwrap();
    let refusal = world.discard("a.txt", Scope::Uncommitted, None).await.unwrap_err();
    assert_eq!(refusal.kind, "index-not-writable");
    assert_eq!(
        (world.read("a.txt"), world.status()),
        ("staged\n".to_owned(), vec!["M  a.txt".to_owned()])
    );
}

#[tokio::test]
async fn what_was_staged_since_and_what_git_cleared_up_is_not_staged_again() {
    let world = World::new().await;
    world.write("a.txt", "mine\n");
    world.write("new.txt", "mine\n");
    world.git(&["add", "-A"]);
    let a = world.discard("a.txt", Scope::Uncommitted, None).await.unwrap();
    let new = world.discard("new.txt", Scope::Uncommitted, None).await.unwrap();
    // Somebody stages another content of the one, and the staged content of both is cleared up.
    world.git(&[
        "update-index",
        "--cacheinfo",
        &format!("100644,{},a.txt", world.git(&["rev-parse", "HEAD:b.txt"])),
    ]);
    world.git(&["gc", "-q", "--prune=now"]);
    assert_eq!(world.restore(&a).await, StatusCode::NO_CONTENT);
    assert_eq!(world.restore(&new).await, StatusCode::NO_CONTENT);
    assert_eq!(world.status(), ["MM a.txt", "?? new.txt"]);
    assert_eq!(
        (world.read("a.txt"), world.staged("a.txt")),
        ("mine\n".to_owned(), "b\n".to_owned())
    );
}

#[tokio::test]
async fn a_conflict_goes_and_returns() {
    let world = World::new().await;
    world.git(&["checkout", "-q", "-b", "work"]);
    world.write("b.txt", "ours\n");
    world.commit("ours");
    world.git(&["checkout", "-q", "main"]);
    world.write("b.txt", "theirs\n");
    world.commit("theirs");
    world.git(&["checkout", "-q", "work"]);
    assert!(!world.try_git(&world.top, &["merge", "main"]).status.success());
    let undo = world.discard("b.txt", Scope::Uncommitted, None).await.unwrap();
    assert_eq!((world.read("b.txt"), world.status()), ("ours\n".to_owned(), Vec::new()));
    assert_eq!(world.restore(&undo).await, StatusCode::NO_CONTENT);
    assert_eq!(world.status(), ["UU b.txt"]);
    assert_eq!(
        world.list(Scope::Uncommitted).await.file("b.txt").status,
        FileStatus::Conflicted
    );
}

#[tokio::test]
async fn an_index_in_parts_and_one_of_a_worktree() {
    let world = World::new().await;
    world.git(&["update-index", "--split-index"]);
    world.write("a.txt", "mine\n");
    world.write("sparse/x", "x\n");
    world.git(&["add", "-A"]);
    world.git(&["update-index", "--skip-worktree", "b.txt"]);
    let undo = world.discard("a.txt", Scope::Uncommitted, None).await.unwrap();
    assert_eq!(world.status(), ["A  sparse/x"]);
    // What else the index says stays said.
    assert_eq!(world.git(&["ls-files", "-t", "b.txt"]), "S b.txt");
    assert_eq!(world.restore(&undo).await, StatusCode::NO_CONTENT);
    assert_eq!(world.status(), ["M  a.txt", "A  sparse/x"]);
    assert_eq!(world.git(&["fsck", "--no-dangling"]), "");

    let tree = world.beside("worktree");
    world.git(&["worktree", "add", "-q", "-b", "side", tree.to_str().unwrap()]);
    let mut inside = World::bare().await;
    inside.top = tree;
    inside.write("a.txt", "in the worktree\n");
    inside.git(&["add", "-A"]);
    let undo = inside.discard("a.txt", Scope::Uncommitted, None).await.unwrap();
    assert_eq!(inside.status(), NOTHING);
    assert_eq!(inside.restore(&undo).await, StatusCode::NO_CONTENT);
    assert_eq!(inside.status(), ["M  a.txt"]);
    // The other tree's index is another one.
    assert_eq!(world.status(), ["M  a.txt", "A  sparse/x"]);
}

#[tokio::test]
async fn before_the_first_commit() {
    let world = World::bare().await;
    world.git(&["init", "-q", "-b", "main", "."]);
    world.write("a.txt", "a\n");
    world.git(&["add", "a.txt"]);
    let undo = world.discard("a.txt", Scope::Branch, None).await.unwrap();
    assert_eq!((world.status(), world.path("a.txt").exists()), (Vec::new(), false));
    assert_eq!(world.restore(&undo).await, StatusCode::NO_CONTENT);
    assert_eq!(world.status(), ["A  a.txt"]);
}
