//! The code of a method.

use super::{Forms, default, layout};
use crate::Outcome;
use crate::plan::{Meaning, Method, Param, Part};
use crate::surface::Form;

/// One method, with an empty line in front.
pub(crate) fn text(method: &Method, forms: &Forms<'_>) -> Outcome<String> {
    let mut text = String::from("\n");
    text.push_str(&layout::bracketed(4, &format!("def {}", method.name), &signature(method), " -> Any:"));
    text.push_str(&format!("        \"\"\"{}\"\"\"\n", method.doc));
    text.push_str(&fast_way(method, forms)?);
    text.push_str(&checks(method));
    if let Some((index, name)) = list(method) {
        let param = &method.params[index];
        if is_counted(&method.parts, index) || matches!(param.form, Form::ListAndRest(_)) {
            let more = if let Form::ListAndRest(rest) = &param.form { rest } else { "()" };
            text.push_str(&format!("        {name} = flat({name}, {more})\n"));
        }
    }
    let optional = method.parts.iter().position(|part| matches!(part, Part::When(..)));
    match (optional, method.parts.split_last()) {
        (None, _) => text.push_str(&finish(method, forms, 8, &items(method, &method.parts), None)?),
        (Some(first), Some((Part::When(param, inner), before)))
            if first == before.len() && !inner.iter().any(|part| matches!(part, Part::When(..))) =>
        {
            let mut all = items(method, before);
            let absent = negated(&method.params[*param]);
            text.push_str(&format!("        if {absent}:\n"));
            text.push_str(&finish(method, forms, 12, &all, Some((*param, false)))?);
            all.extend(items(method, inner));
            text.push_str(&finish(method, forms, 8, &all, Some((*param, true)))?);
        }
        (Some(first), _) => {
            let (always, rest) = method.parts.split_at(first);
            text.push_str(&layout_list(&items(method, always)));
            text.push_str(&statements(method, rest, 8));
            text.push_str(&finish(method, forms, 8, &["*arguments".to_owned()], None)?);
        }
    }
    Ok(text)
}

fn layout_list(items: &[String]) -> String {
    format!("        arguments: list[Any] = [{}]\n", items.join(", "))
}

fn signature(method: &Method) -> Vec<String> {
    let mut items = vec!["self".to_owned()];
    for param in &method.params {
        let name = &param.name;
        match (&param.form, default(param)) {
            (Form::Rest, _) => items.push(format!("*{name}: Any")),
            (form, default) => {
                let kind = match (form, default) {
                    (Form::Flag, Some("None")) => "bool | None",
                    (Form::Flag, _) => "bool",
                    _ => "Any",
                };
                items.push(match default {
                    Some(default) => format!("{name}: {kind} = {default}"),
                    None => format!("{name}: {kind}"),
                });
            }
        }
        if let Form::ListAndRest(rest) | Form::OneAndRest(rest) = &param.form {
            items.push(format!("*{rest}: Any"));
        }
    }
    items
}

/// The call without options, where that is worth a look before all else.
fn fast_way(method: &Method, forms: &Forms<'_>) -> Outcome<String> {
    if !method.is_fast {
        return Ok(String::new());
    }
    let (mut flags, mut values) = (Vec::new(), Vec::new());
    for param in &method.params {
        match default(param) {
            Some("False") => flags.push(param.name.as_str()),
            Some("None") => values.push(param.name.as_str()),
            _ => {}
        }
    }
    let always: Vec<Part> =
        method.parts.iter().filter(|part| !matches!(part, Part::When(..))).cloned().collect();
    let mut text = format!("        if not ({}) and {} is None:\n", flags.join(" or "), values.join(" is "));
    let form = forms.of(&method.reply)?;
    let mut all = vec![form.shape.clone(), format!("\"{}\"", method.command)];
    all.extend(items(method, &always));
    text.push_str(&layout::bracketed(12, "return self._call", &all, ""));
    Ok(text)
}

