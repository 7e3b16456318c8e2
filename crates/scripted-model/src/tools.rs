//! Saying a command or a patch with the tools that an agent offers.
//!
//! | agent | commands | patches |
//! |---|---|---|
//! | Codex | function `exec_command` (or the older `shell`, `shell_command`) | custom `apply_patch` |
//! | Codex, models with code mode | JavaScript for the custom tool `exec` | the same |
//! | Claude Code | `Bash` | `Edit`, `Write` |
//! | `OpenCode` | `bash` | `edit`, `write` |
//! | Qwen, Gemini | `run_shell_command` | `replace` / `edit`, `write_file` |
//!
//! A patch becomes a shell command where no editing tool is offered.

use serde_json::{Value, json};

use crate::patch::{self, FilePatch, Hunk};

/// What a script wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Run a command.
    Run(String),
    /// Apply a patch.
    Patch(String),
    /// Wait for a command that was left running.
    Wait(Running),
}

/// A command that was left running, by the name that the agent gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Running {
    /// A session of Codex' `exec_command`.
    Session(u64),
    /// A cell of Codex' code mode.
    Cell(String),
}

/// A call as the agent understands it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Call {
    /// A function with JSON arguments.
    Function { name: String, arguments: Value },
    /// A custom tool with free text.
    Custom { name: String, input: String },
}

/// The tools that a request offers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tools {
    list: Vec<Tool>,
}

#[derive(Clone, Debug)]
struct Tool {
    name: String,
    custom: bool,
    /// Its parameters' JSON schema.
    schema: Value,
}

/// The deepest nesting of tool namespaces that is read.
const MAX_DEPTH: u8 = 4;

impl Tools {
    /// Adds what a list of tools in any of the APIs offers.
    pub(crate) fn add(&mut self, tools: &Value) {
        self.add_nested(tools, 0);
    }

    fn add_nested(&mut self, tools: &Value, depth: u8) {
        if depth == MAX_DEPTH {
            return;
        }
        for tool in tools.as_array().into_iter().flatten() {
            // Chat Completions wraps the function; the others say it flat.
            let inner = tool
                .get("function")
                .filter(|function| function.is_object())
                .unwrap_or(tool);
            if let Some(nested) = tool.get("tools") {
                self.add_nested(nested, depth + 1);
            } else if let Some(name) = inner["name"].as_str() {
                let schema = inner
                    .get("parameters")
                    .or(inner.get("input_schema"))
                    .cloned()
                    .unwrap_or_default();
                self.list.push(Tool {
                    name: name.to_owned(),
                    custom: tool["type"] == "custom",
                    schema,
                });
            }
        }
    }

    fn named(&self, names: &[&str]) -> Option<&Tool> {
        names
            .iter()
            .find_map(|name| self.list.iter().find(|tool| tool.name == *name))
    }

    /// The calls that do an action; none when the agent offers nothing that could.
    pub(crate) fn calls(&self, action: &Action) -> Vec<Call> {
        match action {
            Action::Run(command) => self.run(command).into_iter().collect(),
            Action::Patch(patch) => self.patch(patch),
            Action::Wait(running) => vec![wait(running)],
        }
    }

    fn run(&self, command: &str) -> Option<Call> {
        if let Some(code) = self.code_mode() {
            // Waiting inside the script keeps a command one call, however long it takes.
            let script = format!(
                "let r = await tools.exec_command({{ cmd: {} }});\ntext(r.output);\nwhile (r.session_id) {{\n  r = await tools.write_stdin({{ session_id: r.session_id, chars: \"\", yield_time_ms: 5000 }});\n  text(r.output);\n}}\ntext(`Process exited with code ${{r.exit_code}}`);\n",
                json!(command)
            );
            return Some(Call::Custom {
                name: code.name.clone(),
                input: script,
            });
        }
        let tool = self.named(&[
            "exec_command",
            "shell_command",
            "shell",
            "Bash",
            "bash",
            "run_shell_command",
        ])?;
        let mut arguments = match tool.name.as_str() {
            "exec_command" => json!({ "cmd": command }),
            "shell" if tool.schema["properties"]["command"]["type"] == "array" => {
                json!({ "command": ["bash", "-lc", command] })
            }
            _ => json!({ "command": command }),
        };
        if requires(tool, "description") {
            arguments["description"] = json!(command.lines().next().unwrap_or_default());
        }
        if requires(tool, "is_background") {
            arguments["is_background"] = json!(false);
        }
        Some(Call::Function {
            name: tool.name.clone(),
            arguments,
        })
    }

    fn patch(&self, text: &str) -> Vec<Call> {
        if let Some(code) = self.code_mode() {
            let script = format!("text(await tools.apply_patch({}));\n", json!(text));
            return vec![Call::Custom {
                name: code.name.clone(),
                input: script,
            }];
        }
        match self.named(&["apply_patch"]) {
            Some(tool) if tool.custom => {
                return vec![Call::Custom {
                    name: tool.name.clone(),
                    input: text.to_owned(),
                }];
            }
            Some(tool) => {
                return vec![Call::Function {
                    name: tool.name.clone(),
                    arguments: json!({ "input": text }),
                }];
            }
            None => {}
        }
        self.edits(text)
            .unwrap_or_else(|| self.run(&patch::as_command(text)).into_iter().collect())
    }

