//! Methods that know no language: parameters, what they put on the wire and when, and the kinds of replies.

use crate::Outcome;
use crate::facts::{Argument, Command, Kind};
use crate::surface::{Entry, Form, Parameter, Surface, WHOLE, parameters};

/// A method.
#[derive(Debug)]
pub struct Method {
    /// In the language.
    pub name: String,
    /// Other names for the same.
    pub aliases: Vec<String>,
    /// The command.
    pub command: String,
    /// Of the command.
    pub group: String,
    /// The first version that has the command.
    pub since: String,
    /// The version since which something else does better.
    pub deprecated_since: Option<String>,
    /// In order.
    pub params: Vec<Param>,
    /// What goes out, in order.
    pub parts: Vec<Part>,
    /// Parameters of which one at most is given.
    pub exclusive: Vec<Vec<usize>>,
    /// Parameters of which one must be given.
    pub needed: Vec<Vec<usize>>,
    /// Parameters that are given together or not at all.
    pub together: Vec<Vec<usize>>,
    /// The reply's kind.
    pub reply: String,
    /// Other kinds, with the parameter that brings each.
    pub replies_if: Vec<(String, String)>,
    /// Whether the call without options is worth its own way.
    pub is_fast: bool,
    /// The signature, where the binding has the method in its own words.
    pub by_hand: Option<String>,
    /// The parameters' types, where the surface has them; one text for each way to call.
    pub signatures: Vec<String>,
    /// One sentence.
    pub doc: String,
}

/// A parameter.
#[derive(Clone, Debug)]
pub struct Param {
    /// In the language.
    pub name: String,
    /// How it takes values.
    pub form: Form,
    /// `None` where a value must be given.
    pub default: Option<Unset>,
    /// Whether nothing is sent where it is not given.
    pub is_optional: bool,
    /// Whether it must be given though the grammar leaves it open.
    pub is_required: bool,
    /// Whether text may be given as a number.
    pub takes_numbers: bool,
    /// What it stands for.
    pub value: Meaning,
    /// The words of which it is one, where it is.
    pub words: Vec<String>,
}

/// What a parameter is that is not given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unset {
    /// Nothing.
    Nothing,
    /// A word that is not sent.
    No,
    /// This, in the language's words.
    Literal(String),
}

/// What a value stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Meaning {
    /// A key's name.
    Key,
    /// Any text or bytes.
    #[default]
    Text,
    /// A glob pattern.
    Pattern,
    /// An integer.
    Integer,
    /// A number with a fraction.
    Double,
    /// A span in seconds.
    Seconds,
    /// A span in milliseconds.
    Milliseconds,
    /// A moment in seconds since 1970.
    UnixSeconds,
    /// A moment in milliseconds since 1970.
    UnixMilliseconds,
}

/// Something that goes out. Numbers are indices of parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// This word.
    Word(String),
    /// A parameter's value.
    Value(usize),
    /// Each of a parameter's values, with the word in front of each where there is one.
    Values(usize, Option<String>),
    /// How many values a parameter has.
    Count(usize),
    /// What a function of the binding makes of a parameter; see `Form::Shape`.
    Shaped(usize),
    /// These, where the parameter is given.
    When(usize, Vec<Part>),
}

/// The methods of a surface, checked against the facts.
///
/// # Errors
/// Names what does not fit.
pub fn methods(commands: &[Command], surface: &Surface) -> Outcome<Vec<Method>> {
    let known = |name: &str| commands.iter().any(|command| command.name == name);
    let named = surface.methods.iter().map(|(name, _)| name);
    if let Some(name) = named.chain(surface.left_out.iter().map(|(name, _)| name)).find(|name| !known(name)) {
        return Err(format!("{name}: the facts have no such command"));
    }
    let mut methods: Vec<Method> = Vec::new();
    for command in commands {
        let entries = surface.methods.iter().find(|(name, _)| *name == command.name);
        let reason = surface.left_out.iter().find(|(name, _)| *name == command.name);
        match (entries, reason) {
            (Some((_, entries)), None) => {
                for entry in entries {
                    methods.push(
                        method(command, entry, surface)
                            .map_err(|text| format!("{}: {text}", command.name))?,
                    );
                }
            }
            (None, Some(_)) => {}
            (None, None) if command.is_container || command.name.ends_with(" HELP") => {}
            (Some(_), Some(_)) => return Err(format!("{}: has methods and is left out", command.name)),
            (None, None) => return Err(format!("{}: no method, and no reason why not", command.name)),
        }
    }
    let is_used = |kind: &String| {
        methods
            .iter()
            .any(|method| method.reply == *kind || method.replies_if.iter().any(|(_, other)| other == kind))
    };
    match surface.replies.iter().find(|(kind, _)| !is_used(kind)) {
        Some((kind, _)) => Err(format!("no method has the reply kind `{kind}`")),
        None => Ok(methods),
    }
}

