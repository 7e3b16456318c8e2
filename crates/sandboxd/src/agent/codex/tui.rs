//! Codex' own terminal interface, as one more client of the app-server's live thread.
//!
//! It shows what the thread says, whoever asked for it, and what is typed in it becomes turns of
//! the same thread; a pending approval shows in it too, and the first answer counts. Leaving it
//! ends a client and nothing else. Found by trial with 0.169.0: it takes the app-server's own
//! `unix://PATH`, and the one thing that stands between a person and the thread is a page that
//! offers a newer model. That page counts as seen for every pair that is named in its arguments.
//!
//! An open one takes the folder of its thread: when that is changed through `thread/settings/update`,
//! the next turn that is typed runs there, and what is half typed stays. A thread that is begun in
//! it (`/new`) starts in the folder of its arguments, so such a thread is moved as soon as it is
//! told of, which is before anything can be typed in it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use mistle_protocol::plan::Plan;

use super::super::runtime::Interface;
use super::{config, process};

/// Models, and the one that Codex offers instead of each.
pub(super) type Upgrades = BTreeMap<String, String>;

/// What the interface is started with.
#[derive(Debug)]
pub(super) struct Tui {
    pub(super) home: PathBuf,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) upgrades: Upgrades,
}

impl Tui {
    pub(super) fn interface(&self, plan: &Plan, thread: &str) -> Interface {
        let argv = [
            &plan.runtime.program,
            "resume",
            "--remote",
            &process::endpoint(&self.home),
            "-C",
            &plan.cwd,
            "-c",
            &seen(&self.upgrades),
            "--",
            thread,
        ];
        Interface {
            argv: argv.map(str::to_owned).into(),
            environment: process::environment(&self.home, &self.environment),
            cwd: plan.cwd.clone(),
        }
    }
}

/// That a person knows of newer models.
fn seen(upgrades: &Upgrades) -> String {
    let pairs: Vec<String> = upgrades
        .iter()
        .map(|(from, to)| format!("{} = {}", config::quote(from), config::quote(to)))
        .collect();
    format!("notice.model_migrations={{ {} }}", pairs.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_names_stay_inside_their_quotes() {
        let upgrades = Upgrades::from([("gpt-5.5".to_owned(), "a\" b".to_owned())]);
        assert_eq!(seen(&upgrades), r#"notice.model_migrations={ "gpt-5.5" = "a\" b" }"#);
    }
}