    /// The patch by tools that replace one text with another; none when one of its edits has no
    /// tool.
    fn edits(&self, text: &str) -> Option<Vec<Call>> {
        let mut calls = Vec::new();
        for file in patch::parse(text) {
            match file {
                FilePatch::Add { path, content } => calls.push(self.write(&path, &content)?),
                FilePatch::Update { path, hunks } => {
                    for hunk in &hunks {
                        calls.push(self.replace(&path, hunk)?);
                    }
                }
                FilePatch::Delete { path } => calls.push(self.run(&format!("rm -- {}", patch::quoted(&path)))?),
            }
        }
        Some(calls)
    }

    fn write(&self, path: &str, content: &str) -> Option<Call> {
        let tool = self.named(&["Write", "write", "write_file"])?;
        Some(Call::Function {
            name: tool.name.clone(),
            arguments: json!({ path_key(tool)?: path, "content": content }),
        })
    }

    fn replace(&self, path: &str, hunk: &Hunk) -> Option<Call> {
        let tool = self.named(&["Edit", "edit", "replace"])?;
        let (old, new) = if tool.schema["properties"]["oldString"].is_object() {
            ("oldString", "newString")
        } else {
            ("old_string", "new_string")
        };
        let replaced = hunk.before();
        // Such tools find text to replace; they can't append to a file they are told nothing of.
        (!replaced.is_empty())
            .then(|| {
                Some(Call::Function {
                    name: tool.name.clone(),
                    arguments: json!({ path_key(tool)?: path, old: replaced, new: hunk.after() }),
                })
            })
            .flatten()
    }

    fn code_mode(&self) -> Option<&Tool> {
        self.list.iter().find(|tool| tool.custom && tool.name == "exec")
    }
}

fn wait(running: &Running) -> Call {
    match running {
        Running::Session(id) => Call::Function {
            name: "write_stdin".to_owned(),
            arguments: json!({ "session_id": id, "chars": "" }),
        },
        Running::Cell(id) => Call::Function {
            name: "wait".to_owned(),
            arguments: json!({ "cell_id": id }),
        },
    }
}

fn requires(tool: &Tool, parameter: &str) -> bool {
    tool.schema["required"]
        .as_array()
        .is_some_and(|required| required.iter().any(|name| name == parameter))
}

fn path_key(tool: &Tool) -> Option<&'static str> {
    ["file_path", "filePath", "path", "absolute_path"]
        .into_iter()
        .find(|key| tool.schema["properties"][key].is_object())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tools(list: &Value) -> Tools {
        let mut tools = Tools::default();
        tools.add(list);
        tools
    }

    fn function(name: &str, arguments: Value) -> Call {
        Call::Function {
            name: name.to_owned(),
            arguments,
        }
    }

    const PATCH: &str = "*** Begin Patch\n*** Update File: a.txt\n@@\n-b\n+c\n*** End Patch";

    #[test]
    fn commands_use_what_is_offered() {
        let run = |list: Value| tools(&list).calls(&Action::Run("ls".into()));
        assert_eq!(
            run(json!([{ "type": "function", "name": "exec_command" }])),
            [function("exec_command", json!({ "cmd": "ls" }))]
        );
        let old_codex = json!([{ "type": "function", "name": "shell", "parameters": { "properties": { "command": { "type": "array" } } } }]);
        assert_eq!(
            run(old_codex),
            [function("shell", json!({ "command": ["bash", "-lc", "ls"] }))]
        );
        let claude = json!([{ "name": "Bash", "input_schema": { "required": ["command"] } }]);
        assert_eq!(run(claude), [function("Bash", json!({ "command": "ls" }))]);
        let opencode = json!([{ "type": "function", "function": { "name": "bash", "parameters": { "required": ["command", "description"] } } }]);
        assert_eq!(
            run(opencode),
            [function("bash", json!({ "command": "ls", "description": "ls" }))]
        );
        assert_eq!(run(json!([{ "type": "web_search" }])), []);
    }

    #[test]
    fn code_mode_is_spoken_in_scripts() {
        let nested =
            json!([{ "type": "namespace", "name": "functions", "tools": [{ "type": "custom", "name": "exec" }] }]);
        let calls = tools(&nested).calls(&Action::Patch(PATCH.into()));
        assert_eq!(
            calls,
            [Call::Custom {
                name: "exec".into(),
                input: format!("text(await tools.apply_patch({}));\n", json!(PATCH))
            }]
        );
    }

    #[test]
    fn patches_use_what_is_offered() {
        let patch = |list: Value| tools(&list).calls(&Action::Patch(PATCH.into()));
        assert_eq!(
            patch(json!([{ "type": "custom", "name": "apply_patch" }])),
            [Call::Custom {
                name: "apply_patch".into(),
                input: PATCH.into()
            }]
        );
        assert_eq!(
            patch(json!([{ "type": "function", "name": "apply_patch" }])),
            [function("apply_patch", json!({ "input": PATCH }))]
        );
        let opencode = json!([{ "name": "edit", "parameters": { "properties": { "filePath": {}, "oldString": {}, "newString": {} } } }]);
        assert_eq!(
            patch(opencode),
            [function(
                "edit",
                json!({ "filePath": "a.txt", "oldString": "b", "newString": "c" })
            )]
        );
        let claude = json!([{ "name": "Edit", "input_schema": { "properties": { "file_path": {}, "old_string": {}, "new_string": {} } } }]);
        assert_eq!(
            patch(claude),
            [function(
                "Edit",
                json!({ "file_path": "a.txt", "old_string": "b", "new_string": "c" })
            )]
        );
        let shell_only = patch(json!([{ "name": "exec_command" }]));
        assert!(
            matches!(&shell_only[..], [Call::Function { arguments, .. }] if arguments["cmd"].as_str().unwrap().starts_with("git apply"))
        );
    }
}
