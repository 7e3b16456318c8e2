//! From a request to an answer: the scenario's steps, replayed against what the tools answered.

use std::borrow::Cow;
use std::sync::LazyLock;
use std::time::Duration;

use regex::{Captures, Regex};

use crate::conversation::{Request, Said, Turn, take_apart};
use crate::scenario::{FaultSpec, MAX_CHUNK_DELAY_MS, MAX_REPEAT, Number, Scenario, Scenarios, Step, Usage, When};
use crate::tools::{Action, Call, Running};

/// The most text of one answer, in bytes; what is longer ends there.
const MAX_TEXT_BYTES: usize = 4 * 1024 * 1024;
/// The most of a tool's output that a text quotes, in bytes.
const MAX_QUOTED_OUTPUT: usize = 2000;
/// Bytes of text in a token, roughly; good enough for a usage display.
const BYTES_PER_TOKEN: u64 = 4;

/// What the model answers.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// What it thinks.
    pub(crate) reasoning: Option<String>,
    /// What it says.
    pub(crate) text: Option<String>,
    /// What it calls.
    pub(crate) calls: Vec<Call>,
    /// The pause before each chunk of text.
    pub(crate) chunk_delay: Duration,
    /// What goes wrong.
    pub(crate) fault: Option<Fault>,
    /// Tokens used.
    pub(crate) usage: Usage,
}

/// What goes wrong with an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The request is refused.
    Status {
        status: u16,
        code: String,
        message: String,
        retry_after_secs: Option<u64>,
    },
    /// The stream begins and then reports a failure.
    Failed { code: String, message: String },
    /// The connection is dropped after that many events.
    Cut { after_events: usize },
    /// Nothing more is said after that many events.
    Stall { after_events: usize },
}

/// The answer to a request.
pub(crate) fn answer(scenarios: &Scenarios, request: &Request) -> Answer {
    let turn = request.turn();
    let Some(scenario) = scenarios.find(take_apart(turn.prompt).text) else {
        return Answer::default();
    };
    tracing::debug!(
        scenario = scenario.name,
        outputs = turn.outputs.len(),
        added = turn.added.len(),
        "answering"
    );
    let mut answer = Replay::new(scenarios, scenario, request, &turn).run();
    if !turn.added.is_empty() {
        acknowledge(&mut answer, &turn.added);
    }
    if answer.usage.output == 0 {
        answer.usage = estimate(request, &answer);
    }
    answer
}

fn acknowledge(answer: &mut Answer, added: &[&str]) {
    let said: Vec<String> = added
        .iter()
        .map(|text| format!("You added: “{}”", first_line(text)))
        .collect();
    let said = said.join("\n\n");
    answer.text = Some(match answer.text.take() {
        Some(text) => format!("{said}\n\n{text}"),
        None => said,
    });
}

fn first_line(text: &str) -> Cow<'_, str> {
    match text.split_once('\n') {
        Some((first, _)) => format!("{first} …").into(),
        None => text.into(),
    }
}

fn estimate(request: &Request, answer: &Answer) -> Usage {
    let tokens = |bytes: usize| bytes as u64 / BYTES_PER_TOKEN + 1;
    let reasoning = answer.reasoning.as_ref().map_or(0, |text| tokens(text.len()));
    let said = answer.text.as_ref().map_or(0, |text| tokens(text.len()));
    let called = answer
        .calls
        .iter()
        .map(|call| tokens(format!("{call:?}").len()))
        .sum::<u64>();
    Usage {
        input: tokens(request.bytes),
        cached: 0,
        output: reasoning + said + called,
        reasoning,
    }
}

/// A walk through a scenario's steps that consumes the turn's outputs.
struct Replay<'a> {
    scenarios: &'a Scenarios,
    scenario: &'a Scenario,
    request: &'a Request,
    outputs: std::collections::VecDeque<&'a str>,
    captures: Option<Captures<'a>>,
    said: Said<'a>,
    recalled: Option<String>,
    last: Option<&'a str>,
}

/// How far a call got.
enum Progress {
    NotCalled,
    Running(Running),
    Answered,
}

