//! What is listed and shown, in every state that a repository can be in.

use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::StatusCode;
use mistle_protocol::changes::{Base, FileStatus, RepositoryState, Scope, SelfRunning};

use crate::world::{World, shown};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";

#[tokio::test]
async fn committed_and_uncommitted_and_untracked() {
    let world = World::new().await;
    world.git(&["checkout", "-q", "-b", "work"]);
    world.write("a.txt", world.read("a.txt").replace("line 3\n", "changed\nadded\n"));
    world.commit("on the branch");
    world.write("b.txt", "b\nmore\n");
    world.write("new.txt", "1\n2\n3\n");
    world.write("staged.txt", "x\n");
    world.git(&["add", "staged.txt"]);
    world.write("empty.txt", "");

    let branch = world.list(Scope::Branch).await;
    assert_eq!(
        branch.lines(),
        [
            "Modified a.txt +2 -1",
            "Modified b.txt +1 -0",
            "Untracked empty.txt +0 -0",
            "Untracked new.txt +3 -0",
            "Added staged.txt +1 -0"
        ]
    );
    let base = world.git(&["rev-parse", "main"]);
    assert_eq!(branch.head.base, Base::MergeBase { commit: base });
    assert_eq!(branch.head.branch.as_deref(), Some("work"));
    assert_eq!(branch.head.default_branch.as_deref(), Some("main"));
    assert_eq!(branch.head.state, RepositoryState::Normal);
    assert_eq!(
        (branch.totals.files, branch.totals.added, branch.totals.removed),
        (5, 7, 1)
    );

    let uncommitted = world.list(Scope::Uncommitted).await;
    assert_eq!(uncommitted.files.len(), 4);
    assert_eq!(
        uncommitted.head.base,
        Base::Head {
            commit: world.git(&["rev-parse", "HEAD"])
        }
    );
    assert_eq!(uncommitted.file("new.txt"), branch.file("new.txt"));

    // Nothing of the repository was touched.
    assert_eq!(
        world.git(&["status", "--porcelain"]),
        "M b.txt\nA  staged.txt\n?? empty.txt\n?? new.txt"
    );
}

