//! Python's layout: lines of 110 columns, broken as the formatter would.

const WIDTH: usize = 110;

/// `from module import names`, or nothing.
pub(crate) fn import(module: &str, names: &[String]) -> String {
    if names.is_empty() {
        return String::new();
    }
    let mut names = names.to_vec();
    names.sort_by_key(|name| name.to_lowercase());
    let line = format!("from {module} import {}\n", names.join(", "));
    if line.len() <= WIDTH {
        return line;
    }
    let names: String = names.iter().map(|name| format!("    {name},\n")).collect();
    format!("from {module} import (\n{names})\n")
}

/// `head(items)tail` on one line, or on three, or with a line per item.
pub(crate) fn bracketed(indent: usize, head: &str, items: &[String], tail: &str) -> String {
    let space = " ".repeat(indent);
    let joined = items.join(", ");
    let line = format!("{space}{head}({joined}){tail}\n");
    if line.chars().count() <= WIDTH + 1 {
        return line;
    }
    // After `**options` or a bare `*` at the end, no comma may follow; neither occurs here.
    if indent + 4 + joined.chars().count() <= WIDTH {
        return format!("{space}{head}(\n{space}    {joined}\n{space}){tail}\n");
    }
    let lines: String = items.iter().map(|item| format!("{space}    {item},\n")).collect();
    format!("{space}{head}(\n{lines}{space}){tail}\n")
}