impl<'a> Replay<'a> {
    fn new(scenarios: &'a Scenarios, scenario: &'a Scenario, request: &'a Request, turn: &Turn<'a>) -> Self {
        let recall = |said: &&str| {
            scenario
                .recall
                .as_ref()?
                .captures(said)?
                .get(1)
                .map(|found| found.as_str().trim().to_owned())
        };
        let said = take_apart(turn.prompt);
        Self {
            scenarios,
            scenario,
            request,
            outputs: turn.outputs.iter().copied().collect(),
            captures: scenario.pattern.captures(said.text),
            said,
            recalled: turn.earlier.iter().rev().find_map(recall),
            last: None,
        }
    }

    fn run(mut self) -> Answer {
        let mut at = 0;
        while let Some(step) = self.scenario.steps.get(at) {
            if !self.holds(&step.when) {
                at += 1;
                continue;
            }
            let times = step
                .times
                .as_ref()
                .map_or(1, |times| self.number(times, 1))
                .clamp(1, MAX_REPEAT);
            for n in 1..=times {
                let calls = self.calls(step, n);
                if calls.is_empty() {
                    return self.perform(step, n, calls);
                }
                match self.consume(calls.len()) {
                    Progress::NotCalled => return self.perform(step, n, calls),
                    Progress::Running(running) => {
                        return Answer {
                            calls: self.request.tools.calls(&Action::Wait(running)),
                            ..Answer::default()
                        };
                    }
                    Progress::Answered => {}
                }
                // A declined call is not repeated: the steps decide what it means.
                if self.last.is_some_and(is_declined) {
                    break;
                }
            }
            at = step
                .goto
                .as_deref()
                .and_then(|label| self.scenario.step_at(label))
                .unwrap_or(at + 1);
        }
        Answer {
            text: Some("Done.".to_owned()),
            ..Answer::default()
        }
    }

    fn holds(&self, when: &When) -> bool {
        let output = self.last.unwrap_or_default();
        when.output.as_ref().is_none_or(|regex| regex.is_match(output))
            && when.not_output.as_ref().is_none_or(|regex| !regex.is_match(output))
            && when.declined.is_none_or(|declined| declined == is_declined(output))
            && when.recalled.is_none_or(|recalled| recalled == self.recalled.is_some())
            && when
                .printed
                .is_none_or(|wanted| wanted != printed(output).trim().is_empty())
    }

    fn calls(&self, step: &Step, n: u64) -> Vec<Call> {
        let run = step.run.as_ref().map(|command| Action::Run(self.fill(command, n)));
        let patch = step.patch.as_ref().map(|patch| Action::Patch(self.fill(patch, n)));
        run.or(patch)
            .map_or_else(Vec::new, |action| self.request.tools.calls(&action))
    }

    /// Takes the outputs of one step's calls. A call has several when its command was left running
    /// and waited for.
    fn consume(&mut self, calls: usize) -> Progress {
        let mut answered = 0;
        while answered < calls {
            let Some(output) = self.outputs.pop_front() else {
                return if answered == 0 {
                    Progress::NotCalled
                } else {
                    Progress::Answered
                };
            };
            self.last = Some(output);
            match running(output) {
                Some(running) if self.outputs.is_empty() => return Progress::Running(running),
                Some(_) => {}
                None => answered += 1,
            }
        }
        Progress::Answered
    }

    fn perform(&self, step: &Step, n: u64, calls: Vec<Call>) -> Answer {
        let wanted = step.run.is_some() || step.patch.is_some();
        let mut text = step.text.as_ref().map(|text| self.repeated(step, text, n));
        if wanted && calls.is_empty() {
            text = Some(format!(
                "{}This agent offers no tool that I know how to use for that.",
                text.map_or_else(String::new, |text| text + "\n\n")
            ));
        }
        let delay = step.chunk_delay_ms.as_ref().unwrap_or(&self.scenario.chunk_delay_ms);
        Answer {
            reasoning: step.reasoning.as_ref().map(|reasoning| self.fill(reasoning, n)),
            text,
            calls,
            chunk_delay: Duration::from_millis(self.number(delay, n).min(MAX_CHUNK_DELAY_MS)),
            fault: step.fault.as_ref().map(|fault| self.fault(fault, n)),
            usage: step.usage.unwrap_or_default(),
        }
    }

