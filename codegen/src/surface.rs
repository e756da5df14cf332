//! What a language calls things, where its users expect something else than the facts say.

use crate::Outcome;
use serde_json::{Map, Value};

/// A language's surface.
#[derive(Debug)]
pub struct Surface {
    /// What each kind of reply becomes.
    pub replies: Vec<(String, ReplyForm)>,
    /// By command; a command may have several methods.
    pub methods: Vec<(String, Vec<Entry>)>,
    /// Commands without a method, and why.
    pub left_out: Vec<(String, String)>,
}

/// What a kind of reply becomes in the language.
#[derive(Clone, Debug)]
pub struct ReplyForm {
    /// The native conversion.
    pub shape: String,
    /// The type; `T` is what strings become.
    pub of_type: String,
    /// A function of the binding that finishes the value.
    pub convert: Option<String>,
}

/// What the surface says of one method.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    /// The name, where it is not the command's.
    pub method: Option<String>,
    /// Other names for the same.
    pub aliases: Vec<String>,
    /// The parameters, where they are not the grammar's; see `Parameter`.
    pub call: Option<String>,
    /// The reply's kind, where the facts do not tell; `"values; withscores: scored"` depends on a parameter.
    pub reply: Option<String>,
    /// Parameters of which one may be given; on top of what the grammar says.
    pub exclusive: Vec<Vec<String>>,
    /// Whether the call without options is worth its own way.
    pub is_fast: bool,
    /// Whether the binding has it in its own words; then `call` is the signature in the language.
    pub by_hand: bool,
    /// One sentence.
    pub doc: String,
}

/// One parameter of `Entry::call`: `time: seconds = 1`, `*names: key`, `keys[]`, `keys[*args]`, `first[+args]`,
/// `mapping{}`, `@cast = float`. What follows the colon is the name or the token in the grammar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// In the language.
    pub name: String,
    /// In the grammar.
    pub reference: String,
    /// How it takes values.
    pub form: Form,
    /// As the surface says; else the grammar decides.
    pub default: Option<String>,
}

/// How a parameter takes values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// One value.
    One,
    /// A word that is sent or not.
    Flag,
    /// Any number of arguments.
    Rest,
    /// A list, or any iterable.
    List,
    /// One value or a list, and further arguments under this name.
    ListAndRest(String),
    /// One value, and further arguments under this name.
    OneAndRest(String),
    /// Pairs of two.
    Mapping,
    /// A function that makes something else of scores.
    Cast,
}

/// Reads a surface file.
///
/// # Errors
/// Where the text is no JSON of the expected form.
pub fn read(text: &str) -> Outcome<Surface> {
    let value: Value = serde_json::from_str(text).map_err(|error| format!("surface: {error}"))?;
    let object = |name: &str| value[name].as_object().ok_or_else(|| format!("surface: no {name}"));
    Ok(Surface {
        replies: object("replies")?.iter().map(|(kind, form)| (kind.clone(), reply(form))).collect(),
        methods: object("methods")?.iter().map(|(name, entry)| (name.clone(), entries(entry))).collect(),
        left_out: object("left_out")?.iter().flat_map(|(reason, names)| left_out(reason, names)).collect(),
    })
}

fn reply(form: &Value) -> ReplyForm {
    let part = |index: usize| form[index].as_str().unwrap_or_default().to_owned();
    ReplyForm { shape: part(0), of_type: part(1), convert: Some(part(2)).filter(|name| !name.is_empty()) }
}

fn left_out(reason: &str, names: &Value) -> Vec<(String, String)> {
    strings(names).into_iter().map(|name| (name, reason.to_owned())).collect()
}

fn entries(value: &Value) -> Vec<Entry> {
    match value {
        Value::Array(list) => list.iter().filter_map(Value::as_object).map(entry).collect(),
        other => other.as_object().map(entry).into_iter().collect(),
    }
}

fn entry(object: &Map<String, Value>) -> Entry {
    let text = |name: &str| object.get(name).and_then(Value::as_str).map(str::to_owned);
    let flag = |name: &str| object.get(name).and_then(Value::as_bool).unwrap_or_default();
    let names = |text: String| text.split(", ").map(str::to_owned).collect();
    Entry {
        method: text("method"),
        aliases: object.get("aliases").map(strings).unwrap_or_default(),
        call: text("call"),
        reply: text("reply"),
        exclusive: text("exclusive").map(names).into_iter().collect(),
        is_fast: flag("fast"),
        by_hand: flag("by_hand"),
        doc: text("doc").unwrap_or_default(),
    }
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The parameters of a `call`.
#[must_use]
pub fn parameters(call: &str) -> Vec<Parameter> {
    call.split(',').map(str::trim).filter(|part| !part.is_empty()).map(parameter).collect()
}

fn parameter(text: &str) -> Parameter {
    let (text, default) = match text.split_once('=') {
        Some((text, default)) => (text.trim(), Some(default.trim().to_owned())),
        None => (text, None),
    };
    let (name, reference) = match text.split_once(':') {
        Some((name, reference)) => (name.trim(), Some(reference.trim())),
        None => (text, None),
    };
    let (name, form) = if let Some(name) = name.strip_prefix('*') {
        (name, Form::Rest)
    } else if let Some(name) = name.strip_prefix('@') {
        (name, Form::Cast)
    } else if let Some(name) = name.strip_suffix("{}") {
        (name, Form::Mapping)
    } else if let Some(name) = name.strip_suffix("[]") {
        (name, Form::List)
    } else if let Some((name, rest)) = name.strip_suffix(']').and_then(|name| name.split_once("[*")) {
        (name, Form::ListAndRest(rest.to_owned()))
    } else if let Some((name, rest)) = name.strip_suffix(']').and_then(|name| name.split_once("[+")) {
        (name, Form::OneAndRest(rest.to_owned()))
    } else {
        (name, Form::One)
    };
    Parameter { name: name.to_owned(), reference: reference.unwrap_or(name).to_owned(), form, default }
}
