//! Each layer of the core uses only those below it: nobody beneath the client knows that several parts exist.

use respass_tests::tree;
use std::fs;

/// From the ground up. Modules of one line do not know each other.
const LAYERS: [&[&str]; 8] = [
    &["time", "rng", "secret"],
    &["resp", "slot"],
    &["command"],
    &["tls", "auth"],
    &["connection", "cluster"],
    &["error"],
    &["config"],
    &["client"],
];

fn layer_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

#[test]
fn no_module_of_the_core_uses_one_above_it() {
    let source = tree::root().join("core/src");
    let mut seen = 0;
    for path in tree::files(&source, &[".rs"]) {
        let relative = path.strip_prefix(&source).expect("below the folder");
        let module =
            relative.components().next().expect("a file").as_os_str().to_string_lossy().replace(".rs", "");
        if module == "lib" {
            continue;
        }
        let layer =
            layer_of(&module).unwrap_or_else(|| panic!("{module} has no place in the list of layers"));
        for used in uses(&fs::read_to_string(&path).expect("a readable file")) {
            seen += 1;
            let below =
                layer_of(&used).unwrap_or_else(|| panic!("{}: uses crate::{used}", relative.display()));
            assert!(
                used == module || below < layer,
                "{}: `{module}` (layer {layer}) uses `{used}` (layer {below})",
                relative.display()
            );
        }
    }
    assert!(seen > 50, "only {seen} uses were found: the search is broken");
}

/// The modules named after `crate::` in a file's code.
fn uses(text: &str) -> Vec<String> {
    let code = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    code.flat_map(|line| line.split("crate::").skip(1))
        .map(|rest| {
            assert!(!rest.starts_with('{'), "`use crate::{{…}}` hides the module from this test");
            rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
        })
        .collect()
}

#[test]
fn an_upward_use_would_be_found() {
    assert_eq!(
        uses("use crate::client::Client; // crate::no\nlet x = crate::time::Now;"),
        ["client", "time"]
    );
    assert!(layer_of("connection") > layer_of("auth") && layer_of("client") > layer_of("config"));
}