fn method(command: &Command, entry: &Entry, surface: &Surface) -> Outcome<Method> {
    let mut replies = entry.reply.as_deref().unwrap_or(command.reply).split("; ");
    let mut method = Method {
        name: entry.method.clone().unwrap_or_else(|| crate::facts::snake(&command.name).replace(' ', "_")),
        aliases: entry.aliases.clone(),
        command: command.name.clone(),
        group: command.group.clone(),
        since: command.since.clone(),
        deprecated_since: command.deprecated_since.clone(),
        params: Vec::new(),
        parts: Vec::new(),
        exclusive: Vec::new(),
        needed: Vec::new(),
        together: Vec::new(),
        reply: replies.next().unwrap_or("any").to_owned(),
        replies_if: replies
            .map(|case| case.split_once(": ").map(|(flag, kind)| (flag.to_owned(), kind.to_owned())))
            .collect::<Option<_>>()
            .ok_or("a further reply names its parameter")?,
        is_fast: entry.is_fast,
        by_hand: None,
        signatures: entry.signatures.clone(),
        doc: entry.doc.clone(),
    };
    if entry.by_hand {
        method.by_hand = Some(entry.call.clone().ok_or("by hand, but without a signature")?);
        return Ok(method);
    }
    let options = entry.options.as_deref().unwrap_or_default();
    let wanted = match &entry.call {
        Some(call) => parameters(call, options),
        None => derived(&command.arguments, surface)?.into_iter().chain(parameters("", options)).collect(),
    };
    let arguments = ordered(&command.arguments, &entry.last);
    let is_bound = vec![false; wanted.len()];
    let mut binder = Binder { wanted: &wanted, always: &entry.always, is_bound, method };
    binder.params(&arguments)?;
    let mut parts = Vec::new();
    for argument in &arguments {
        binder.argument(argument, &mut parts)?;
    }
    let Binder { is_bound, mut method, .. } = binder;
    for (wanted, is_bound) in wanted.iter().zip(is_bound) {
        if !is_bound && wanted.form != Form::Cast {
            return Err(format!("`{}` is not in the grammar", wanted.reference));
        }
    }
    for names in &entry.exclusive {
        let found =
            names.iter().filter_map(|name| method.params.iter().position(|param| param.name == *name));
        method.exclusive.push(found.collect());
    }
    method.parts = given(parts, &method.params);
    Ok(method)
}

/// The parameters of a grammar without options.
fn derived(arguments: &[Argument], surface: &Surface) -> Outcome<Vec<Parameter>> {
    arguments
        .iter()
        .filter(|argument| argument.name != "numkeys")
        .map(|argument| {
            let name = if argument.name == "key" { &surface.key } else { &argument.name };
            let form = match (argument.kind, argument.is_multiple) {
                (Kind::Block, true) => Form::Mapping,
                (Kind::Block, false) => return Err(format!("`{name}` needs a `call`")),
                (_, true) => surface.several.clone(),
                (_, false) => Form::One,
            };
            Ok(Parameter {
                name: name.clone(),
                reference: argument.name.clone(),
                also: Vec::new(),
                form,
                default: None,
                is_required: false,
                takes_numbers: false,
            })
        })
        .collect()
}

/// The grammar, with what the surface wants last at its end.
fn ordered(arguments: &[Argument], last: &[String]) -> Vec<Argument> {
    let place = |argument: &Argument| last.iter().position(|name| is(argument, name)).map_or(0, |at| at + 1);
    let mut arguments = arguments.to_vec();
    arguments.sort_by_key(place);
    arguments
}

/// What depends on parameters that must be given does not depend on anything.
fn given(parts: Vec<Part>, params: &[Param]) -> Vec<Part> {
    let resolve = |part| match part {
        Part::When(index, inner) if params[index].is_required => given(inner, params),
        Part::When(index, inner) => vec![Part::When(index, given(inner, params))],
        other => vec![other],
    };
    parts.into_iter().flat_map(resolve).collect()
}

/// Whether a surface means this argument.
fn is(argument: &Argument, reference: &str) -> bool {
    let token = argument.token.as_deref().map(crate::facts::snake);
    argument.name == reference || token.as_deref() == Some(reference)
}