    fn repeated(&self, step: &Step, text: &str, n: u64) -> String {
        let Some(repeat) = &step.repeat else {
            return limited(self.fill(text, n), MAX_TEXT_BYTES);
        };
        let mut all = String::new();
        for n in 1..=self.number(repeat, n).min(MAX_REPEAT) {
            all.push_str(&self.fill(text, n));
            if all.len() > MAX_TEXT_BYTES {
                break;
            }
        }
        limited(all, MAX_TEXT_BYTES)
    }

    fn fault(&self, fault: &FaultSpec, n: u64) -> Fault {
        match fault {
            FaultSpec::Status {
                status,
                code,
                message,
                retry_after_secs,
            } => Fault::Status {
                // A status below 400 would be no refusal, and above 599 none that HTTP knows.
                status: u16::try_from(self.number(status, n))
                    .ok()
                    .filter(|status| (400..600).contains(status))
                    .unwrap_or(500),
                code: self.fill(code, n),
                message: self.fill(message, n),
                retry_after_secs: retry_after_secs.as_ref().map(|secs| self.number(secs, n)),
            },
            FaultSpec::Failed { code, message } => Fault::Failed {
                code: self.fill(code, n),
                message: self.fill(message, n),
            },
            FaultSpec::Cut { after_events } => Fault::Cut {
                after_events: self.number(after_events, n) as usize,
            },
            FaultSpec::Stall { after_events } => Fault::Stall {
                after_events: self.number(after_events, n) as usize,
            },
        }
    }

    fn number(&self, number: &Number, n: u64) -> u64 {
        match number {
            Number::Value(value) => *value,
            Number::Template(template) => self.fill(template, n).trim().parse().unwrap_or(0),
        }
    }

    /// The text with its variables filled in; unknown ones stay as they are.
    fn fill(&self, text: &str, n: u64) -> String {
        VARIABLE
            .replace_all(text, |found: &Captures<'_>| {
                self.variable(&found[1], n).unwrap_or_else(|| found[0].to_owned())
            })
            .into_owned()
    }

    fn variable(&self, name: &str, n: u64) -> Option<String> {
        let value = match name {
            "prompt" => self.said.text.to_owned(),
            "files" => self.files(),
            "images" => self.images(),
            "output" => limited(
                printed(self.last.unwrap_or_default()).trim_end().to_owned(),
                MAX_QUOTED_OUTPUT,
            ),
            "recalled" => self.recalled.clone()?,
            "n" => n.to_string(),
            "help" => self.scenarios.help(),
            name => return self.captured(name, n),
        };
        Some(value)
    }

    /// The paths of the files that came with the message, as a shell takes them.
    fn files(&self) -> String {
        let quoted = |path: &&str| format!("'{}'", path.replace('\'', r"'\''"));
        self.said.files.iter().map(quoted).collect::<Vec<_>>().join(" ")
    }

    /// What is seen on the images that came with the message, one a line.
    fn images(&self) -> String {
        if self.said.images.is_empty() {
            return "There is no image in your message.".to_owned();
        }
        let lines: Vec<String> = self.said.images.iter().map(|image| format!("- {image}")).collect();
        format!("I see {}:\n\n{}", lines.len(), lines.join("\n"))
    }

    fn captured(&self, name: &str, n: u64) -> Option<String> {
        let captures = self.captures.as_ref()?;
        let found = match name.parse::<usize>() {
            Ok(index) => captures.get(index),
            Err(_) => captures.name(name),
        };
        match found {
            // What the person wrote may count too and name what came with it, and nothing else.
            Some(found) => Some(
                found
                    .as_str()
                    .replace("{{n}}", &n.to_string())
                    .replace("{{files}}", &self.files()),
            ),
            None => self.scenario.defaults.get(name).cloned(),
        }
    }
}

