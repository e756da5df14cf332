//! The types: the methods as they return promises, and as they return the transaction itself.

use super::layout::{WIDTH, comment, filled};
use super::{NOTE, expression, leads, names, parent, roots};
use crate::Outcome;
use crate::plan::{Meaning, Method, Param, Part};
use crate::surface::{Form, Surface, WHOLE};
use std::collections::BTreeSet;

/// `commands.d.ts`.
pub(crate) fn text(methods: &[Method], surface: &Surface) -> Outcome<String> {
    let mut client = String::new();
    let mut multi = String::new();
    let mut client_capitals = String::new();
    let mut multi_capitals = String::new();
    for method in methods {
        let (name, aliases) = names(method);
        let of_type = &surface.reply(&method.reply)?.of_type;
        client.push_str(&documentation(method)?);
        for signature in signatures(method, surface)? {
            client.push_str(&member(&name, &signature, &format!("Promise<{of_type}>")));
            multi.push_str(&member(&name, &signature, "this"));
        }
        for alias in &aliases {
            let alias = if alias.contains('-') { format!("'{alias}'") } else { alias.clone() };
            client_capitals.push_str(&format!("  {alias}: Commands<S>['{name}'];\n"));
            multi_capitals.push_str(&format!("  {alias}: this['{name}'];\n"));
        }
    }
    let imports = imports(&format!("{client}{multi}"));
    Ok(format!(
        "{NOTE}{imports}\n\
        /** The commands of a client. `S` is what strings of replies become. */\n\
        export interface Commands<S = string> {{\n{client}\n{client_capitals}}}\n\n\
        /** The commands of a transaction: each is queued, and returns the transaction. */\n\
        export interface MultiCommands {{\n{multi}\n{multi_capitals}}}\n"
    ))
}

/// The types of lib/shapes.d.ts.
fn imports(code: &str) -> String {
    let code: String = code.lines().filter(|line| !line.trim_start().starts_with(['/', '*'])).collect();
    let names: BTreeSet<String> = code
        .split('\'')
        .step_by(2)
        .flat_map(|code| code.split(|c: char| !c.is_alphanumeric()))
        .filter(|name| name.len() > 1 && name.starts_with(char::is_uppercase))
        .filter(|name| name.chars().any(char::is_lowercase) && !BUILT_IN.contains(name))
        .map(str::to_owned)
        .collect();
    let names: Vec<String> = names.into_iter().collect();
    format!("import type {{\n{}}} from '../shapes.js';\n", filled(2, &names))
}

const BUILT_IN: [&str; 6] = ["Buffer", "Date", "Map", "Promise", "Record", "Set"];

fn documentation(method: &Method) -> Outcome<String> {
    if method.doc.is_empty() {
        return Err(format!("{}: no `doc`", method.command));
    }
    let since = &method.since;
    let mut words = format!("{} Since Redis {since}.", method.doc);
    if let Some(version) = &method.deprecated_since {
        words.push_str(&format!(" Deprecated since {version}."));
    }
    Ok(comment(2, &words))
}

fn member(name: &str, parameters: &[String], of_type: &str) -> String {
    let line = format!("  {name}({}): {of_type};\n", parameters.join(", "));
    if line.chars().count() <= WIDTH + 1 {
        return line;
    }
    let lines: String = parameters.iter().map(|parameter| wrapped(parameter)).collect();
    format!("  {name}(\n{lines}  ): {of_type};\n")
}

/// A parameter on lines of its own.
fn wrapped(parameter: &str) -> String {
    let line = format!("    {parameter},\n");
    match (line.chars().count() <= WIDTH + 1, parameter.split_once("{ "), parameter.rsplit_once(" }")) {
        (false, Some((head, _)), Some((body, tail))) => {
            let body = &body[head.len() + 2..];
            let members: String = split(body).iter().map(|member| format!("      {member};\n")).collect();
            format!("    {head}{{\n{members}    }}{tail},\n")
        }
        _ => line,
    }
}

