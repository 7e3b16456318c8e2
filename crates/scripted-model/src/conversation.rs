//! What a request says, whatever API it came through, and which turn it belongs to.
//!
//! A turn begins with a message of the person and ends with an answer that calls no tool. Agents
//! send the whole conversation each time, so everything follows from its entries:
//!
//! ```text
//! user A · call · output · user B · (now)      B was added to A's turn
//! user A · call · output · answer · user B     B begins a turn
//! user A · call · output · aborted · user B    B begins a turn
//! user A · user B                              B begins a turn
//! ```
//!
//! A turn that died of an error leaves the first shape too, and Codex leaves the last one when B was
//! added while it heard the answer to A. Its ids tell which it is: they are `UUIDv7`, and a message
//! that is younger than the turn's id belongs to that turn.

use std::sync::LazyLock;

use regex::Regex;

use crate::tools::Tools;

/// What a request asks, in words that are common to the APIs.
#[derive(Debug, Default)]
pub(crate) struct Request {
    /// The model's name.
    pub(crate) model: String,
    /// Whether the answer is streamed.
    pub(crate) stream: bool,
    /// The conversation, oldest first.
    pub(crate) entries: Vec<Entry>,
    /// What the agent can do.
    pub(crate) tools: Tools,
    /// When the turn began, in milliseconds since 1970, where the agent says it.
    pub(crate) turn_began_ms: Option<u64>,
    /// How long the request is, in bytes; the base of the token estimate.
    pub(crate) bytes: usize,
}

/// What Codex answers for a call that was never carried out. A turn that goes on behind it makes the
/// call again.
const ABORTED: &str = "aborted";

/// One thing that was said or done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// The person said something; with the time in milliseconds, where it is known.
    User(String, Option<u64>),
    /// The model said something.
    Assistant,
    /// The model called a tool.
    Call,
    /// A tool answered.
    Output(String),
    /// The person interrupted the turn.
    Aborted,
}

/// The turn that a request is part of.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Turn<'a> {
    /// The message that began it.
    pub(crate) prompt: &'a str,
    /// What the tools answered since.
    pub(crate) outputs: Vec<&'a str>,
    /// What the person added and was not answered yet.
    pub(crate) added: Vec<&'a str>,
    /// What the person said in earlier turns, oldest first.
    pub(crate) earlier: Vec<&'a str>,
}

impl Request {
    /// The turn; its prompt is empty when the person said nothing.
    pub(crate) fn turn(&self) -> Turn<'_> {
        let (start, continues) = self.start();
        let before = &self.entries[..start];
        let since = &self.entries[start..];
        let answered = since
            .iter()
            .rposition(|entry| matches!(entry, Entry::Assistant | Entry::Call));
        let unanswered = answered.map_or(usize::from(!continues), |last| last + 1);
        Turn {
            prompt: since.first().and_then(Entry::said).unwrap_or_default(),
            outputs: since
                .iter()
                .filter_map(Entry::output)
                .filter(|text| *text != ABORTED)
                .collect(),
            added: since.iter().skip(unanswered).filter_map(Entry::said).collect(),
            earlier: before.iter().filter_map(Entry::said).collect(),
        }
    }

    /// Where the turn begins, and whether it continues one that the person added to after its
    /// last answer.
    fn start(&self) -> (usize, bool) {
        let mut start = self.entries.len();
        for (index, entry) in self.entries.iter().enumerate() {
            if entry.said().is_none() {
                continue;
            }
            let before = self.entries[..index].iter().rev().find(|entry| entry.said().is_none());
            if start == self.entries.len() || !matches!(before, Some(Entry::Output(_) | Entry::Call)) {
                start = index;
            }
        }
        let in_turn = |entry: &Entry| matches!((entry, self.turn_began_ms), (Entry::User(_, Some(at)), Some(began)) if *at >= began);
        let Some(first) = self.entries.iter().position(in_turn) else {
            return (start, false);
        };
        if start < first {
            return (first, false);
        }
        // Codex drops an answer that is being written when something is added, so messages that
        // stand side by side are one that began something and what was added to it.
        while start > first && self.entries[start - 1].said().is_some() {
            start -= 1;
        }
        (
            start,
            start > first && matches!(self.entries[start - 1], Entry::Assistant),
        )
    }
}

impl Entry {
    fn said(&self) -> Option<&str> {
        match self {
            Self::User(text, _) => Some(text),
            _ => None,
        }
    }

    fn output(&self) -> Option<&str> {
        match self {
            Self::Output(text) => Some(text),
            _ => None,
        }
    }
}