static VARIABLE: LazyLock<Regex> = LazyLock::new(|| literal(r"\{\{(\w+)\}\}"));
/// How agents report that the person said no.
static DECLINED: LazyLock<Regex> = LazyLock::new(|| {
    literal(
        r"(?i)rejected by (the )?user|(user|person) (has )?(rejected|declined|denied|refused)|declined by (the )?user|doesn't want to (proceed|take this action)|permission (was )?denied by the user",
    )
});
static RUNNING_SESSION: LazyLock<Regex> = LazyLock::new(|| literal(r"Process running with session ID (\d+)"));
static RUNNING_CELL: LazyLock<Regex> = LazyLock::new(|| literal(r"Script running with cell ID (\S+)"));
/// What Codex says around a command's own output.
static CODEX_HEADER: LazyLock<Regex> =
    LazyLock::new(|| literal(r"(?s)\A(?:Chunk ID|Exit code|Wall time|Script completed).*?\nOutput:\n"));

#[expect(clippy::unwrap_used, reason = "the patterns are literals and tests use each of them")]
fn literal(pattern: &str) -> Regex {
    Regex::new(pattern).unwrap()
}

/// How far into an output the agent's own remarks can stand; what follows is the command's.
const REMARKS_BYTES: usize = 400;

fn remarks(output: &str) -> &str {
    let head = &output[..floor_char_boundary(output, REMARKS_BYTES)];
    // A script of code mode that failed printed nothing: what follows is why.
    if head.starts_with("Script failed") {
        return head;
    }
    head.split_once("\nOutput:\n").map_or(head, |(remarks, _)| remarks)
}

fn is_declined(output: &str) -> bool {
    DECLINED.is_match(remarks(output))
}

fn running(output: &str) -> Option<Running> {
    let remarks = remarks(output);
    if let Some(found) = RUNNING_SESSION.captures(remarks) {
        return found[1].parse().ok().map(Running::Session);
    }
    RUNNING_CELL
        .captures(remarks)
        .map(|found| Running::Cell(found[1].to_owned()))
}

/// The part of an output that the command itself printed.
fn printed(output: &str) -> &str {
    CODEX_HEADER
        .find(output)
        .map_or(output, |header| output[header.end()..].trim_start_matches('\n'))
}

fn limited(mut text: String, limit: usize) -> String {
    if text.len() > limit {
        text.truncate(floor_char_boundary(&text, limit));
        text.push('…');
    }
    text
}