fn checks(method: &Method) -> String {
    let mut text = String::new();
    let names = |indices: &[usize]| -> Vec<&str> {
        indices.iter().map(|&index| method.params[index].name.as_str()).collect()
    };
    let given = |indices: &[usize]| -> String {
        indices.iter().map(|&index| condition(&method.params[index])).collect::<Vec<_>>().join(", ")
    };
    let mut check = |condition: String, text_of: String| {
        text.push_str(&format!("        if {condition}:\n            raise DataError(\"{text_of}\")\n"));
    };
    for indices in &method.exclusive {
        let say = format!("{} exclude each other", listed(&names(indices)));
        check(format!("given({}) > 1", given(indices)), say);
    }
    for indices in &method.needed {
        check(
            format!("not given({})", given(indices)),
            format!("one of {} is needed", listed(&names(indices))),
        );
    }
    for indices in &method.together {
        let count = indices.len();
        let say = format!("{} belong together", listed(&names(indices)));
        let all = if count == 2 { "given({}) == 1".to_owned() } else { format!("0 < given({{}}) < {count}") };
        check(all.replace("{}", &given(indices)), say);
    }
    text
}

/// `a, b and c`.
fn listed(names: &[&str]) -> String {
    match names {
        [before @ .., last] if !before.is_empty() => format!("{} and {last}", before.join(", ")),
        _ => names.concat(),
    }
}

fn list(method: &Method) -> Option<(usize, &str)> {
    let lists = |form: &Form| matches!(form, Form::List | Form::ListAndRest(_));
    let index = method.params.iter().position(|param| lists(&param.form))?;
    Some((index, &method.params[index].name))
}

fn is_counted(parts: &[Part], index: usize) -> bool {
    parts.contains(&Part::Count(index))
}

/// Arguments of a call.
fn items(method: &Method, parts: &[Part]) -> Vec<String> {
    parts.iter().flat_map(|part| item(method, part)).collect()
}

fn item(method: &Method, part: &Part) -> Vec<String> {
    match part {
        Part::Word(word) => vec![format!("\"{word}\"")],
        Part::Value(index) => vec![value(&method.params[*index])],
        Part::Count(index) => vec![format!("len({})", method.params[*index].name)],
        Part::Values(index, word) => values(&method.params[*index], word.as_deref()),
        // The surface of Python has no shapes.
        Part::When(..) | Part::Shaped(_) => Vec::new(),
    }
}

fn value(param: &Param) -> String {
    let name = &param.name;
    match param.value {
        Meaning::Seconds => format!("as_seconds({name})"),
        Meaning::Milliseconds => format!("as_milliseconds({name})"),
        Meaning::UnixSeconds => format!("as_unix_seconds({name})"),
        Meaning::UnixMilliseconds => format!("as_unix_milliseconds({name})"),
        _ => name.clone(),
    }
}

fn values(param: &Param, word: Option<&str>) -> Vec<String> {
    let name = &param.name;
    match (&param.form, word) {
        (_, Some(word)) => vec![format!("*each(\"{word}\", {name})")],
        (Form::Mapping, None) => vec![format!("*pairs({name})")],
        (Form::OneAndRest(rest), None) => vec![name.clone(), format!("*{rest}")],
        _ => vec![format!("*{name}")],
    }
}

/// What appends the parts to `arguments`.
fn statements(method: &Method, parts: &[Part], indent: usize) -> String {
    let mut text = String::new();
    let mut parts = parts;
    while let Some((part, rest)) = parts.split_first() {
        if let Part::When(index, inner) = part {
            let given = condition(&method.params[*index]);
            text.push_str(&format!("{}if {given}:\n", " ".repeat(indent)));
            text.push_str(&statements(method, inner, indent + 4));
            parts = rest;
        } else {
            let count = parts.iter().take_while(|part| !matches!(part, Part::When(..))).count();
            let (always, rest) = parts.split_at(count);
            text.push_str(&append(&" ".repeat(indent), &items(method, always)));
            parts = rest;
        }
    }
    text
}

