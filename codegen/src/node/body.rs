//! The rows of the table.

use super::layout::{WIDTH, bracketed};
use super::{expression, leads, names, parent, roots};
use crate::Outcome;
use crate::plan::{Meaning, Method, Param, Part};
use crate::surface::{Form, Surface, WHOLE};

/// `['hGet HGET', (key, field) => ['HGET', text(key, 'key'), text(field, 'field')]],`
pub(crate) fn row(method: &Method, surface: &Surface) -> Outcome<String> {
    if method.by_hand.is_some() || !method.replies_if.is_empty() {
        return Err(format!("{}: Node's methods are generated, and have one reply each", method.command));
    }
    let (name, aliases) = names(method);
    let form = surface.reply(&method.reply)?;
    let transform = if form.shape.is_empty() { String::new() } else { format!(", reply.{}", form.shape) };
    let head = format!("  ['{name} {}', ({}) =>", aliases.join(" "), signature(method));
    let mut always: Vec<String> = method.command.split(' ').map(quoted).collect();
    let is_item = |part: &&Part| !matches!(part, Part::When(..) | Part::Shaped(_));
    let count = method.parts.iter().take_while(is_item).count();
    let (first, rest) = method.parts.split_at(count);
    always.extend(items(method, first)?);
    if rest.is_empty() && objects(method).is_empty() {
        return Ok(bracketed(2, &format!("{} [", head.trim_start()), &always, &format!("]{transform}],")));
    }
    let mut text = format!("{head} {{\n");
    for object in objects(method) {
        text.push_str(&format!("    {object} = as.object({object}, '{object}');\n"));
    }
    text.push_str(&bracketed(4, "const a = [", &always, "];"));
    text.push_str(&statements(method, rest, 4)?);
    text.push_str(&format!("    return a;\n  }}{transform}],\n"));
    Ok(text)
}

fn signature(method: &Method) -> String {
    let rest =
        |root: &str| method.params.iter().any(|param| param.form == Form::Rest && expression(param) == root);
    let roots = roots(method).into_iter();
    let roots = roots.map(|root| if rest(&root) { format!("...{root}") } else { root });
    roots.collect::<Vec<_>>().join(", ")
}

/// Parameters of which members are read whether or not they are given.
fn objects(method: &Method) -> Vec<String> {
    let is_read = |param: &Param, root: &str| {
        let is_member = param.name.strip_prefix(root).is_some_and(|rest| rest.starts_with('.'));
        is_member && (root == WHOLE || !param.is_optional) || root == WHOLE && param.name == WHOLE
    };
    roots(method).into_iter().filter(|root| method.params.iter().any(|param| is_read(param, root))).collect()
}

fn items(method: &Method, parts: &[Part]) -> Outcome<Vec<String>> {
    parts.iter().map(|part| item(method, part)).collect()
}

/// An element of the array.
fn item(method: &Method, part: &Part) -> Outcome<String> {
    Ok(match part {
        Part::Word(word) => quoted(word),
        Part::Value(index) => {
            let param = &method.params[*index];
            let name = expression(param);
            format!("as.{}({name}, '{name}')", converter(param))
        }
        Part::Count(index) => format!("as.count({})", expression(&method.params[*index])),
        Part::Values(index, word) => {
            let list = list(&method.params[*index]);
            word.as_ref().map_or(format!("...{list}"), |word| format!("...as.each('{word}', {list})"))
        }
        Part::Shaped(_) | Part::When(..) => return Err(format!("{}: no item", method.command)),
    })
}

fn converter(param: &Param) -> &'static str {
    match param.value {
        _ if !param.words.is_empty() => "word",
        Meaning::Text if param.takes_numbers => "value",
        Meaning::Key | Meaning::Text | Meaning::Pattern => "text",
        Meaning::Integer | Meaning::Double | Meaning::Seconds | Meaning::Milliseconds => "number",
        Meaning::UnixSeconds => "unixSeconds",
        Meaning::UnixMilliseconds => "unixMilliseconds",
    }
}

fn list(param: &Param) -> String {
    let name = expression(param);
    match (&param.form, converter(param)) {
        (Form::Mapping, _) if param.takes_numbers => format!("as.pairs({name}, '{name}', as.value)"),
        (Form::Mapping, _) => format!("as.pairs({name}, '{name}')"),
        (_, "number") => format!("as.numbers({name}, '{name}')"),
        (_, "value") => format!("as.values({name}, '{name}')"),
        _ => format!("as.texts({name}, '{name}')"),
    }
}

/// What adds the parts to the array `a`.
fn statements(method: &Method, parts: &[Part], indent: usize) -> Outcome<String> {
    let space = " ".repeat(indent);
    let mut text = String::new();
    let mut pushed: Vec<String> = Vec::new();
    for part in parts {
        let statement = match part {
            Part::When(index, inner) => condition(method, *index, inner, indent)?,
            Part::Shaped(index) => format!("{space}{}\n", shaped(&method.params[*index])),
            part => {
                let item = item(method, part)?;
                let Some(list) = item.strip_prefix("...") else {
                    pushed.push(item);
                    continue;
                };
                format!("{space}as.append(a, {list});\n")
            }
        };
        text.push_str(&push(indent, &mut pushed));
        text.push_str(&statement);
    }
    Ok(text + &push(indent, &mut pushed))
}

fn push(indent: usize, items: &mut Vec<String>) -> String {
    let items = std::mem::take(items);
    if items.is_empty() { String::new() } else { bracketed(indent, "a.push(", &items, ");") }
}

/// `shape.fields(a, field, value, 'field');`
fn shaped(param: &Param) -> String {
    let Form::Shape(function) = &param.form else { return String::new() };
    let arguments: Vec<&str> = param.name.split(' ').collect();
    format!("shape.{function}(a, {}, '{}');", arguments.join(", "), arguments[0])
}

fn condition(method: &Method, index: usize, inner: &[Part], indent: usize) -> Outcome<String> {
    let param = &method.params[index];
    let space = " ".repeat(indent);
    let test = match parent(param) {
        Some(parent) if leads(method, index) => format!("{parent} != null"),
        _ if param.form == Form::Flag => expression(param),
        _ => format!("{} != null", expression(param)),
    };
    let inner = statements(method, inner, indent + 2)?;
    let line = format!("{space}if ({test}) {}", inner.trim_start());
    if inner.lines().count() == 1 && line.trim_end().chars().count() <= WIDTH {
        return Ok(line);
    }
    Ok(format!("{space}if ({test}) {{\n{inner}{space}}}\n"))
}

fn quoted(word: &str) -> String {
    format!("'{word}'")
}
