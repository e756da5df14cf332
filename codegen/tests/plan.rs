//! What a surface may say, and what becomes of it.

use respass_codegen::plan::{Meaning, Method, Part, Unset};
use respass_codegen::surface::Form;
use respass_codegen::{facts, plan, surface};

const FACTS: &str = r#"{
  "ADD": {"group": "list", "since": "1.0.0", "reply_schema": {"type": "integer"}, "arguments": [
    {"name": "key", "type": "key"},
    {"name": "condition", "type": "oneof", "optional": true, "arguments": [
      {"name": "nx", "type": "pure-token", "token": "NX"}, {"name": "xx", "type": "pure-token", "token": "XX"}]},
    {"name": "limit", "type": "block", "token": "LIMIT", "optional": true, "arguments": [
      {"name": "offset", "type": "integer"}, {"name": "count", "type": "integer"}]},
    {"name": "min-age", "type": "integer", "token": "MINAGE", "optional": true},
    {"name": "withtimes", "type": "pure-token", "token": "WITHTIMES", "optional": true},
    {"name": "member", "type": "string", "multiple": true}]}
}"#;

fn surface(entry: &str) -> String {
    format!(r#"{{"replies": {{"int": ["", "number"]}}, "methods": {{"ADD": {entry}}}, "left_out": {{}}}}"#)
}

fn method(entry: &str) -> Result<Method, String> {
    let commands = facts::read(FACTS)?;
    let mut methods = plan::methods(&commands, &surface::read(&surface(entry))?)?;
    Ok(methods.remove(0))
}

fn words(method: &Method) -> Vec<String> {
    method.parts.iter().map(|part| word(part, method)).collect()
}

fn word(part: &Part, method: &Method) -> String {
    let name = |index: &usize| method.params[*index].name.clone();
    match part {
        Part::Word(word) => word.clone(),
        Part::Value(index) | Part::Values(index, _) => name(index),
        Part::Count(index) => format!("#{}", name(index)),
        Part::Shaped(index) => format!("~{}", name(index)),
        Part::When(_, inner) => {
            format!("[{}]", inner.iter().map(|part| word(part, method)).collect::<Vec<_>>().join(" "))
        }
    }
}

#[test]
fn options_are_members_of_one_object_and_go_out_in_the_order_of_the_grammar() {
    let method = method(
        r#"{"call": "key, members[]: member",
            "options": "MINAGE, condition, LIMIT.offset, LIMIT.count, WITHTIMES"}"#,
    )
    .unwrap();
    assert_eq!(
        words(&method),
        [
            "key",
            "[options.condition]",
            "[LIMIT options.LIMIT.offset options.LIMIT.count]",
            "[MINAGE options.MINAGE]",
            "[WITHTIMES]",
            "members"
        ]
    );
    assert_eq!(method.params[3].words, ["NX", "XX"]);
    assert_eq!(method.params[6].form, Form::Flag);
    assert_eq!(method.params[6].default, Some(Unset::No));
    assert_eq!(method.params[2].default, Some(Unset::Nothing));
}

#[test]
fn a_shape_takes_the_place_of_what_it_stands_for() {
    let method = method(r#"{"call": "key, items~timed: minage+member", "options": "@condition"}"#).unwrap();
    assert_eq!(words(&method), ["key", "~options", "[~items]"]);
    assert_eq!(method.params[1].form, Form::Shape("timed".to_owned()));
}

#[test]
fn a_parameter_that_must_be_given_is_sent_without_a_condition() {
    let method = method(r#"{"call": "key, minAge!, #value: member"}"#).unwrap();
    assert_eq!(words(&method), ["key", "MINAGE", "minAge", "value"]);
    assert!(method.params[1].is_required && method.params[2].takes_numbers);
    assert_eq!(method.params[1].value, Meaning::Integer);
}

#[test]
fn words_may_be_sent_always_and_parts_may_go_last() {
    let method = method(
        r#"{"call": "key, member", "options": "condition", "always": "withtimes", "last": "withtimes, condition"}"#,
    )
    .unwrap();
    assert_eq!(words(&method), ["key", "member", "WITHTIMES", "[options.condition]"]);
}

#[test]
fn what_the_grammar_does_not_have_is_an_error() {
    assert_eq!(
        method(r#"{"call": "key, member", "options": "MAXAGE"}"#).unwrap_err(),
        "ADD: `maxage` is not in the grammar"
    );
    assert_eq!(method(r#"{"call": "key"}"#).unwrap_err(), "ADD: `member` must be a parameter");
}

#[test]
fn a_command_without_a_method_needs_a_reason() {
    let surface = surface::read(r#"{"replies": {}, "methods": {}, "left_out": {}}"#).unwrap();
    let error = plan::methods(&facts::read(FACTS).unwrap(), &surface).unwrap_err();
    assert_eq!(error, "ADD: no method, and no reason why not");
}
