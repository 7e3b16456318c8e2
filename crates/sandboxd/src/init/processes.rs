//! Which processes there are besides this one.

use std::collections::BTreeMap;
use std::io;

/// A process, as `/proc/<pid>/stat` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Process {
    parent: i32,
    /// Ended and not waited for yet.
    zombie: bool,
}

/// Every process that PID 1 is responsible for: all of the sandbox, those that were put into it
/// from outside too. Run as another process than PID 1, its descendants.
pub(super) fn others() -> io::Result<Vec<i32>> {
    let own = rustix::process::getpid().as_raw_nonzero().get();
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // One that has ended since is none.
        let Some(process) = std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .ok()
            .and_then(|stat| parse(&stat))
        else {
            continue;
        };
        all.insert(pid, process);
    }
    Ok(responsible_for(own, &all))
}

/// `pid (name) state parent …`; the name may hold anything, parentheses and spaces too.
fn parse(stat: &str) -> Option<Process> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    Some(Process {
        parent,
        zombie: matches!(state, "Z" | "X"),
    })
}

fn responsible_for(own: i32, all: &BTreeMap<i32, Process>) -> Vec<i32> {
    let descends = |mut pid: i32| {
        // Bounded: the table was read while it changed, so it may hold a circle.
        for _ in 0..all.len() {
            match all.get(&pid) {
                Some(process) if process.parent == own => return true,
                Some(process) => pid = process.parent,
                None => return false,
            }
        }
        false
    };
    all.iter()
        .filter(|(pid, process)| **pid != own && !process.zombie && (own == 1 || descends(**pid)))
        .map(|(pid, _)| *pid)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_can_not_mislead() {
        assert_eq!(
            parse("7 (sh) S 1 7 7 0"),
            Some(Process {
                parent: 1,
                zombie: false
            })
        );
        assert_eq!(
            parse("7 (a) Z 9 (b)) Z 3 7"),
            Some(Process {
                parent: 3,
                zombie: true
            })
        );
        assert_eq!(parse("7 (sh"), None);
    }

    #[test]
    fn all_of_a_sandbox_or_all_descendants() {
        let process = |parent, zombie| Process { parent, zombie };
        let all = BTreeMap::from([
            (1, process(0, false)),
            (2, process(1, false)),
            (3, process(2, false)),
            (4, process(3, true)),
            (5, process(0, false)),
            (8, process(9, false)),
            (9, process(8, false)),
        ]);
        assert_eq!(responsible_for(1, &all), [2, 3, 5, 8, 9]);
        assert_eq!(responsible_for(2, &all), [3]);
        assert_eq!(responsible_for(5, &all), Vec::<i32>::new());
    }
}
