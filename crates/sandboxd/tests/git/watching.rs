//! The tree as it changes, and the search for files.

use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use mistle_protocol::changes::{FoundFiles, WatchLine, WatchMode};

use crate::world::World;

/// Longer than a change takes to be told, and than nothing takes to be told.
const SOON: Duration = Duration::from_mins(1);
const QUIET: Duration = Duration::from_millis(700);

struct Lines<S>(S);

async fn watch(world: &World) -> Lines<impl Stream<Item = Result<Bytes, axum::Error>> + Unpin> {
    let mut lines = Lines(
        world
            .send("GET", "/git/watch", None)
            .await
            .into_body()
            .into_data_stream(),
    );
    assert_eq!(
        lines.next().await,
        WatchLine::Watching {
            mode: WatchMode::Events
        }
    );
    lines
}

impl<S: Stream<Item = Result<Bytes, axum::Error>> + Unpin> Lines<S> {
    async fn next(&mut self) -> WatchLine {
        let line = tokio::time::timeout(SOON, self.0.next())
            .await
            .expect("nothing is told");
        serde_json::from_slice(&line.unwrap().unwrap()).unwrap()
    }

    async fn changed(&mut self) {
        assert_eq!(self.next().await, WatchLine::Changed);
    }

    async fn quiet(&mut self) {
        assert!(
            tokio::time::timeout(QUIET, self.0.next()).await.is_err(),
            "something is told"
        );
    }
}

#[tokio::test]
async fn changes_are_told_and_noise_is_not() {
    let world = World::new().await;
    world.write(".gitignore", "target/\n*.log\n");
    world.write("target/deep/x", "x");
    world.write("src/lib.rs", "x\n");
    world.commit("more");
    let mut lines = watch(&world).await;
    lines.quiet().await;
    world.write("src/lib.rs", "y\n");
    lines.changed().await;
    world.write("src/new/deeper/file", "x\n");
    lines.changed().await;
    world.write("src/new/deeper/file", "y\n");
    lines.changed().await;
    world.write("target/deep/x", "y");
    world.write("target/new/x", "y");
    world.write("noise.log", "y");
    lines.quiet().await;
    // Git's own work on its files tells nothing, its results do.
    world.git(&["add", "-A"]);
    lines.changed().await;
    world.git(&["commit", "-q", "-m", "next"]);
    lines.changed().await;
    lines.quiet().await;
    world.git(&["checkout", "-q", "-b", "feature/one"]);
    lines.changed().await;
    std::fs::remove_dir_all(world.path("src")).unwrap();
    lines.changed().await;
    // Looking changes nothing.
    world.list(mistle_protocol::changes::Scope::Branch).await;
    world.snapshot().await;
    lines.quiet().await;
}

#[tokio::test]
async fn a_burst_is_told_once_and_endless_work_now_and_then() {
    let world = World::new().await;
    let mut lines = watch(&world).await;
    for n in 0..200 {
        world.write(&format!("burst/{n}"), "x");
    }
    lines.changed().await;
    lines.quiet().await;
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let path = world.path("busy");
    let busy = tokio::spawn(async move {
        let mut n = 0_u64;
        while stopped.try_recv().is_err() {
            n += 1;
            std::fs::write(&path, n.to_string()).unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    for _ in 0..3 {
        lines.changed().await;
    }
    stop.send(()).unwrap();
    busy.await.unwrap();
}

#[tokio::test]
async fn two_readers_share_a_watcher_and_an_empty_folder_is_watched_too() {
    let world = World::bare().await;
    let mut first = watch(&world).await;
    let mut second = watch(&world).await;
    world.write("a/b", "x");
    first.changed().await;
    second.changed().await;
    drop(first);
    world.write("a/b", "y");
    second.changed().await;
}

#[tokio::test]
async fn a_tree_of_too_many_folders_is_looked_at_again_and_again() {
    let world = World::watching(Some(40)).await;
    world.git(&["init", "-q", "-b", "main", "."]);
    world.write("a.txt", "a\n");
    world.commit("base");
    // As long as it is small the kernel tells.
    let mut lines = watch(&world).await;
    world.write("b.txt", "b\n");
    lines.changed().await;
    for n in 0..40 {
        world.write(&format!("{n}/x"), "x");
    }
    let rescan = loop {
        match lines.next().await {
            WatchLine::Changed => {}
            WatchLine::Watching { mode } => break mode,
        }
    };
    assert!(matches!(rescan, WatchMode::Rescan { interval_ms: 1.. }), "{rescan:?}");
    world.write("39/x", "another");
    lines.changed().await;
    let known = world
        .list(mistle_protocol::changes::Scope::Uncommitted)
        .await
        .files
        .len();
    world.write("deep/er/x", "x");
    lines.changed().await;
    world.git(&["add", "-A"]);
    lines.changed().await;
    let list = world.list(mistle_protocol::changes::Scope::Uncommitted).await;
    assert_eq!(list.files.len(), known + 1);
    // Whoever comes later is told how it is watched, first.
    drop(lines);
    let response = world.send("GET", "/git/watch", None).await;
    let mut late = Lines(response.into_body().into_data_stream());
    assert_eq!(late.next().await, WatchLine::Watching { mode: rescan });
}

async fn find(world: &World, search: &str) -> Vec<String> {
    let bytes = world.get(&format!("/files/search?q={search}")).await;
    let found: FoundFiles = serde_json::from_slice(&bytes).unwrap();
    found.files.into_iter().map(|file| file.path.text).collect()
}

#[tokio::test]
async fn files_are_found_and_forgotten() {
    let world = World::new().await;
    world.write(".gitignore", "ignored\n");
    world.write("src/session/driver.rs", "");
    world.write("ignored", "");
    assert_eq!(find(&world, "sesdr").await, ["src/session/driver.rs"]);
    assert_eq!(find(&world, "ignored").await, Vec::<String>::new());
    world.write("src/session/drive_in.rs", "");
    let appeared = async {
        while find(&world, "drivein").await.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, appeared).await.unwrap();
    std::fs::remove_file(world.path("src/session/driver.rs")).unwrap();
    assert_eq!(find(&world, "driver.rs").await, Vec::<String>::new());
    let bare = World::bare().await;
    bare.write("x/y.txt", "");
    assert_eq!(find(&bare, "y").await, ["x/y.txt"]);
}
