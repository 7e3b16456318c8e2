//! What changed since the last turn.

use mistle_protocol::changes::{Base, Scope};

use crate::world::{World, shown};

#[tokio::test]
async fn only_what_the_turn_did() {
    let world = World::new().await;
    assert_eq!(world.list(Scope::LastTurn).await.head.base, Base::None);
    world.write("a.txt", "before the turn\n");
    world.write("untracked.txt", "before\n");
    world.git(&["add", "a.txt"]);
    let status = world.git(&["status", "--porcelain"]);
    let objects = world.git(&["count-objects", "-v"]);
    world.snapshot().await;
    assert_eq!(world.git(&["status", "--porcelain"]), status);
    assert_eq!(world.git(&["count-objects", "-v"]), objects);
    assert_eq!(world.list(Scope::LastTurn).await.lines(), Vec::<String>::new());

    world.write("untracked.txt", "before\nduring\n");
    world.write("b.txt", "during\n");
    world.write("new.txt", "during\n");
    let list = world.list(Scope::LastTurn).await;
    assert_eq!(
        list.lines(),
        [
            "Modified b.txt +1 -1",
            "Untracked new.txt +1 -0",
            "Modified untracked.txt +1 -0"
        ]
    );
    assert!(matches!(list.head.base, Base::Turn { .. }));
    let diff = world.diff("scope=last_turn&path=untracked.txt").await;
    assert_eq!(shown(&diff), "@@ 1,1 1,2\n  1   1  before\n      2 +during\n");
    // A commit in the turn takes nothing away.
    world.commit("in the turn");
    assert_eq!(world.list(Scope::LastTurn).await.files.len(), 3);

    for _ in 0..3 {
        world.snapshot().await;
        assert_eq!(world.list(Scope::LastTurn).await.files.len(), 0);
    }
}

#[tokio::test]
async fn turn_after_turn_on_the_same_index() {
    let world = World::new().await;
    let lines = async || world.list(Scope::LastTurn).await.lines();
    world.write("a.txt", "one\n");
    world.write("kept.txt", "one\n");
    world.write("built.txt", "one\n");
    world.snapshot().await;
    std::fs::remove_file(world.path("b.txt")).unwrap();
    std::fs::remove_file(world.path("kept.txt")).unwrap();
    world.write("a.txt", "one\ntwo\n");
    assert_eq!(
        lines().await,
        ["Modified a.txt +1 -0", "Deleted b.txt +0 -1", "Deleted kept.txt +0 -1"]
    );
    world.snapshot().await;
    assert_eq!(lines().await, Vec::<String>::new());
    // What was gone is back, and what was not ignored is.
    world.write("b.txt", "again\n");
    world.write("kept.txt", "again\n");
    world.write(".gitignore", "built.txt\n");
    world.snapshot().await;
    assert_eq!(lines().await, Vec::<String>::new());
    world.write("b.txt", "again\nand again\n");
    world.write("kept.txt", "again\nand again\n");
    assert_eq!(lines().await, ["Modified b.txt +1 -0", "Modified kept.txt +1 -0"]);
}

#[tokio::test]
async fn large_files_are_noted_and_not_copied() {
    let world = World::new().await;
    std::fs::write(world.path("large"), vec![0_u8; 9 << 20]).unwrap();
    std::fs::write(world.path("other"), vec![0_u8; 9 << 20]).unwrap();
    world.snapshot().await;
    assert_eq!(world.list(Scope::LastTurn).await.files.len(), 0);
    std::fs::write(world.path("other"), vec![1_u8; 9 << 20]).unwrap();
    let list = world.list(Scope::LastTurn).await;
    assert_eq!(list.files.len(), 1);
    assert_eq!(list.files[0].path.text, "other");
}

#[tokio::test]
async fn in_the_middle_of_a_conflict_and_without_a_commit() {
    let world = World::bare().await;
    world.git(&["init", "-q", "."]);
    world.snapshot().await;
    world.write("x", "x\n");
    assert_eq!(world.list(Scope::LastTurn).await.lines(), ["Untracked x +1 -0"]);
}
