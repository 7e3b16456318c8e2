//! What the scenarios say: their files, their checks, and which one a message belongs to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use regex::Regex;
use serde::Deserialize;

/// The scenarios of the library, in the order in which they are tried; the last one takes all.
const BUILT_IN: [(&str, &str); 3] = [
    ("directives.toml", include_str!("../scenarios/directives.toml")),
    (
        "fix-the-failing-test.toml",
        include_str!("../scenarios/fix-the-failing-test.toml"),
    ),
    ("fallback.toml", include_str!("../scenarios/fallback.toml")),
];

/// The largest scenario file, in bytes. Whoever needs more has mistaken the folder.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;
/// The most times a text is repeated or a call is made by one step; a script is finite.
pub(crate) const MAX_REPEAT: u64 = 10_000;
/// The longest pause before one chunk, in milliseconds: less than any client's idle limit.
pub(crate) const MAX_CHUNK_DELAY_MS: u64 = 60_000;

/// Why scenarios could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The folder or a file could not be read.
    #[error("cannot read {path}")]
    Read {
        /// The folder or file.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: std::io::Error,
    },
    /// A file is larger than a scenario can reasonably be.
    #[error("{path} is larger than {MAX_FILE_BYTES} bytes")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// A file is no scenario file.
    #[error("{path} is not a scenario file")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A scenario contradicts itself.
    #[error("{path}: scenario {scenario}: {problem}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The scenario's name.
        scenario: String,
        /// What is wrong.
        problem: String,
    },
}

/// An ordered set of scenarios; the first whose `match` fits a message answers it.
#[derive(Clone, Debug)]
pub struct Scenarios {
    list: Vec<Scenario>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    scenario: Vec<Scenario>,
}

/// One scenario.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Its name, for errors and logs.
    pub name: String,
    /// One line for the list that an unknown message is answered with; none leaves it out.
    pub help: Option<String>,
    /// Fits the message that begins a turn.
    #[serde(rename = "match", deserialize_with = "regex")]
    pub pattern: Regex,
    /// Values of captures that took no part in the match.
    #[serde(default)]
    pub defaults: BTreeMap<String, String>,
    /// Finds an earlier message of the person; its first capture becomes `{{recalled}}`. The
    /// latest message that fits counts.
    #[serde(default, deserialize_with = "optional_regex")]
    pub recall: Option<Regex>,
    /// Pause before each chunk of text, unless a step says otherwise, in milliseconds.
    #[serde(default)]
    pub chunk_delay_ms: Number,
    /// What is done, in order.
    pub steps: Vec<Step>,
}

/// One answer of the model.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// A name for `goto`.
    pub label: Option<String>,
    /// When the step is done; a step whose condition fails is left out.
    #[serde(default)]
    pub when: When,
    /// What the model thinks.
    pub reasoning: Option<String>,
    /// What it says.
    pub text: Option<String>,
    /// How often the text is said.
    pub repeat: Option<Number>,
    /// Pause before each chunk of text, in milliseconds.
    pub chunk_delay_ms: Option<Number>,
    /// A command to run.
    pub run: Option<String>,
    /// A patch to apply, in the `*** Begin Patch` format.
    pub patch: Option<String>,
    /// How often the step is done.
    pub times: Option<Number>,
    /// The label of the step that follows; the next one otherwise.
    pub goto: Option<String>,
    /// What goes wrong.
    pub fault: Option<FaultSpec>,
    /// Tokens to report; an estimate otherwise.
    pub usage: Option<Usage>,
}

/// A condition; everything that is given must hold.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// Fits the last tool output.
    #[serde(default, deserialize_with = "optional_regex")]
    pub output: Option<Regex>,
    /// Does not fit the last tool output.
    #[serde(default, deserialize_with = "optional_regex")]
    pub not_output: Option<Regex>,
    /// Whether the person declined the last call.
    pub declined: Option<bool>,
    /// Whether `recall` found something.
    pub recalled: Option<bool>,
    /// Whether the last command printed something.
    pub printed: Option<bool>,
}