fn floor_char_boundary(text: &str, limit: usize) -> usize {
    (0..=limit.min(text.len()))
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::conversation::Entry;

    fn request(entries: Vec<Entry>) -> Request {
        let mut request = Request {
            entries,
            ..Request::default()
        };
        request.tools.add(&json!([{ "name": "exec_command" }, { "type": "custom", "name": "apply_patch" }, { "name": "write_stdin" }]));
        request
    }

    fn user(text: &str) -> Entry {
        Entry::User(text.to_owned(), None)
    }

    fn ask(entries: Vec<Entry>) -> Answer {
        answer(&Scenarios::builtin(), &request(entries))
    }

    fn command(answer: &Answer) -> String {
        match &answer.calls[..] {
            [Call::Function { name, arguments }] if name == "exec_command" => {
                arguments["cmd"].as_str().unwrap().to_owned()
            }
            other => panic!("no command: {other:?}"),
        }
    }

    fn output(text: &str) -> Entry {
        Entry::Output(text.to_owned())
    }

    #[test]
    fn a_command_is_run_and_quoted() {
        let first = ask(vec![user("run: echo hello")]);
        assert_eq!(command(&first), "echo hello");
        let codex = "Chunk ID: 1\nWall time: 0.1 seconds\nProcess exited with code 0\nOutput:\nhello\n";
        let second = ask(vec![user("run: echo hello"), Entry::Call, output(codex)]);
        assert!(second.calls.is_empty());
        assert!(second.text.unwrap().contains("```\nhello\n```"));
    }

    #[test]
    fn a_command_that_prints_nothing_is_not_quoted() {
        let codex = "Chunk ID: 1\nWall time: 0.1 seconds\nProcess exited with code 0\nOutput:\n";
        let entries = vec![user("run: true"), Entry::Call, output(codex)];
        assert_eq!(
            ask(entries).text.as_deref(),
            Some("The command ended and printed nothing.")
        );
    }

    #[test]
    fn a_declined_command_is_not_repeated() {
        for refusal in [
            r#"exec_command failed: CreateProcess { message: "Rejected(\"rejected by user\")" }"#,
            "Script failed\nWall time 0.0 seconds\nOutput:\n\nScript error:\nexec_command failed: CreateProcess { message: \"Rejected(\\\"rejected by user\\\")\" }",
            "patch rejected by user",
        ] {
            let declined = ask(vec![user("run 3 times: echo {{n}}"), Entry::Call, output(refusal)]);
            assert!(declined.calls.is_empty(), "{refusal}");
            assert!(declined.text.unwrap().contains("declined"), "{refusal}");
        }
        let printed = ask(vec![
            user("run: cat log"),
            Entry::Call,
            output("Wall time: 0\nOutput:\nrejected by user\n"),
        ]);
        assert!(printed.text.unwrap().contains("rejected by user"));
    }

    #[test]
    fn repeats_count() {
        let mut entries = vec![user("run 3 times: echo {{n}}")];
        for n in 1..=3 {
            assert_eq!(command(&ask(entries.clone())), format!("echo {n}"));
            entries.extend([Entry::Call, output("ok")]);
        }
        assert!(ask(entries).calls.is_empty());
    }

    #[test]
    fn a_command_that_still_runs_is_waited_for() {
        let waiting = "Wall time: 10 seconds\nProcess running with session ID 7\nOutput:\n";
        let mut entries = vec![user("run: sleep 20"), Entry::Call, output(waiting)];
        let poll = Call::Function {
            name: "write_stdin".into(),
            arguments: json!({ "session_id": 7, "chars": "" }),
        };
        assert_eq!(ask(entries.clone()).calls, std::slice::from_ref(&poll));
        entries.extend([Entry::Call, output(waiting)]);
        assert_eq!(ask(entries.clone()).calls, [poll]);
        entries.extend([Entry::Call, output("Process exited with code 0\nOutput:\ndone")]);
        assert!(ask(entries).text.unwrap().contains("done"));
    }

    #[test]
    fn what_is_added_is_acknowledged_and_the_turn_goes_on() {
        let entries = vec![
            user("run 2 times: echo {{n}}"),
            Entry::Call,
            output("1"),
            user("and be quick\nplease"),
        ];
        let answer = ask(entries);
        assert_eq!(answer.text.as_deref(), Some("You added: “and be quick …”"));
        assert_eq!(command(&answer), "echo 2");
    }

    #[test]
    fn memory_is_the_conversation() {
        let entries = vec![
            user("remember the number 4711"),
            Entry::Assistant,
            user("what did I ask you to remember?"),
        ];
        assert!(ask(entries).text.unwrap().contains("the number 4711"));
        assert!(
            ask(vec![user("what did I ask you to remember?")])
                .text
                .unwrap()
                .contains("nothing")
        );
    }

    #[test]
    fn faults_and_paces_come_from_the_message() {
        assert_eq!(
            ask(vec![user("fail 503: gone fishing")]).fault,
            Some(Fault::Status {
                status: 503,
                code: "scripted_error".into(),
                message: "gone fishing".into(),
                retry_after_secs: None
            })
        );
        assert!(matches!(
            ask(vec![user("fail 200")]).fault,
            Some(Fault::Status { status: 500, .. })
        ));
        assert!(matches!(
            ask(vec![user("rate limit 5")]).fault,
            Some(Fault::Status {
                status: 429,
                retry_after_secs: Some(5),
                ..
            })
        ));
        assert_eq!(ask(vec![user("cut 4")]).fault, Some(Fault::Cut { after_events: 4 }));
        assert!(matches!(ask(vec![user("stall")]).fault, Some(Fault::Stall { .. })));
        let slow = ask(vec![user("slow stream 20 every 100ms")]);
        assert_eq!(
            (slow.text.unwrap().lines().count(), slow.chunk_delay),
            (20, Duration::from_millis(100))
        );
    }

    #[test]
    fn the_unknown_is_answered_honestly() {
        let text = ask(vec![user("write me a compiler")]).text.unwrap();
        for expected in ["scripted", "`run: COMMAND`", "[providers."] {
            assert!(text.contains(expected), "{expected}");
        }
    }

    #[test]
    fn without_tools_it_says_so() {
        let request = Request {
            entries: vec![user("run: ls")],
            ..Request::default()
        };
        assert!(
            answer(&Scenarios::builtin(), &request)
                .text
                .unwrap()
                .contains("no tool")
        );
    }
}