struct Binder<'a> {
    wanted: &'a [Parameter],
    always: &'a [String],
    is_bound: Vec<bool>,
    method: Method,
}

impl Binder<'_> {
    /// Which parameter an argument is. A choice of which an alternative is a parameter is none itself.
    fn find(&self, argument: &Argument) -> Option<usize> {
        let has_values = |child: &Argument| child.kind != Kind::Flag && self.is_below(child);
        let is_split = argument.kind == Kind::Choice && argument.children.iter().any(has_values);
        if is_split { None } else { self.find_itself(argument) }
    }

    fn is_below(&self, argument: &Argument) -> bool {
        self.find_itself(argument).is_some() || argument.children.iter().any(|child| self.is_below(child))
    }

    fn find_itself(&self, argument: &Argument) -> Option<usize> {
        self.wanted.iter().position(|parameter| {
            let reference = if parameter.reference == "name" && argument.kind == Kind::Key {
                "key"
            } else {
                parameter.reference.as_str()
            };
            match parameter.form {
                Form::Cast => false,
                Form::Mapping => argument.kind == Kind::Block && argument.is_multiple,
                Form::Shape(_) => is(argument, reference),
                // Its members may be parameters.
                _ if argument.kind == Kind::Block => false,
                _ => is(argument, reference),
            }
        })
    }

    /// Whether another argument's parameter stands for this one, too.
    fn is_taken(&self, argument: &Argument) -> bool {
        self.wanted.iter().any(|parameter| parameter.also.iter().any(|name| is(argument, name)))
    }

    fn is_always(&self, argument: &Argument) -> bool {
        argument.kind == Kind::Flag && self.always.iter().any(|name| is(argument, name))
    }

    /// Fills `Method::params`, with the defaults that the grammar implies.
    fn params(&mut self, arguments: &[Argument]) -> Outcome<()> {
        for wanted in self.wanted {
            self.method.params.push(Param {
                name: wanted.name.clone(),
                form: wanted.form.clone(),
                default: wanted.default.clone().map(Unset::Literal),
                is_optional: false,
                is_required: wanted.is_required,
                takes_numbers: wanted.takes_numbers,
                value: Meaning::default(),
                words: Vec::new(),
            });
        }
        let mut todo: Vec<(&Argument, bool)> =
            arguments.iter().rev().map(|argument| (argument, false)).collect();
        while let Some((argument, may_be_missing)) = todo.pop() {
            let may_be_missing = may_be_missing || argument.is_optional;
            if let Some(index) = self.find(argument) {
                self.is_bound[index] = true;
                let param = &mut self.method.params[index];
                param.value = meaning(argument);
                param.words = words(argument);
                param.is_optional |= may_be_missing;
                if argument.kind == Kind::Flag && param.form == Form::One {
                    param.form = Form::Flag;
                }
                if param.default.is_none() && may_be_missing && param.form != Form::Rest {
                    param.default = Some(if param.form == Form::Flag { Unset::No } else { Unset::Nothing });
                }
                continue;
            }
            // A choice of which the method offers one alternative is none.
            let offered = argument.children.iter().filter(|child| self.is_below(child)).count();
            let is_choice = argument.kind == Kind::Choice && offered > 1;
            todo.extend(argument.children.iter().rev().map(|child| (child, may_be_missing || is_choice)));
        }
        Ok(())
    }

    fn argument(&mut self, argument: &Argument, parts: &mut Vec<Part>) -> Outcome<()> {
        if let Some(index) = self.find(argument) {
            parts.push(self.bound(argument, index));
            return Ok(());
        }
        if self.is_always(argument) {
            parts.extend(argument.token.clone().map(Part::Word));
            return Ok(());
        }
        if self.is_taken(argument) {
            return Ok(());
        }
        match argument.kind {
            Kind::Choice => self.choice(argument, parts),
            Kind::Block => self.block(argument, parts),
            _ if matches!(argument.name.as_str(), "numkeys" | "numfields") => {
                let lists = |form: &Form| matches!(form, Form::List | Form::ListAndRest(_) | Form::Rest);
                let list = self.method.params.iter().position(|param| lists(&param.form));
                parts.push(Part::Count(list.ok_or("numkeys without keys")?));
                Ok(())
            }
            _ if argument.is_optional => Ok(()),
            Kind::Flag => Ok(()),
            _ => Err(format!("`{}` must be a parameter", argument.name)),
        }
    }

    /// What a parameter sends. No required value has a token in the facts.
    fn bound(&self, argument: &Argument, index: usize) -> Part {
        let param = &self.method.params[index];
        let word = argument.token.clone();
        let value = match param.form {
            Form::Flag => return Part::When(index, vec![Part::Word(word.unwrap_or_default())]),
            // Its words, too, are the function's; and it looks into the options itself.
            Form::Shape(_) if !param.is_optional || param.name == WHOLE => return Part::Shaped(index),
            Form::Shape(_) => return Part::When(index, vec![Part::Shaped(index)]),
            Form::One | Form::Cast => Part::Value(index),
            _ => Part::Values(index, word.clone().filter(|_| argument.is_token_multiple)),
        };
        if !param.is_optional || param.form == Form::Rest {
            return value;
        }
        let word = word.filter(|_| !argument.is_token_multiple).map(Part::Word);
        Part::When(index, word.into_iter().chain([value]).collect())
    }

    /// One of several. A choice of words that is no parameter itself sends those that are.
    fn choice(&mut self, argument: &Argument, parts: &mut Vec<Part>) -> Outcome<()> {
        let mut alternatives = Vec::new();
        let mut has_values = false;
        for child in &argument.children {
            let before = parts.len();
            if child.kind == Kind::Block {
                self.optional_block(child, parts)?;
            } else if self.is_always(child) {
                parts.extend(child.token.clone().map(Part::Word));
            } else {
                parts.extend(self.find(child).map(|index| self.bound(child, index)));
            }
            if let Some(Part::When(index, inner)) = parts.get_mut(before) {
                inner.splice(0..0, argument.token.clone().map(Part::Word));
                alternatives.push(*index);
                has_values |= child.kind != Kind::Flag;
            }
        }
        if alternatives.len() > 1 && has_values {
            if !argument.is_optional {
                self.method.needed.push(alternatives.clone());
            }
            self.method.exclusive.push(alternatives);
        }
        Ok(())
    }

    fn block(&mut self, argument: &Argument, parts: &mut Vec<Part>) -> Outcome<()> {
        if argument.is_optional {
            return self.optional_block(argument, parts);
        }
        parts.extend(argument.token.clone().map(Part::Word));
        for child in &argument.children {
            self.argument(child, parts)?;
        }
        Ok(())
    }

    /// Goes out where its first value is given; the others must be given, too.
    fn optional_block(&mut self, argument: &Argument, parts: &mut Vec<Part>) -> Outcome<()> {
        let required = argument.children.iter().filter(|child| !child.is_optional);
        let params: Vec<usize> = required.filter_map(|child| self.find(child)).collect();
        let Some(&first) = params.first() else { return Ok(()) };
        let mut inner: Vec<Part> = argument.token.clone().map(Part::Word).into_iter().collect();
        for child in &argument.children {
            let bound = if child.is_optional { None } else { self.find(child) };
            match bound {
                Some(index) if self.method.params[index].form != Form::Flag => {
                    inner.extend(child.token.clone().map(Part::Word));
                    inner.push(Part::Value(index));
                }
                Some(_) => inner.extend(child.token.clone().map(Part::Word)),
                None => self.argument(child, &mut inner)?,
            }
        }
        parts.push(Part::When(first, inner));
        let open = |&index: &usize| self.method.params[index].default == Some(Unset::Nothing);
        let open: Vec<usize> = params.into_iter().filter(open).collect();
        if open.len() > 1 {
            self.method.together.push(open);
        }
        Ok(())
    }
}

/// The words of a choice that has nothing else.
fn words(argument: &Argument) -> Vec<String> {
    let is_word = |child: &Argument| child.kind == Kind::Flag;
    if argument.kind != Kind::Choice || !argument.children.iter().all(is_word) {
        return Vec::new();
    }
    argument.children.iter().filter_map(|child| child.token.clone()).collect()
}

fn meaning(argument: &Argument) -> Meaning {
    match argument.kind {
        Kind::Key => Meaning::Key,
        Kind::Pattern => Meaning::Pattern,
        Kind::Double => Meaning::Double,
        Kind::UnixTime if argument.name.contains("milliseconds") => Meaning::UnixMilliseconds,
        Kind::UnixTime => Meaning::UnixSeconds,
        Kind::Integer => match argument.name.as_str() {
            "seconds" => Meaning::Seconds,
            "milliseconds" => Meaning::Milliseconds,
            _ => Meaning::Integer,
        },
        Kind::Text | Kind::Flag | Kind::Choice | Kind::Block => Meaning::Text,
    }
}