/// The members of an object type.
fn split(text: &str) -> Vec<String> {
    let (mut parts, mut part, mut depth) = (Vec::new(), String::new(), 0);
    for character in text.chars() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ';' if depth == 0 => {
                parts.push(std::mem::take(&mut part).trim().to_owned());
                continue;
            }
            _ => {}
        }
        part.push(character);
    }
    parts.push(part.trim().to_owned());
    parts
}

/// Each way to call, as parameters.
fn signatures(method: &Method, surface: &Surface) -> Outcome<Vec<Vec<String>>> {
    if !method.signatures.is_empty() {
        return Ok(method.signatures.iter().map(|text| split(&text.replace(", ", "; "))).collect());
    }
    Ok(vec![roots(method).iter().map(|root| parameter(method, root, surface)).collect::<Outcome<_>>()?])
}

fn parameter(method: &Method, root: &str, surface: &Surface) -> Outcome<String> {
    let is_whole = |param: &&Param| expression(param) == root && param.name != WHOLE;
    if let Some(param) = method.params.iter().find(is_whole) {
        let of_type = of_type(param, surface)?;
        return Ok(match param.form {
            Form::Rest => format!("...{root}: {of_type}[]"),
            _ if param.is_optional && !param.is_required => format!("{root}?: {of_type}"),
            _ => format!("{root}: {of_type}"),
        });
    }
    let own = |param: &&Param| param.name == root || param.name.starts_with(&format!("{root}."));
    let is_optional = method.params.iter().filter(own).all(|param| param.is_optional && !param.is_required);
    let mark = if is_optional { "?" } else { "" };
    Ok(format!("{root}{mark}: {}", object(method, root, surface)?))
}

/// An object's type: its members, and the shapes that are made of all of it.
fn object(method: &Method, path: &str, surface: &Surface) -> Outcome<String> {
    let mut members: Vec<String> = Vec::new();
    let mut shapes: Vec<String> = Vec::new();
    for (index, param) in method.params.iter().enumerate() {
        if param.name == path {
            shapes.push(of_type(param, surface)?);
            continue;
        }
        let Some(rest) = param.name.strip_prefix(path).and_then(|rest| rest.strip_prefix('.')) else {
            continue;
        };
        let (name, is_nested) = rest.split_once('.').map_or((rest, false), |(name, _)| (name, true));
        if !is_nested {
            let mark = if is_open(method, index) { "?" } else { "" };
            members.push(format!("{name}{mark}: {}", of_type(param, surface)?));
        } else if leads(method, index) {
            members.push(format!("{name}?: {}", object(method, &format!("{path}.{name}"), surface)?));
        }
    }
    if !members.is_empty() {
        shapes.insert(0, format!("{{ {} }}", members.join("; ")));
    }
    Ok(shapes.join(" & "))
}

/// Whether a member may be missing where its object is there.
fn is_open(method: &Method, index: usize) -> bool {
    let mut parts: Vec<&Part> = method.parts.iter().collect();
    let mut has_condition = false;
    while let Some(part) = parts.pop() {
        if let Part::When(of, inner) = part {
            has_condition |= *of == index;
            parts.extend(inner);
        }
    }
    has_condition && !(parent(&method.params[index]).is_some() && leads(method, index))
}

fn of_type(param: &Param, surface: &Surface) -> Outcome<String> {
    let one = match param.value {
        _ if !param.words.is_empty() => {
            param.words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" | ")
        }
        Meaning::Text if param.takes_numbers => "RedisValue".to_owned(),
        Meaning::Key | Meaning::Text | Meaning::Pattern => "RedisArgument".to_owned(),
        Meaning::UnixSeconds | Meaning::UnixMilliseconds => "RedisNumber | Date".to_owned(),
        _ => "RedisNumber".to_owned(),
    };
    Ok(match &param.form {
        Form::Flag => "boolean".to_owned(),
        Form::List => format!("{one} | readonly {one}[]"),
        Form::Mapping => format!("RedisPairs<{one}>"),
        Form::Shape(function) => {
            let found = surface.shapes.iter().find(|(name, _)| name == function);
            found.map(|(_, of_type)| of_type.clone()).ok_or_else(|| format!("`{function}`: no such shape"))?
        }
        _ => one,
    })
}