/// Something that goes wrong.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum FaultSpec {
    /// The request is refused.
    Status {
        /// The HTTP status.
        status: Number,
        /// The error's stable name.
        code: String,
        /// What the error says.
        message: String,
        /// The `retry-after` header, in seconds.
        retry_after_secs: Option<Number>,
    },
    /// The stream begins and then reports a failure.
    Failed {
        /// The error's stable name.
        code: String,
        /// What the error says.
        message: String,
    },
    /// The connection is dropped after that many events.
    Cut {
        /// How many events are sent.
        after_events: Number,
    },
    /// Nothing more is said after that many events.
    Stall {
        /// How many events are sent.
        after_events: Number,
    },
}

/// Tokens used by one answer.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    /// Read.
    pub input: u64,
    /// Of these, from the cache.
    #[serde(default)]
    pub cached: u64,
    /// Written.
    pub output: u64,
    /// Of these, for reasoning.
    #[serde(default)]
    pub reasoning: u64,
}

/// A number, or a text that becomes one when its variables are filled in.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Number {
    /// The number.
    Value(u64),
    /// Such as `"{{count}}"`.
    Template(String),
}

impl Default for Number {
    fn default() -> Self {
        Self::Value(0)
    }
}

fn regex<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Regex, D::Error> {
    Regex::new(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

fn optional_regex<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Regex>, D::Error> {
    regex(deserializer).map(Some)
}

impl Scenarios {
    /// The scenarios of the library.
    ///
    /// # Panics
    /// Never: a test loads them.
    #[expect(
        clippy::expect_used,
        reason = "the files are part of the program and a test loads them"
    )]
    pub fn builtin() -> Self {
        let list = BUILT_IN
            .iter()
            .flat_map(|(name, text)| parse(Path::new(name), text).expect("built-in scenarios are valid"));
        Self { list: list.collect() }
    }

    /// The scenarios of the `.toml` files in a folder, in the order of their names, followed by
    /// those of the library.
    pub fn load(folder: &Path) -> Result<Self, LoadError> {
        let mut list = Vec::new();
        for path in scenario_files(folder)? {
            list.extend(parse(&path, &read_limited(&path)?)?);
        }
        list.extend(Self::builtin().list);
        Ok(Self { list })
    }

    /// Scenarios from a text, followed by those of the library.
    pub fn parse(text: &str) -> Result<Self, LoadError> {
        let mut list = parse(Path::new("scenarios"), text)?;
        list.extend(Self::builtin().list);
        Ok(Self { list })
    }

    /// The scenario that answers a message.
    pub(crate) fn find(&self, message: &str) -> Option<&Scenario> {
        self.list.iter().find(|scenario| scenario.pattern.is_match(message))
    }

    /// What the scenarios can do, as a markdown list.
    pub(crate) fn help(&self) -> String {
        let lines: Vec<String> = self
            .list
            .iter()
            .filter_map(|scenario| Some(format!("- {}", scenario.help.as_ref()?)))
            .collect();
        lines.join("\n")
    }
}

