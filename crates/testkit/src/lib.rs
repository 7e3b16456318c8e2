//! What tests and measurements share: a real server in a process of its own, on a data directory
//! of its own, and the API as tests speak it.
//!
//! ```text
//! let server = TestServer::start(Setup::default()).await?;
//! let session = server.api.new_session(&repository, "run: echo hello").await?;
//! let mut live = server.api.live(session.id, 0).await?;
//! live.until(|message| is_turn_completed(message)).await?;
//! ```
//!
//! The server is a process and not a task, so that a test can kill it with signal 9.

mod api;
mod attachments;
mod exec;
mod live;
mod postgres;
mod repository;
mod server;
mod small_disk;
mod terminal;
mod wait;

pub use api::{Api, Refused};
pub use exec::{Ran, sandbox_processes};
pub use live::{Live, agent_event, event};
pub use postgres::Postgres;
pub use repository::repository;
pub use server::{Setup, TestServer, built, workspace};
pub use small_disk::{on_a_small_disk, small_disk};
pub use terminal::Terminal;
pub use wait::eventually;