fn append(space: &str, items: &[String]) -> String {
    match items {
        [one] if one.starts_with('*') => format!("{space}arguments.extend({})\n", &one[1..]),
        [one] => format!("{space}arguments.append({one})\n"),
        _ => format!("{space}arguments += ({})\n", items.join(", ")),
    }
}

/// Whether a default means that nothing is sent.
fn is_empty(default: &str) -> bool {
    matches!(default, "None" | "False" | "0" | "[]")
}

/// Whether the parameter is given.
fn condition(param: &Param) -> String {
    match default(param) {
        _ if param.form == Form::Flag => param.name.clone(),
        Some(default) if is_empty(default) && default != "None" => param.name.clone(),
        _ => format!("{} is not None", param.name),
    }
}

fn negated(param: &Param) -> String {
    let condition = condition(param);
    match condition.strip_suffix(" is not None") {
        Some(name) => format!("{name} is None"),
        None => format!("not {condition}"),
    }
}

/// The call, or one per kind of reply where these need functions of their own. `known` is a parameter of which the
/// code at hand knows already whether it is given.
fn finish(
    method: &Method,
    forms: &Forms<'_>,
    indent: usize,
    items: &[String],
    known: Option<(usize, bool)>,
) -> Outcome<String> {
    let mut text = String::new();
    let space = " ".repeat(indent);
    let mut kind = method.reply.as_str();
    let mut shape_if = String::new();
    for (flag, kind_if) in &method.replies_if {
        let Some(index) = method.params.iter().position(|param| param.name == *flag) else {
            return Err(format!("{}: no parameter `{flag}`", method.command));
        };
        match known {
            Some((known, false)) if known == index => continue,
            Some((known, true)) if known == index => {
                kind = kind_if;
                continue;
            }
            _ => {}
        }
        let (form, given) = (forms.of(kind_if)?, condition(&method.params[index]));
        let function = form.convert.clone().or_else(|| cast(method, kind_if));
        if let Some(function) = function {
            let also = if form.convert.is_some() { String::new() } else { unless_float(method) };
            text.push_str(&format!("{space}if {given}{also}:\n"));
            text.push_str(&call(method, indent + 4, Some(&function), &form.shape, items));
        }
        if form.convert.is_none() && form.shape != forms.of(kind)?.shape {
            shape_if = format!("{} if {given} else ", form.shape);
        }
    }
    let form = forms.of(kind)?;
    if let Some(function) = cast(method, kind) {
        text.push_str(&format!("{space}if{}:\n", unless_float(method).trim_start_matches(" and")));
        text.push_str(&call(method, indent + 4, Some(&function), &form.shape, items));
    }
    let shape = format!("{shape_if}{}", form.shape);
    text.push_str(&call(method, indent, form.convert.as_deref(), &shape, items));
    Ok(text)
}

/// What makes something else of scores, where the reply has any and the method takes a function.
fn cast(method: &Method, kind: &str) -> Option<String> {
    let param = method.params.iter().find(|param| param.form == Form::Cast)?;
    let function = match kind {
        "scored" => "recast",
        "rank" => "recast_rank",
        "scored scan" => "recast_scan",
        _ => return None,
    };
    Some(format!("{function}({})", param.name))
}

fn unless_float(method: &Method) -> String {
    let param = method.params.iter().find(|param| param.form == Form::Cast);
    param.map_or(String::new(), |param| format!(" and {} is not float", param.name))
}

fn call(method: &Method, indent: usize, function: Option<&str>, shape: &str, items: &[String]) -> String {
    let mut all: Vec<String> = function.map(str::to_owned).into_iter().collect();
    all.push(shape.to_owned());
    all.push(format!("\"{}\"", method.command));
    all.extend_from_slice(items);
    let head = if function.is_some() { "return self._call_then" } else { "return self._call" };
    layout::bracketed(indent, head, &all, "")
}