#[tokio::test]
async fn the_diff_of_a_file() {
    let world = World::new().await;
    world.write(
        "a.txt",
        world
            .read("a.txt")
            .replace("line 5\n", "five\n")
            .replace("line 10\n", "line 10"),
    );
    let diff = world.diff("path=a.txt&scope=uncommitted&context=1").await;
    insta::assert_snapshot!(shown(&diff), @r"
    @@ 4,3 4,3
      4   4  line 4
      5     -line 5
          5 +five
      6   6  line 6
    @@ 9,2 9,2
      9   9  line 9
     10     -line 10
         10 +line 10⏎
    ");
    let all = world.diff("path=a.txt&scope=uncommitted&context=10000").await;
    assert_eq!((all.hunks.len(), all.hunks[0].lines.len()), (1, 12));
    let none = world.diff("path=b.txt").await;
    assert_eq!((none.file, none.hunks.len()), (None, 0));
}

#[tokio::test]
async fn a_file_that_appears_after_the_list_is_shown() {
    let world = World::new().await;
    world.list(Scope::Branch).await;
    world.write("late.txt", "hello\n");
    let diff = world.diff("path=late.txt").await;
    assert_eq!(shown(&diff), "@@ 0,0 1,1\n      1 +hello\n");
    assert_eq!(diff.file.unwrap().status, FileStatus::Untracked);
}

#[tokio::test]
async fn an_index_that_a_diff_saw_first_is_listed() {
    let world = World::new().await;
    world.write("loose.txt", "hello\n");
    let before = world.list(Scope::Uncommitted).await.lines();
    world.write("added.txt", "hello\n");
    world.git(&["add", "added.txt"]);
    world.git(&["commit", "-q", "-m", "another index"]);
    world.diff("path=a.txt&scope=uncommitted").await;
    assert_eq!(world.list(Scope::Uncommitted).await.lines(), before);
    // Begun with the last view, and with that of the tree as it is.
    world.write("loose2.txt", "hello\n");
    assert_eq!(world.list(Scope::Uncommitted).await.lines().len(), before.len() + 1);
}

/// Git keeps file times in seconds: what changes in the second in which the index was written looks the
/// same as before if it has the same size, and is found only because the index is no newer.
#[tokio::test]
async fn a_change_in_the_second_of_the_index_is_listed() {
    let world = World::new().await;
    let second = |path: &str| std::fs::metadata(world.path(path)).unwrap().mtime();
    loop {
        world.write("raced.txt", "one\n");
        world.write("staged.txt", "one\n");
        world.commit("another");
        world.write("staged.txt", "two\n");
        world.git(&["add", "staged.txt"]);
        world.write("raced.txt", "two\n");
        if second("raced.txt") == second(".git/index") {
            break;
        }
    }
    let after = UNIX_EPOCH + Duration::from_secs(second(".git/index").unsigned_abs() + 1);
    tokio::time::sleep(after.duration_since(SystemTime::now()).unwrap_or_default()).await;

    let both = ["Modified raced.txt +1 -1", "Modified staged.txt +1 -1"];
    let all = async || world.list(Scope::Uncommitted).await.lines();
    assert_eq!(all().await, both);
    // Writes the index anew.
    let undo = world.discard("staged.txt", Scope::Uncommitted, None).await.unwrap();
    assert_eq!(all().await, both[..1]);
    assert!(world.restore(&undo).await.is_success());
    assert_eq!(all().await, both);
    assert_eq!(world.git(&["diff", "--name-only"]), "raced.txt");
}

#[tokio::test]
async fn every_kind_of_change() {
    let world = World::new().await;
    let long = (0..50).fold(String::new(), |text, n| text + &n.to_string() + "\n");
    world.write("old name.txt", &long);
    world.write("moved.txt", long.replace("7\n", "seven\n"));
    world.write("gone.txt", "gone\n");
    world.write("run.sh", "echo\n");
    world.write("picture.png", PNG);
    world.write("kind.txt", "a file\n");
    std::os::unix::fs::symlink("a.txt", world.path("link")).unwrap();
    world.commit("more");

    std::fs::rename(world.path("old name.txt"), world.path("new name.txt")).unwrap();
    std::fs::remove_file(world.path("gone.txt")).unwrap();
    std::fs::set_permissions(
        world.path("run.sh"),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    world.write("picture.png", [PNG, b"more"].concat());
    std::fs::remove_file(world.path("link")).unwrap();
    std::os::unix::fs::symlink("b.txt", world.path("link")).unwrap();
    std::fs::remove_file(world.path("kind.txt")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", world.path("kind.txt")).unwrap();
    world.write(".github/workflows/ci.yml", "on: push\n");
    world.write("Cargo.lock", "x\n");

    let list = world.list(Scope::Uncommitted).await;
    insta::assert_snapshot!(list.lines().join("\n"), @r"
    Untracked .github/workflows/ci.yml +1 -0
    Untracked Cargo.lock +1 -0
    Deleted gone.txt +0 -1
    TypeChanged kind.txt +1 -1
    Modified link +1 -1
    Renamed old name.txt → new name.txt +0 -0
    Modified picture.png +? -?
    ModeChanged run.sh +0 -0
    ");
    assert!(list.file("new name.txt").untracked);
    assert!(list.file("Cargo.lock").generated);
    assert_eq!(
        list.file(".github/workflows/ci.yml").self_running,
        Some(SelfRunning::Ci)
    );
    assert_eq!(
        (list.file("run.sh").old_mode, list.file("run.sh").new_mode),
        (0o100_644, 0o100_755)
    );

    let renamed = world
        .diff("scope=uncommitted&path=new%20name.txt&old_path=old%20name.txt")
        .await;
    assert_eq!(renamed.file.as_ref(), Some(list.file("new name.txt")));
    // The target of a link is shown, never what it leads to.
    let link = world.diff("scope=uncommitted&path=kind.txt").await;
    assert!(shown(&link).contains("+/etc/passwd⏎"), "{}", shown(&link));
    assert_eq!(
        &world.get("/git/blob?scope=uncommitted&path=kind.txt&side=new").await[..],
        b"/etc/passwd"
    );

    let picture = world.diff("scope=uncommitted&path=picture.png").await;
    let image = picture.image.unwrap();
    assert!(image.old && image.new && picture.file.unwrap().binary);
    for (side, content) in [("old", PNG.to_vec()), ("new", [PNG, b"more"].concat())] {
        let response = world
            .send(
                "GET",
                &format!("/git/blob?scope=uncommitted&path=picture.png&side={side}"),
                None,
            )
            .await;
        assert_eq!(response.headers()["content-type"], "image/png");
        let bytes = http_body_util::BodyExt::collect(response.into_body())
            .await
            .unwrap()
            .to_bytes();
        assert_eq!(bytes, content);
    }
    let absent = world
        .send("GET", "/git/blob?scope=uncommitted&path=gone.txt&side=new", None)
        .await;
    assert_eq!(absent.status(), StatusCode::NOT_FOUND);
    let absent = world
        .send("GET", "/git/blob?scope=uncommitted&path=Cargo.lock&side=old", None)
        .await;
    assert_eq!(absent.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn names_and_contents_that_are_not_utf8() {
    let world = World::new().await;
    world.write_bytes(b"caf\xe9 \"q\"\n\t.txt", b"gr\xfc\xdfe\n");
    world.commit("odd");
    world.write_bytes(b"caf\xe9 \"q\"\n\t.txt", b"gr\xfc\xdfe\nmore\n");
    world.write_bytes(b"dir\xff/new", "x\n");
    let list = world.list(Scope::Uncommitted).await;
    assert_eq!(list.files.len(), 2);
    let odd = &list.files[0];
    assert_eq!(odd.path.to_bytes().unwrap(), b"caf\xe9 \"q\"\n\t.txt");
    assert_eq!((odd.added, odd.removed), (Some(1), Some(0)));
    let bytes = odd
        .path
        .bytes
        .clone()
        .unwrap()
        .replace('+', "%2B")
        .replace('/', "%2F")
        .replace('=', "%3D");
    let diff = world.diff(&format!("scope=uncommitted&path_bytes={bytes}")).await;
    assert_eq!(diff.file.as_ref(), Some(odd));
    assert_eq!(
        shown(&diff),
        "@@ 1,1 1,2\n  1   1  gr\u{fffd}\u{fffd}e\n      2 +more\n"
    );
    let content = world
        .get(&format!("/git/blob?scope=uncommitted&path_bytes={bytes}&side=new"))
        .await;
    assert_eq!(&content[..], b"gr\xfc\xdfe\nmore\n");
}

#[tokio::test]
async fn line_ends_are_told_apart() {
    let world = World::new().await;
    world.write("dos.txt", "one\r\ntwo\r\n");
    world.commit("dos");
    world.write("dos.txt", "one\r\nTWO\r\n");
    let diff = world.diff("scope=uncommitted&path=dos.txt").await;
    assert_eq!(
        shown(&diff),
        "@@ 1,2 1,2\n  1   1  one\r\n  2     -two\r\n      2 +TWO\r\n"
    );
    // With an attribute that makes git convert them, the tree's line ends are no change.
    world.write(".gitattributes", "*.txt text eol=crlf\n");
    world.write("x.txt", "a\r\nb\r\n");
    world.commit("with attribute");
    world.write("x.txt", "a\r\nb\r\nc\r\n");
    assert_eq!(world.list(Scope::Uncommitted).await.lines(), ["Modified x.txt +1 -0"]);
}

#[tokio::test]
async fn white_space_need_not_count() {
    let world = World::new().await;
    world.write("b.txt", "  b\n");
    world.write(
        "a.txt",
        world
            .read("a.txt")
            .replace("line 2", "line  2")
            .replace("line 9", "nine"),
    );
    assert_eq!(world.list_with("scope=uncommitted").await.files.len(), 2);
    let list = world.list_with("scope=uncommitted&ignore_whitespace=1").await;
    assert_eq!(list.lines(), ["Modified a.txt +1 -1"]);
}

#[tokio::test]
async fn an_empty_repository() {
    let world = World::bare().await;
    world.git(&["init", "-q", "-b", "main", "."]);
    let empty = world.list(Scope::Branch).await;
    assert_eq!(
        (empty.head.state, empty.head.base.clone(), empty.files.len()),
        (RepositoryState::Empty, Base::Empty, 0)
    );
    world.write("a.txt", "a\n");
    world.write("b.txt", "b\n");
    world.git(&["add", "a.txt"]);
    let list = world.list(Scope::Branch).await;
    assert_eq!(list.lines(), ["Added a.txt +1 -0", "Untracked b.txt +1 -0"]);
    assert_eq!(list.head.branch.as_deref(), Some("main"));
    assert_eq!(shown(&world.diff("path=b.txt").await), "@@ 0,0 1,1\n      1 +b\n");
}

#[tokio::test]
async fn no_repository() {
    let world = World::bare().await;
    let list = world.list(Scope::Branch).await;
    assert_eq!((list.head.repository, list.files.len()), (None, 0));
    assert_eq!(
        world.send("GET", "/git/diff?path=x", None).await.status(),
        StatusCode::CONFLICT
    );
    world.snapshot().await;
}

#[tokio::test]
async fn the_default_branch_is_what_the_remote_says() {
    let world = World::new().await;
    let clone = world.beside("clone");
    world.git(&["checkout", "-q", "-b", "release"]);
    world.commit("release");
    world.git(&["clone", "-q", ".", clone.to_str().unwrap()]);
    let mut inside = World::bare().await;
    inside.top = clone;
    inside.git(&["checkout", "-q", "-b", "topic"]);
    inside.write("b.txt", "changed\n");
    inside.commit("topic");
    let list = inside.list(Scope::Branch).await;
    assert_eq!(list.head.default_branch.as_deref(), Some("origin/release"));
    assert_eq!(list.lines(), ["Modified b.txt +1 -1"]);
    inside.git(&["remote", "set-head", "origin", "-d"]);
    assert_eq!(
        inside.list(Scope::Branch).await.head.default_branch.as_deref(),
        Some("origin/main")
    );
}

#[tokio::test]
async fn no_default_branch_and_no_common_commit() {
    let world = World::new().await;
    world.git(&["branch", "-m", "main", "other"]);
    world.write("b.txt", "changed\n");
    let list = world.list(Scope::Branch).await;
    assert_eq!(list.head.default_branch, None);
    assert_eq!(
        list.head.base,
        Base::Head {
            commit: world.git(&["rev-parse", "HEAD"])
        }
    );
    assert_eq!(list.lines(), ["Modified b.txt +1 -1"]);
    world.git(&["checkout", "-q", "--orphan", "main"]);
    world.commit("unrelated");
    world.git(&["checkout", "-q", "other"]);
    let list = world.list(Scope::Branch).await;
    assert_eq!(list.head.default_branch.as_deref(), Some("main"));
    assert_eq!(
        list.head.base,
        Base::Head {
            commit: world.git(&["rev-parse", "HEAD"])
        }
    );
}

#[tokio::test]
async fn a_detached_head() {
    let world = World::new().await;
    world.git(&["checkout", "-q", "--detach"]);
    world.write("b.txt", "changed\n");
    let list = world.list(Scope::Branch).await;
    assert_eq!(
        (list.head.state, list.head.branch.clone()),
        (RepositoryState::Detached, None)
    );
    assert_eq!(list.files.len(), 1);
}

async fn in_conflict(command: &str) -> World {
    let world = World::new().await;
    world.git(&["checkout", "-q", "-b", "work"]);
    world.write("b.txt", "ours\n");
    world.commit("ours");
    world.git(&["checkout", "-q", "main"]);
    world.write("b.txt", "theirs\n");
    world.commit("theirs");
    world.git(&["checkout", "-q", "work"]);
    assert!(!world.try_git(&world.top, &[command, "main"]).status.success());
    world
}

#[tokio::test]
async fn a_merge_with_a_conflict() {
    let world = in_conflict("merge").await;
    let list = world.list(Scope::Uncommitted).await;
    assert_eq!(list.head.state, RepositoryState::Merging);
    assert_eq!(list.lines(), ["Conflicted b.txt +4 -0"]);
    let diff = world.diff("scope=uncommitted&path=b.txt").await;
    assert_eq!(diff.file.as_ref(), Some(list.file("b.txt")));
    assert!(shown(&diff).contains("+<<<<<<<"), "{}", shown(&diff));
}

#[tokio::test]
async fn a_rebase_in_progress() {
    let world = in_conflict("rebase").await;
    let list = world.list(Scope::Branch).await;
    assert_eq!(
        (list.head.state, list.head.branch.as_deref()),
        (RepositoryState::Rebasing, Some("work"))
    );
    assert_eq!(list.files[0].status, FileStatus::Conflicted);
}

#[tokio::test]
async fn a_worktree_and_a_submodule() {
    let world = World::new().await;
    let library = world.beside("library");
    std::fs::create_dir(&library).unwrap();
    world.git_in(&library, &["init", "-q", "-b", "main"]);
    std::fs::write(library.join("x"), "x\n").unwrap();
    world.git_in(&library, &["add", "-A"]);
    world.git_in(&library, &["commit", "-q", "-m", "library"]);
    world.git(&["submodule", "add", "-q", library.to_str().unwrap(), "lib"]);
    world.commit("with a submodule");
    std::fs::write(world.path("lib/x"), "dirty\n").unwrap();
    // What is dirty in it is its own affair.
    assert_eq!(world.list(Scope::Uncommitted).await.lines(), Vec::<String>::new());
    world.git_in(&world.path("lib"), &["commit", "-q", "-a", "-m", "next"]);
    let list = world.list(Scope::Uncommitted).await;
    assert_eq!(list.lines(), ["Submodule lib +? -?"]);
    let change = world.diff("scope=uncommitted&path=lib").await.submodule.unwrap();
    assert_eq!(
        change.new.unwrap(),
        world.git_in(&world.path("lib"), &["rev-parse", "HEAD"])
    );
    // In it, it is a repository like others.
    let mut inside = World::bare().await;
    inside.top = world.path("lib");
    std::fs::write(world.path("lib/x"), "again\n").unwrap();
    assert_eq!(inside.list(Scope::Uncommitted).await.lines(), ["Modified x +1 -1"]);

    let tree = world.beside("worktree");
    world.git(&["worktree", "add", "-q", "-b", "side", tree.to_str().unwrap()]);
    inside.top = tree.clone();
    std::fs::write(tree.join("b.txt"), "in the worktree\n").unwrap();
    let list = inside.list(Scope::Branch).await;
    assert_eq!(
        (list.head.branch.as_deref(), list.lines()),
        (Some("side"), vec!["Modified b.txt +1 -1".to_owned()])
    );
    // A repository that git does not know is one line.
    std::fs::create_dir(world.path("nested")).unwrap();
    world.git_in(&world.path("nested"), &["init", "-q"]);
    std::fs::write(world.path("nested/file"), "x").unwrap();
    assert!(
        world
            .list(Scope::Uncommitted)
            .await
            .lines()
            .contains(&"Submodule nested +? -?".to_owned())
    );
}

#[tokio::test]
async fn a_huge_diff_is_folded_and_bounded() {
    let world = World::new().await;
    let line = "x".repeat(99) + "\n";
    world.write("big.txt", line.repeat(60_000));
    world.write("wide.txt", "y".repeat(1_000_000));
    let list = world.list(Scope::Uncommitted).await;
    assert_eq!(list.file("big.txt").added, Some(60_000));
    let folded = world.diff("scope=uncommitted&path=big.txt").await;
    assert_eq!((folded.hunks.len(), folded.folded.unwrap().lines), (0, 60_000));
    let full = world.diff("scope=uncommitted&path=big.txt&full=1").await;
    assert!(full.truncated && full.hunks[0].lines.len() > 40_000);
    let wide = world.diff("scope=uncommitted&path=wide.txt").await;
    let only = &wide.hunks[0].lines[0];
    assert!(only.cut && only.no_newline && only.text.len() < 20_000);
    // Beyond what git reads whole.
    std::fs::File::create(world.path("huge.bin"))
        .unwrap()
        .set_len(3 << 30)
        .unwrap();
    let list = world.list(Scope::Uncommitted).await;
    assert_eq!(
        (list.file("huge.bin").binary, list.file("huge.bin").size),
        (true, Some(3 << 30))
    );
}

#[tokio::test]
async fn what_a_program_wrote_is_told_by_attributes_and_first_lines() {
    let world = World::new().await;
    let large = "x = 1;\n".repeat(500);
    world.write(
        ".gitattributes",
        "*.gen.txt linguist-generated\nthird/** linguist-vendored=true\nmine.lock -linguist-generated\nCargo.lock linguist-generated=false\n",
    );
    world.write("sub/.gitattributes", "api.txt linguist-generated\n");
    world.commit("attributes");
    world.write("large.gen.txt", &large);
    world.write("small.gen.txt", "x\n");
    world.write("third/large.txt", &large);
    world.write("Cargo.lock", &large);
    world.write(
        "marked.txt",
        format!("// Code generated by a tool. DO NOT EDIT.\n{large}"),
    );
    world.write("written.txt", &large);
    world.write("sub/api.txt", "x\n");
    world.write("vendor/x.go", "x\n");
    let list = world.list(Scope::Uncommitted).await;
    for (path, listed, alone) in [
        ("large.gen.txt", true, true),
        ("third/large.txt", true, true),
        ("Cargo.lock", false, false),
        ("marked.txt", true, true),
        ("written.txt", false, false),
        ("vendor/x.go", true, true),
        // Small ones are looked into when they are opened.
        ("small.gen.txt", false, true),
        ("sub/api.txt", false, true),
    ] {
        assert_eq!(list.file(path).generated, listed, "{path}");
        let diff = world.diff(&format!("scope=uncommitted&path={path}")).await;
        assert_eq!(diff.file.unwrap().generated, alone, "{path}");
    }
}

#[tokio::test]
async fn two_thousand_files() {
    let world = World::new().await;
    for n in 0..2000 {
        world.write(&format!("d{}/f{n}", n % 40), format!("{n}\n"));
    }
    world.commit("many");
    for n in 0..2000 {
        world.write(&format!("d{}/f{n}", n % 40), format!("{n} changed\n"));
    }
    let list = world.list(Scope::Uncommitted).await;
    assert_eq!(
        (list.files.len(), list.totals.added, list.totals.truncated),
        (2000, 2000, false)
    );
    let mut sorted = list.files.clone();
    sorted.sort_by(|a, b| a.path.cmp(&b.path));
    assert_eq!(sorted, list.files);
}

#[tokio::test]
async fn a_fingerprint_changes_with_the_content_alone() {
    let world = World::new().await;
    world.write("b.txt", "one\n");
    world.write("n.txt", "one\n");
    let fingerprints = async || {
        let list = world.list(Scope::Uncommitted).await;
        ["b.txt", "n.txt"].map(|path| list.file(path).fingerprint.clone())
    };
    let before = fingerprints().await;
    world.write("b.txt", "one\n");
    world.write("n.txt", "one\n");
    assert_eq!(fingerprints().await, before);
    world.write("b.txt", "two\n");
    world.write("n.txt", "two\n");
    let after = fingerprints().await;
    assert!(after[0] != before[0] && after[1] != before[1]);
}

#[tokio::test]
async fn a_fingerprint_stands_for_what_the_content_is_compared_with() {
    let world = World::new().await;
    world.git(&["checkout", "-q", "-b", "work"]);
    world.write("a.txt", "committed\n");
    world.commit("on the branch");
    world.write("a.txt", "two\n");
    world.write("b.txt", "one\n");
    let branch = world.list(Scope::Branch).await;
    let uncommitted = world.list(Scope::Uncommitted).await;
    let both = |path| [&branch, &uncommitted].map(|list| list.file(path).fingerprint.clone());
    let [whole, last] = both("a.txt");
    assert_ne!(whole, last);
    let [whole, last] = both("b.txt");
    assert_eq!(whole, last);
}

#[tokio::test]
async fn the_patch_can_be_applied() {
    let world = World::new().await;
    world.write("a.txt", "changed\n");
    world.write("bin", b"\0\x01\x02");
    world.write_bytes(b"caf\xe9", "x");
    std::fs::remove_file(world.path("b.txt")).unwrap();
    let patch = world.get("/git/patch?scope=uncommitted").await;
    let file = world.beside("changes.patch");
    std::fs::write(&file, &patch).unwrap();
    let other = world.beside("other");
    world.git(&["clone", "-q", ".", other.to_str().unwrap()]);
    world.git_in(&other, &["apply", file.to_str().unwrap()]);
    assert_eq!(std::fs::read(other.join("bin")).unwrap(), b"\0\x01\x02");
    assert!(!other.join("b.txt").exists());
}

#[tokio::test]
async fn wrong_requests_are_refused() {
    let world = World::new().await;
    for query in [
        "path=../x",
        "path=/etc/passwd",
        "path=",
        "path_bytes=%21",
        "path=a&old_path=../b",
    ] {
        let status = world.send("GET", &format!("/git/diff?{query}"), None).await.status();
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{query}");
    }
    for query in ["scope=x", "ignore_whitespace=2"] {
        assert_eq!(
            world.send("GET", &format!("/git/changes?{query}"), None).await.status(),
            StatusCode::BAD_REQUEST,
            "{query}"
        );
    }
    // A file below a link that leads out of the tree is not read.
    std::os::unix::fs::symlink("/etc", world.path("out")).unwrap();
    assert_eq!(
        world
            .send("GET", "/git/blob?path=out/passwd&side=new", None)
            .await
            .status(),
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn a_hook_is_listed_though_no_diff_shows_it() {
    let world = World::new().await;
    world.write(".git/hooks/pre-push", "#!/bin/sh\ncurl example.org\n");
    world.write(".git/hooks/commit-msg.sample", "#!/bin/sh\n");
    world.write(".git/hooks/notes", "not executable\n");
    for name in ["pre-push", "commit-msg.sample"] {
        let path = world.path(".git/hooks").join(name);
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let list = world.list(Scope::Branch).await;
    assert_eq!(list.lines(), ["Untracked .git/hooks/pre-push +2 -0"]);
    assert_eq!(list.files[0].self_running, Some(SelfRunning::GitHook));
    let diff = world.diff("scope=branch&path=.git/hooks/pre-push").await;
    assert_eq!(
        shown(&diff),
        "@@ 0,0 1,2\n      1 +#!/bin/sh\n      2 +curl example.org\n"
    );
    let undo = world.discard(".git/hooks/pre-push", Scope::Branch, None).await.unwrap();
    assert!(!world.path(".git/hooks/pre-push").exists());
    assert!(world.restore(&undo).await.is_success());
    assert_eq!(world.list(Scope::Uncommitted).await.files.len(), 1);
}
