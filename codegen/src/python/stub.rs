//! The types: the same methods thrice, as they return values, awaitables, or the pipeline itself.

use super::{Forms, NOTE, default, layout};
use crate::Outcome;
use crate::plan::{Meaning, Method, Param};
use crate::surface::Form;

/// What a method's result is wrapped in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Sync,
    Async,
    Pipeline,
}

/// `_typed.pyi`.
pub(crate) fn text(methods: &[Method], forms: &Forms<'_>) -> Outcome<String> {
    let mut text = format!("\"\"\"The types of command methods.\n\n{NOTE}\n\"\"\"\n\n{IMPORTS}");
    for (mode, head) in [
        (Mode::Sync, "class SyncCommands(Commands, Generic[T]):"),
        (Mode::Async, "class AsyncCommands(Commands, Generic[T]):"),
        (Mode::Pipeline, "class PipelineCommands(Commands):"),
    ] {
        text.push_str(&format!("\n{head}\n"));
        let result = result(mode, "Any");
        text.push_str(&format!(
            "    def execute_command(self, *args: Any, **options: Any) -> {result}: ...\n"
        ));
        for method in methods {
            text.push_str(&method_text(method, mode, forms)?);
        }
    }
    Ok(text)
}

const IMPORTS: &str = "\
from builtins import set as Set
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Generic, Literal, Self, TypeVar, overload

from ._bitfield import BitField
from ._commands import Commands as Commands

T = TypeVar(\"T\", str, bytes)
KeyT = str | bytes | bytearray | memoryview
ValueT = str | bytes | bytearray | memoryview | int | float
SpanT = int | timedelta
MomentT = int | datetime
";

fn method_text(method: &Method, mode: Mode, forms: &Forms<'_>) -> Outcome<String> {
    let mut text = String::new();
    let base = forms.of(&method.reply)?.of_type.clone();
    let cases = method
        .replies_if
        .iter()
        .map(|(flag, kind)| Ok((flag.as_str(), forms.of(kind)?.of_type.clone())))
        .collect::<Outcome<Vec<_>>>()?;
    let differs = cases.iter().any(|(_, case)| *case != base);
    for name in std::iter::once(&method.name).chain(&method.aliases) {
        let mut define = |decorator: &str, items: &[String], of_type: &str| {
            text.push_str(decorator);
            text.push_str(&layout::bracketed(
                4,
                &format!("def {name}"),
                items,
                &format!(" -> {of_type}: ..."),
            ));
        };
        if let Some(signature) = &method.by_hand {
            let of_type = if base == "Self" { base.clone() } else { result(mode, &base) };
            define("", &by_hand(signature), &of_type);
            continue;
        }
        match cases.as_slice() {
            [(flag, case)] if differs && mode != Mode::Pipeline => {
                define("    @overload\n", &signature(method, Some((flag, false))), &result(mode, &base));
                define("    @overload\n", &signature(method, Some((flag, true))), &result(mode, case));
                // Whoever does not know either.
                let either = if case == "Any" { case.clone() } else { union(&base, case) };
                define("    @overload\n", &signature(method, None), &result(mode, &either));
            }
            _ => {
                let mut all = vec![base.clone()];
                all.extend(cases.iter().map(|(_, case)| case.clone()).filter(|case| *case != base));
                define("", &signature(method, None), &result(mode, &all.join(" | ")));
            }
        }
    }
    Ok(text)
}

/// The parameters of a signature: commas within brackets separate none.
fn by_hand(signature: &str) -> Vec<String> {
    let mut items = vec!["self".to_owned()];
    let (mut depth, mut item) = (0, String::new());
    for character in signature.chars() {
        match character {
            '[' => depth += 1,
            ']' => depth -= 1,
            ',' if depth == 0 => {
                items.push(std::mem::take(&mut item).trim().to_owned());
                continue;
            }
            _ => {}
        }
        item.push(character);
    }
    items.push(item.trim().to_owned());
    items.retain(|item| !item.is_empty());
    items
}

/// `X | None` and `X` are `X | None`.
fn union(base: &str, case: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in base.split(" | ").chain(case.split(" | ")).filter(|part| *part != "None") {
        if !parts.contains(&part) {
            parts.push(part);
        }
    }
    if base.contains(" | None") || case.contains(" | None") {
        parts.push("None");
    }
    parts.join(" | ")
}

fn result(mode: Mode, of_type: &str) -> String {
    match mode {
        Mode::Sync => of_type.to_owned(),
        Mode::Async => format!("Awaitable[{of_type}]"),
        Mode::Pipeline => "Self".to_owned(),
    }
}

/// The parameters; of an overload, with `flag` given or not.
fn signature(method: &Method, flag: Option<(&str, bool)>) -> Vec<String> {
    let mut items = vec!["self".to_owned()];
    let mut has_default = false;
    let mut is_by_name = false;
    for param in &method.params {
        let is_flag = flag.is_some_and(|(name, _)| name == param.name);
        let is_given = is_flag && flag.is_some_and(|(_, is_given)| is_given);
        if is_given && has_default && !is_by_name {
            items.push("*".to_owned());
            is_by_name = true;
        }
        if is_flag {
            items.push(flag_text(param, is_given));
        } else {
            items.push(param_text(param));
        }
        has_default |= param.default.is_some() && !is_given;
        match &param.form {
            Form::ListAndRest(rest) | Form::OneAndRest(rest) => {
                items.push(format!("*{rest}: {}", one(param)));
                is_by_name = true;
            }
            Form::Rest => is_by_name = true,
            _ => {}
        }
    }
    items
}

fn flag_text(param: &Param, is_given: bool) -> String {
    let name = &param.name;
    match (&param.form, is_given) {
        (Form::Flag, false) if default(param) == Some("None") => {
            format!("{name}: Literal[False] | None = None")
        }
        (Form::Flag, true) => format!("{name}: Literal[True]"),
        (Form::Flag, false) => format!("{name}: Literal[False] = False"),
        (_, true) => format!("{name}: {}", one(param)),
        (_, false) => format!("{name}: None = None"),
    }
}

fn param_text(param: &Param) -> String {
    let name = &param.name;
    let one = one(param);
    let of_type = match &param.form {
        Form::One | Form::OneAndRest(_) => one.to_owned(),
        Form::Flag => "bool".to_owned(),
        Form::Rest => return format!("*{name}: {one}"),
        Form::List => format!("Iterable[{one}]"),
        Form::ListAndRest(_) => format!("{one} | Iterable[{one}]"),
        Form::Mapping => "Mapping[Any, ValueT]".to_owned(),
        Form::Cast => "Callable[[float], Any]".to_owned(),
        Form::Shape(_) => "Any".to_owned(),
    };
    match default(param) {
        None => format!("{name}: {of_type}"),
        Some("None") => format!("{name}: {of_type} | None = None"),
        Some("float") => format!("{name}: {of_type} = ..."),
        Some(default) => format!("{name}: {of_type} = {default}"),
    }
}

fn one(param: &Param) -> &'static str {
    match param.value {
        Meaning::Key | Meaning::Pattern => "KeyT",
        Meaning::Text => "ValueT",
        Meaning::Integer => "int",
        Meaning::Double => "float | str",
        Meaning::Seconds | Meaning::Milliseconds => "SpanT",
        Meaning::UnixSeconds | Meaning::UnixMilliseconds => "MomentT",
    }
}
