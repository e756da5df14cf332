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
    /// What the parameter for a grammar's `key` is called, where there is no `call`.
    pub key: String,
    /// How parameters of several values take them, where there is no `call`.
    pub several: Form,
    /// The types that converters take, by converter.
    pub shapes: Vec<(String, String)>,
}

impl Surface {
    /// What a kind of reply becomes.
    ///
    /// # Errors
    /// Where the surface does not say.
    pub fn reply(&self, kind: &str) -> Outcome<&ReplyForm> {
        let found = self.replies.iter().find(|(name, _)| name == kind);
        found.map(|(_, form)| form).ok_or_else(|| format!("reply kind `{kind}` is not in the surface"))
    }
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
    /// Further parameters, as members of one object; `@condition` hands all of it to that converter.
    pub options: Option<String>,
    /// Words of the grammar that are sent always.
    pub always: Vec<String>,
    /// Parts of the grammar that go last, where a language's users know the words in that order.
    pub last: Vec<String>,
    /// The parameters' types, where the plan does not tell them; one text for each way to call.
    pub signatures: Vec<String>,
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
/// `mapping{}`, `@cast = float`, `by~box: by`, `(field value)~fields: data`. What follows the colon is the name or the
/// token in the grammar; `keys~weighted: key+weight` takes the place of both. `range.start` is a member of an object.
/// `#value` may be a number, and `count!` must be given though the grammar leaves it open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// In the language.
    pub name: String,
    /// In the grammar.
    pub reference: String,
    /// Of the grammar, what it stands for besides.
    pub also: Vec<String>,
    /// How it takes values.
    pub form: Form,
    /// As the surface says; else the grammar decides.
    pub default: Option<String>,
    /// Whether it must be given even where the grammar says that it may be left out.
    pub is_required: bool,
    /// Whether text may be given as a number.
    pub takes_numbers: bool,
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
    /// A shape of the language's own, which this function of the binding writes.
    Shape(String),
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
        key: value["derived"]["key"].as_str().unwrap_or("name").to_owned(),
        several: if value["derived"]["several"] == "list" { Form::List } else { Form::Rest },
        shapes: value["shapes"].as_object().into_iter().flatten().map(shape).collect(),
    })
}

fn reply(form: &Value) -> ReplyForm {
    let part = |index: usize| form[index].as_str().unwrap_or_default().to_owned();
    ReplyForm { shape: part(0), of_type: part(1), convert: Some(part(2)).filter(|name| !name.is_empty()) }
}

fn shape((name, of_type): (&String, &Value)) -> (String, String) {
    (name.clone(), of_type.as_str().unwrap_or_default().to_owned())
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
    let names = |text: String| text.split(", ").map(str::to_owned).collect::<Vec<_>>();
    Entry {
        method: text("method"),
        aliases: object.get("aliases").map(strings).unwrap_or_default(),
        call: text("call"),
        options: text("options"),
        always: text("always").map(names).unwrap_or_default(),
        last: text("last").map(names).unwrap_or_default(),
        signatures: object.get("signatures").map(strings).unwrap_or_default(),
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

/// The parameters of an entry: those of its `call`, then its options.
#[must_use]
pub fn parameters(call: &str, options: &str) -> Vec<Parameter> {
    let split = |text: &str| -> Vec<String> {
        text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
    };
    let option = |text: &String| match (text.strip_prefix('@'), text.strip_prefix('#')) {
        (Some(whole), _) => format!("{WHOLE}~{whole}"),
        (None, Some(number)) => format!("#{OPTIONS}{number}"),
        (None, None) => format!("{OPTIONS}{text}"),
    };
    let options: Vec<String> = split(options).iter().map(option).collect();
    split(call).iter().chain(&options).map(|text| parameter(text)).collect()
}

/// The object that holds options, as a parameter.
pub const WHOLE: &str = "options";
/// What the names of its members begin with.
pub const OPTIONS: &str = "options.";

fn parameter(text: &str) -> Parameter {
    let (text, default) = match text.split_once('=') {
        Some((text, default)) => (text.trim(), Some(default.trim().to_owned())),
        None => (text, None),
    };
    let (name, reference) = match text.split_once(':') {
        Some((name, reference)) => (name.trim(), Some(reference.trim())),
        None => (text, None),
    };
    let (name, takes_numbers) = name.strip_prefix('#').map_or((name, false), |name| (name, true));
    let (name, is_required) = name.strip_suffix('!').map_or((name, false), |name| (name, true));
    let (name, form) = form(name);
    let mut references = reference.map_or_else(|| vec![in_grammar(name, &form)], plus);
    Parameter {
        name: name.to_owned(),
        reference: references.remove(0),
        also: references,
        form,
        default,
        is_required,
        takes_numbers,
    }
}

fn form(name: &str) -> (&str, Form) {
    if let Some(name) = name.strip_prefix('*') {
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
    } else if let Some((name, function)) = name.split_once('~') {
        (name.trim_matches(['(', ')']), Form::Shape(function.to_owned()))
    } else {
        (name, Form::One)
    }
}

fn plus(text: &str) -> Vec<String> {
    text.split('+').map(str::to_owned).collect()
}

/// Where the surface does not say: `minIdleTime` is `min_idle_time`, `options.LIMIT.offset` is `offset`, and what a
/// converter gets all options for has the converter's name.
fn in_grammar(name: &str, form: &Form) -> String {
    if let (WHOLE, Form::Shape(function)) = (name, form) {
        return function.clone();
    }
    let name = name.rsplit('.').next().unwrap_or(name);
    if !name.chars().any(char::is_lowercase) {
        return name.to_lowercase();
    }
    let split =
        |c: char| if c.is_uppercase() { format!("_{}", c.to_ascii_lowercase()) } else { c.to_string() };
    name.chars().map(split).collect()
}
