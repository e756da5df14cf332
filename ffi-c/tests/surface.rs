//! What the library shows: the functions of its header and nothing else; and where its unsafe code is.

mod native;

use native::{library, root, run};
use std::collections::BTreeSet;
use std::process::Command;

/// The functions that the header declares.
fn declared() -> BTreeSet<String> {
    let header = std::fs::read_to_string(root().join("include/respass.h")).expect("the header");
    let code = header.split("RESPASS_INLINE_H").next().expect("a first part");
    let code: String = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let heads = code.split(';').filter_map(|declaration| Some(declaration.split_once('(')?.0));
    let names =
        heads.filter(|head| !head.contains("typedef")).filter_map(|head| head.rsplit([' ', '*']).next());
    names.filter(|name| name.starts_with("respass_")).map(str::to_owned).collect()
}

#[test]
fn the_shared_library_exports_what_the_header_declares_and_nothing_else() {
    let library = library("librespass.so");
    let listed = run(Command::new("nm").args(["-D", "--defined-only", "--format=posix"]).arg(library));
    let exported: BTreeSet<String> =
        listed.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect();
    assert_eq!(exported, declared());
    assert!(exported.len() > 70, "{exported:?}");
}

#[test]
fn the_shared_library_is_named_by_its_binary_interface() {
    let listed = run(Command::new("readelf").arg("--dynamic").arg(library("librespass.so")));
    let name = concat!("[librespass.so.", env!("CARGO_PKG_VERSION_MAJOR"), "]");
    assert!(listed.lines().any(|line| line.contains("SONAME") && line.contains(name)), "{listed}");
}

/// Marks of a declaration, which makes nothing unsafe by itself.
const DECLARATIONS: [&str; 2] = ["#[unsafe(no_mangle)]", "pub unsafe extern \"C\" fn"];

#[test]
fn unsafe_code_is_in_one_file_and_each_of_its_blocks_says_why() {
    let mut count = 0;
    for entry in std::fs::read_dir(root().join("src")).expect("src") {
        let path = entry.expect("an entry").path();
        let text = std::fs::read_to_string(&path).expect("a source");
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for (number, line) in lines.iter().enumerate() {
            let is_code =
                !line.starts_with("//") && !line.starts_with("#![") && !line.contains("unused_unsafe");
            let is_declaration = DECLARATIONS.iter().any(|mark| line.starts_with(mark));
            if !is_code || is_declaration || !line.contains("unsafe") {
                continue;
            }
            let place = format!("{}:{}: {line}", path.display(), number + 1);
            assert!(path.ends_with("handle.rs"), "unsafe code outside of handle.rs: {place}");
            let above = lines[..number].iter().rev().take(4).any(|above| above.starts_with("// SAFETY:"));
            let is_promise = line.contains("unsafe fn") || line.starts_with("unsafe extern");
            assert!(above || is_promise, "no reason: {place}");
            count += 1;
        }
    }
    assert!(count > 5, "the search found nothing");
}