/// A remark of the agent that comes as a user message: one element around everything.
static WRAPPED: LazyLock<Regex> = LazyLock::new(|| literal(r"(?s)^\s*<([a-zA-Z_-]+)[^>]*>.*</([a-zA-Z_-]+)>\s*$"));
/// Remarks inside a message.
static REMINDER: LazyLock<Regex> = LazyLock::new(|| literal(r"(?s)<system-reminder>.*?</system-reminder>"));

#[expect(clippy::unwrap_used, reason = "the patterns are literals and tests use each of them")]
fn literal(pattern: &str) -> Regex {
    Regex::new(pattern).unwrap()
}

/// Adds one part of a user message, unless it is a remark of the agent. Parts of one message are
/// joined.
pub(crate) fn add_user_part(entries: &mut Vec<Entry>, text: &str, at: Option<u64>, continues_message: bool) {
    let text = REMINDER.replace_all(text, "");
    if text.trim_start().starts_with("<turn_aborted>") {
        entries.push(Entry::Aborted);
        return;
    }
    let wrapped = WRAPPED
        .captures(&text)
        .is_some_and(|captures| captures[1] == captures[2]);
    // Codex puts an image between these.
    let image = text.trim_start().starts_with("<image ") || text.trim() == "</image>";
    if wrapped || image || text.trim().is_empty() || text.trim_start().starts_with("# AGENTS.md instructions") {
        return;
    }
    match entries.last_mut() {
        Some(Entry::User(before, _)) if continues_message => {
            before.push('\n');
            before.push_str(text.trim());
        }
        _ => entries.push(Entry::User(text.trim().to_owned(), at)),
    }
}

/// What a message says that is nothing but images.
const IMAGES_ALONE: &str = "describe the images";

/// Adds what is seen on a user message's images to it, in lines of their own.
pub(crate) fn add_images(entries: &mut Vec<Entry>, images: &[String], at: Option<u64>) {
    if images.is_empty() {
        return;
    }
    let lines = images
        .iter()
        .fold(String::new(), |lines, image| lines + "\n" + IMAGE_LINE + image);
    match entries.last_mut() {
        Some(Entry::User(text, said_at)) if *said_at == at => text.push_str(&lines),
        _ => entries.push(Entry::User(format!("{IMAGES_ALONE}{lines}"), at)),
    }
}

/// What a line begins with that says what is seen on an image.
const IMAGE_LINE: &str = "\u{1}image ";
/// The line before the paths of files that came with a message.
const FILES_LINE: &str = "Attached files:";

/// A message taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Said<'a> {
    /// What the person wrote.
    pub(crate) text: &'a str,
    /// Paths of the files that came with it.
    pub(crate) files: Vec<&'a str>,
    /// What is seen on its images.
    pub(crate) images: Vec<&'a str>,
}

/// Takes a message apart into its text, its files and its images.
pub(crate) fn take_apart(message: &str) -> Said<'_> {
    let (text, images) = message.find("\n\u{1}").map_or((message, ""), |at| message.split_at(at));
    let files_at = text
        .rfind(FILES_LINE)
        .filter(|at| *at == 0 || text[..*at].ends_with("\n\n"));
    let (text, files) = files_at.map_or((text, ""), |at| text.split_at(at));
    Said {
        text: text.trim_end(),
        files: files
            .lines()
            .filter_map(|line| line.strip_prefix("- "))
            .map(|file| file.rsplit_once(" (").map_or(file, |(path, _)| path))
            .collect(),
        images: images
            .lines()
            .filter_map(|line| line.strip_prefix(IMAGE_LINE))
            .collect(),
    }
}

