//! What commands are: names, groups, argument grammar, and what they answer.

use crate::Outcome;
use serde_json::Value;

/// One command, or one subcommand of a container.
#[derive(Clone, Debug)]
pub struct Command {
    /// In capitals; a subcommand's begins with its container's.
    pub name: String,
    /// As the servers group them: `sorted_set`.
    pub group: String,
    /// The grammar of what follows the name.
    pub arguments: Vec<Argument>,
    /// What the replies' schema says, as far as it is that simple.
    pub reply: &'static str,
    /// Whether it only holds subcommands.
    pub is_container: bool,
    /// The first version that has it.
    pub since: String,
    /// The version since which something else does better.
    pub deprecated_since: Option<String>,
}

/// A node of the grammar.
#[derive(Clone, Debug, Default)]
pub struct Argument {
    /// In lower case with underscores.
    pub name: String,
    /// The word in front of the value, or the whole argument of a `Kind::Flag`.
    pub token: Option<String>,
    /// What it consists of.
    pub kind: Kind,
    /// Whether it may be left out.
    pub is_optional: bool,
    /// Whether it may be repeated.
    pub is_multiple: bool,
    /// Whether the token is repeated with each value.
    pub is_token_multiple: bool,
    /// Of a block or a choice.
    pub children: Vec<Argument>,
}

/// What an argument consists of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// The name of a key.
    Key,
    /// Text or bytes.
    #[default]
    Text,
    /// An integer.
    Integer,
    /// A number with a fraction.
    Double,
    /// A moment, counted since 1970.
    UnixTime,
    /// A glob pattern.
    Pattern,
    /// A token without a value.
    Flag,
    /// One of the children.
    Choice,
    /// All the children.
    Block,
}

/// Reads the facts.
///
/// # Errors
/// Where the text is no JSON of the expected form.
pub fn read(text: &str) -> Outcome<Vec<Command>> {
    let value: Value = serde_json::from_str(text).map_err(|error| format!("facts: {error}"))?;
    let table = value.as_object().ok_or("facts: no object")?;
    let is_container = |name: &str| table.keys().any(|other| other.starts_with(&format!("{name} ")));
    table
        .iter()
        .map(|(name, facts)| {
            Ok(Command {
                name: name.clone(),
                group: facts["group"].as_str().ok_or_else(|| format!("{name}: no group"))?.to_owned(),
                arguments: arguments(&facts["arguments"])?,
                reply: reply(&facts["reply_schema"]),
                is_container: is_container(name),
                since: facts["since"].as_str().unwrap_or_default().to_owned(),
                deprecated_since: facts["deprecated_since"].as_str().map(str::to_owned),
            })
        })
        .collect()
}

fn arguments(list: &Value) -> Outcome<Vec<Argument>> {
    list.as_array().into_iter().flatten().map(argument).collect()
}

// The grammar is a file of ours, a few levels deep.
fn argument(value: &Value) -> Outcome<Argument> {
    let flag = |name: &str| value[name].as_bool().unwrap_or_default();
    let name = value["name"].as_str().unwrap_or_default();
    Ok(Argument {
        name: snake(name),
        token: value["token"].as_str().map(str::to_owned),
        kind: match value["type"].as_str().unwrap_or_default() {
            "key" => Kind::Key,
            "string" => Kind::Text,
            "integer" => Kind::Integer,
            "double" => Kind::Double,
            "unix-time" => Kind::UnixTime,
            "pattern" => Kind::Pattern,
            "pure-token" => Kind::Flag,
            "oneof" => Kind::Choice,
            "block" => Kind::Block,
            other => return Err(format!("argument {name}: type {other} is not known")),
        },
        is_optional: flag("optional"),
        is_multiple: flag("multiple"),
        is_token_multiple: flag("multiple_token"),
        children: arguments(&value["arguments"])?,
    })
}

/// The reply's kind, where its schema tells without knowing what the command means.
fn reply(schema: &Value) -> &'static str {
    if schema["const"] == "OK" {
        return "ok";
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let simple: Vec<&str> = choices.iter().map(reply).collect();
        return match simple.as_slice() {
            ["value", "none"] | ["none", "value"] => "value?",
            ["int", "none"] | ["none", "int"] => "int?",
            _ if simple.iter().all(|kind| *kind == "int") => "int",
            _ => "any",
        };
    }
    match schema["type"].as_str() {
        Some("integer") => "int",
        Some("string") => "value",
        Some("null") => "none",
        Some("array") if reply(&schema["items"]) == "value" => "values",
        Some("array") if reply(&schema["items"]) == "value?" => "values?",
        Some("object") if schema["additionalProperties"]["type"] == "string" => "map",
        _ if schema["const"].is_i64() => "int",
        _ => "any",
    }
}

/// `min-idle-time` as the languages' parameters are called.
#[must_use]
pub fn snake(name: &str) -> String {
    name.to_lowercase().replace('-', "_")
}
