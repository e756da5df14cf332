//! House rules that a reader would otherwise have to remember.

use respass_tests::tree;
use std::fs;
use std::path::Path;

const SOURCES: [&str; 8] = [".rs", ".py", ".c", ".h", ".mjs", ".js", ".ts", ".sh"];

fn each_source(folder: &Path, mut visit: impl FnMut(&str, &str)) {
    let root = tree::root();
    let files = tree::files(folder, &SOURCES);
    assert!(!files.is_empty(), "no file was found: the search is broken");
    for path in files {
        let name = path.strip_prefix(&root).expect("below the root").display().to_string();
        visit(&name, &fs::read_to_string(&path).expect("a readable file"));
    }
}

#[test]
fn no_file_is_longer_than_600_lines() {
    each_source(&tree::root(), |name, text| {
        let generated = text.lines().take(10).any(|line| line.contains("enerated"));
        let lines = text.lines().count();
        assert!(generated || lines <= 600, "{name}: {lines} lines");
    });
}

#[test]
fn no_line_is_wider_than_120_columns() {
    each_source(&tree::root(), |name, text| {
        for (number, line) in text.lines().enumerate() {
            assert!(line.chars().count() <= 120, "{name}:{}: {} columns", number + 1, line.chars().count());
        }
    });
}

#[test]
fn no_module_has_a_name_that_says_nothing() {
    each_source(&tree::root(), |name, _| {
        let stem = Path::new(name).file_stem().expect("a name").to_string_lossy().to_lowercase();
        for banned in [
            "util", "utils", "helper", "helpers", "common", "misc", "manager", "handler", "data", "info",
            "context",
        ] {
            assert_ne!(stem, banned, "{name}");
        }
    });
}

#[test]
fn the_core_has_no_clock_no_entropy_no_io_and_no_threads() {
    // Each with what to use instead.
    let banned = [
        ("Instant::now", "an argument"),
        ("SystemTime", "an argument"),
        ("std::thread", "the driver's threads"),
        ("std::fs", "bytes as an argument"),
        ("std::env", "values as an argument"),
        ("TcpStream", "Output::Connect"),
        ("UdpSocket", "Output::Connect"),
        ("println!", "Output::Notice"),
        ("HashMap", "an ordered map: iteration must not depend on the process"),
        ("HashSet", "an ordered set"),
        ("Mutex", "owned values"),
        ("Rc<", "owned values"),
        ("RefCell", "owned values"),
        ("getrandom", "the seed"),
        ("todo!", "code"),
        ("unimplemented!", "code"),
        (".unwrap()", "a typed error, or expect with the reason"),
    ];
    each_source(&tree::root().join("core/src"), |name, text| {
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (number, line) in code.lines().enumerate() {
            let line = line.split("//").next().unwrap_or_default();
            for (word, instead) in banned {
                assert!(!line.contains(word), "{name}:{}: {word} (use {instead})", number + 1);
            }
        }
    });
}

#[test]
fn the_core_forbids_unsafe_code() {
    let text = fs::read_to_string(tree::root().join("core/src/lib.rs")).expect("a readable file");
    assert!(text.contains("#![forbid(unsafe_code)]"));
}