/// The time inside a `UUIDv7`, whatever stands before it, in milliseconds since 1970.
pub(crate) fn uuid_v7_ms(id: &str) -> Option<u64> {
    let uuid = id.rsplit('_').next()?;
    let mut parts = uuid.split('-');
    let (high, low, version) = (parts.next()?, parts.next()?, parts.next()?);
    let timely = high.len() == 8 && low.len() == 4 && version.starts_with('7');
    timely
        .then(|| u64::from_str_radix(&format!("{high}{low}"), 16).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(text: &str) -> Entry {
        Entry::User(text.to_owned(), None)
    }

    fn output(text: &str) -> Entry {
        Entry::Output(text.to_owned())
    }

    fn request(entries: Vec<Entry>) -> Request {
        Request {
            entries,
            ..Request::default()
        }
    }

    #[test]
    fn an_answer_ends_a_turn() {
        let request = request(vec![
            user("a"),
            Entry::Call,
            output("1"),
            Entry::Assistant,
            user("b"),
            Entry::Call,
            output("2"),
        ]);
        assert_eq!(
            request.turn(),
            Turn {
                prompt: "b",
                outputs: vec!["2"],
                added: vec![],
                earlier: vec!["a"]
            }
        );
    }

    #[test]
    fn a_message_after_an_output_is_added() {
        let mut request = request(vec![
            user("a"),
            Entry::Assistant,
            Entry::Call,
            output("1"),
            user("b"),
            user("c"),
        ]);
        assert_eq!(
            request.turn(),
            Turn {
                prompt: "a",
                outputs: vec!["1"],
                added: vec!["b", "c"],
                earlier: vec![]
            }
        );
        request.entries.extend([Entry::Assistant, Entry::Call, output("2")]);
        assert_eq!(
            request.turn(),
            Turn {
                prompt: "a",
                outputs: vec!["1", "2"],
                added: vec![],
                earlier: vec![]
            }
        );
    }

    #[test]
    fn a_call_that_was_never_carried_out_is_made_again() {
        let turn = request(vec![
            user("a"),
            Entry::Call,
            output("1"),
            Entry::Call,
            output("aborted"),
        ]);
        assert_eq!((turn.turn().prompt, turn.turn().outputs), ("a", vec!["1"]));
    }

    #[test]
    fn an_interrupted_or_unanswered_turn_is_over() {
        let interrupted = request(vec![
            user("a"),
            Entry::Call,
            output("aborted"),
            Entry::Aborted,
            user("b"),
        ]);
        assert_eq!(interrupted.turn().prompt, "b");
        let unanswered = request(vec![user("a"), user("b")]);
        assert_eq!(
            unanswered.turn(),
            Turn {
                prompt: "b",
                outputs: vec![],
                added: vec![],
                earlier: vec!["a"]
            }
        );
        assert_eq!(request(vec![]).turn().prompt, "");
    }

    #[test]
    fn ids_tell_a_new_turn_from_an_addition() {
        let entries = vec![
            Entry::User("a".into(), Some(10)),
            Entry::Call,
            output("1"),
            Entry::User("b".into(), Some(20)),
        ];
        let same = Request {
            entries: entries.clone(),
            turn_began_ms: Some(9),
            ..Request::default()
        };
        assert_eq!(
            same.turn(),
            Turn {
                prompt: "a",
                outputs: vec!["1"],
                added: vec!["b"],
                earlier: vec![]
            }
        );
        let later = Request {
            entries,
            turn_began_ms: Some(19),
            ..Request::default()
        };
        assert_eq!(
            later.turn(),
            Turn {
                prompt: "b",
                outputs: vec![],
                added: vec![],
                earlier: vec!["a"]
            }
        );
    }

    #[test]
    fn a_message_added_during_the_last_answer_is_acknowledged() {
        let entries = vec![
            Entry::User("a".into(), Some(10)),
            Entry::Assistant,
            Entry::User("b".into(), Some(20)),
        ];
        let request = Request {
            entries,
            turn_began_ms: Some(9),
            ..Request::default()
        };
        assert_eq!(
            request.turn(),
            Turn {
                prompt: "b",
                outputs: vec![],
                added: vec!["b"],
                earlier: vec!["a"]
            }
        );
    }

    #[test]
    fn what_is_added_to_an_answer_that_was_dropped_is_acknowledged() {
        let entries = vec![Entry::User("a".into(), Some(10)), Entry::User("b".into(), Some(20))];
        let request = Request {
            entries,
            turn_began_ms: Some(9),
            ..Request::default()
        };
        assert_eq!(
            request.turn(),
            Turn {
                prompt: "a",
                outputs: vec![],
                added: vec!["b"],
                earlier: vec![]
            }
        );
    }

    #[test]
    fn remarks_of_the_agent_are_no_messages() {
        let mut entries = Vec::new();
        for text in [
            "<environment_context>\n<cwd>/x</cwd>\n</environment_context>",
            "# AGENTS.md instructions for /x\n\nrun: ls",
            "  ",
        ] {
            add_user_part(&mut entries, text, None, false);
        }
        assert_eq!(entries, []);
        add_user_part(
            &mut entries,
            "<system-reminder>be nice</system-reminder>say: <b>hi</b>",
            None,
            false,
        );
        add_user_part(&mut entries, "second part", None, true);
        add_user_part(&mut entries, "<turn_aborted>by you</turn_aborted>", None, false);
        assert_eq!(entries, [user("say: <b>hi</b>\nsecond part"), Entry::Aborted]);
    }

    #[test]
    fn uuids_carry_their_time() {
        assert_eq!(
            uuid_v7_ms("msg_01a20456-371c-7c43-971d-38c4f20428ea"),
            Some(0x01a2_0456_371c)
        );
        assert_eq!(uuid_v7_ms("msg_721f2b5c-c0f4-57a2-916f-df04a5b0189b"), None);
        assert_eq!(uuid_v7_ms("msg_1"), None);
    }
}
