//! The conversation vectors, played by the core itself. Other languages play the same files: `tests/vectors/run.sh`.

use respass_tests::tree;
use respass_tests::vector::Player;
use respass_tests::vector_script::names;

/// FNV-1a: enough to compare what two languages saw.
fn hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// The first line in which they differ.
fn difference(expected: &str, played: &str) -> String {
    let lines = expected.lines().chain([""]).zip(played.lines().chain([""]));
    let first = lines.enumerate().find(|(_, (expected, played))| expected != played);
    first.map_or_else(String::new, |(number, (expected, played))| {
        format!("line {}\n  expected {expected}\n  but got  {played}", number + 1)
    })
}

/// With `RESPASS_WRITE_VECTORS=1`, what the core does becomes what is expected: read the change before it is kept.
#[test]
fn every_vector_says_what_the_core_does() {
    let (root, mut passed, mut failures) = (tree::root().join("tests/vectors"), 0, Vec::new());
    for name in names(&root) {
        let path = root.join(format!("{name}.txt"));
        let expected = std::fs::read_to_string(&path).expect("a readable file");
        let played = Player::default().play(&root, &name);
        println!("vector {:08x} {name}", hash(&played));
        if played == expected {
            passed += 1;
        } else if std::env::var_os("RESPASS_WRITE_VECTORS").is_some() {
            std::fs::write(&path, played).expect("written");
        } else {
            failures.push(format!("{name}, {}", difference(&expected, &played)));
        }
    }
    println!("vectors: {passed} passed");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
