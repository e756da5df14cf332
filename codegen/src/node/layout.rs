//! The layout of JavaScript: lines of 110 columns.

pub(crate) const WIDTH: usize = 110;

/// `head items tail` on one line, or with the items on lines of their own.
pub(crate) fn bracketed(indent: usize, head: &str, items: &[String], tail: &str) -> String {
    let space = " ".repeat(indent);
    let line = format!("{space}{head}{}{tail}\n", items.join(", "));
    if line.chars().count() <= WIDTH + 1 {
        return line;
    }
    format!("{space}{}\n{}{space}{}\n", head.trim_end(), filled(indent + 2, items), tail.trim_start())
}

/// Items in as few lines as they need, with a comma after each.
pub(crate) fn filled(indent: usize, items: &[String]) -> String {
    let space = " ".repeat(indent);
    let mut text = String::new();
    let mut line = space.clone();
    for item in items {
        if line.trim() != "" && line.chars().count() + item.chars().count() + 1 > WIDTH {
            text.push_str(line.trim_end());
            text.push('\n');
            line = space.clone();
        }
        line.push_str(item);
        line.push_str(", ");
    }
    text + line.trim_end() + "\n"
}

/// A documentation comment.
pub(crate) fn comment(indent: usize, words: &str) -> String {
    let space = " ".repeat(indent);
    let line = format!("{space}/** {words} */\n");
    if line.chars().count() <= WIDTH + 1 {
        return line;
    }
    let mut text = format!("{space}/**\n");
    let mut line = format!("{space} *");
    for word in words.split(' ') {
        if line.chars().count() + word.chars().count() + 1 > WIDTH {
            text.push_str(&line);
            text.push('\n');
            line = format!("{space} *");
        }
        line.push(' ');
        line.push_str(word);
    }
    format!("{text}{line}\n{space} */\n")
}