fn scenario_files(folder: &Path) -> Result<Vec<PathBuf>, LoadError> {
    let at = |source| LoadError::Read {
        path: folder.to_owned(),
        source,
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(at)? {
        let path = entry.map_err(at)?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn read_limited(path: &Path) -> Result<String, LoadError> {
    let at = |source| LoadError::Read {
        path: path.to_owned(),
        source,
    };
    if std::fs::metadata(path).map_err(at)?.len() > MAX_FILE_BYTES {
        return Err(LoadError::TooLarge { path: path.to_owned() });
    }
    std::fs::read_to_string(path).map_err(at)
}

fn parse(path: &Path, text: &str) -> Result<Vec<Scenario>, LoadError> {
    let file: File = toml::from_str(text).map_err(|source| LoadError::Parse {
        path: path.to_owned(),
        source: Box::new(source),
    })?;
    for scenario in &file.scenario {
        check(scenario).map_err(|problem| LoadError::Invalid {
            path: path.to_owned(),
            scenario: scenario.name.clone(),
            problem,
        })?;
    }
    Ok(file.scenario)
}

fn check(scenario: &Scenario) -> Result<(), String> {
    if scenario.steps.is_empty() {
        return Err("has no steps".to_owned());
    }
    for (index, step) in scenario.steps.iter().enumerate() {
        let number = index + 1;
        if step.run.is_some() && step.patch.is_some() {
            return Err(format!("step {number} has both run and patch; make it two steps"));
        }
        if step
            .goto
            .as_deref()
            .is_some_and(|label| scenario.step_at(label).is_none())
        {
            return Err(format!("step {number} goes to a label that no step has"));
        }
        let calls = step.run.is_some() || step.patch.is_some();
        if !calls && (step.goto.is_some() || step.times.is_some()) {
            return Err(format!(
                "step {number} calls no tool, so it ends the turn and goto and times mean nothing"
            ));
        }
    }
    Ok(())
}

impl Scenario {
    /// The position of the step with a label.
    pub(crate) fn step_at(&self, label: &str) -> Option<usize> {
        self.steps.iter().position(|step| step.label.as_deref() == Some(label))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_scenarios_answer_everything() {
        let scenarios = Scenarios::builtin();
        for (message, name) in [
            ("Fix the failing test", "fix the failing test"),
            ("please make the tests pass again", "fix the failing test"),
            ("run: ls -la\necho two", "run"),
            ("run 3 times: echo {{n}}", "run several times"),
            ("say: fix the failing test", "say"),
            ("edit README.md", "append to a file"),
            ("edit README.md: # demo => # Demo", "replace a line"),
            ("what did I ask you to remember?", "recall"),
            ("slow stream 20 every 100ms", "slow stream"),
            ("fail 401", "fail"),
            ("cut", "cut"),
            ("", "fallback"),
            ("write me a compiler", "fallback"),
        ] {
            assert_eq!(
                scenarios.find(message).map(|scenario| scenario.name.as_str()),
                Some(name),
                "{message}"
            );
        }
    }

    #[test]
    fn a_folder_comes_before_the_library() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(
            folder.path().join("a.toml"),
            "[[scenario]]\nname = 'mine'\nmatch = '^say: '\nsteps = [{ text = 'mine' }]\n",
        )
        .unwrap();
        let scenarios = Scenarios::load(folder.path()).unwrap();
        assert_eq!(scenarios.find("say: hello").unwrap().name, "mine");
        assert_eq!(scenarios.find("run: ls").unwrap().name, "run");
    }

    #[test]
    fn mistakes_are_named() {
        for (text, expected) in [
            ("[[scenario]]\nname = 'x'\nmatch = 'x'\nsteps = []", "has no steps"),
            (
                "[[scenario]]\nname = 'x'\nmatch = 'x'\nsteps = [{ run = 'a', patch = 'b' }]",
                "both run and patch",
            ),
            (
                "[[scenario]]\nname = 'x'\nmatch = 'x'\nsteps = [{ run = 'a', goto = 'nowhere' }]",
                "no step has",
            ),
            (
                "[[scenario]]\nname = 'x'\nmatch = 'x'\nsteps = [{ text = 'a', times = 2 }]",
                "ends the turn",
            ),
        ] {
            let error = Scenarios::parse(text).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
        for text in [
            "[[scenario]]\nname = 'x'\nmatch = '('\nsteps = [{}]",
            "[[scenario]]\nname = 'x'\nmatch = 'x'\nsteps = [{ colour = 'red' }]",
        ] {
            assert!(matches!(Scenarios::parse(text), Err(LoadError::Parse { .. })), "{text}");
        }
    }
}
