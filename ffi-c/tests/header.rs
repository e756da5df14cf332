//! The header in the repository is the one that the sources make, and C and C++ compilers take it without a word.

use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What the sources make today.
fn generate() -> String {
    let mut config = cbindgen::Config::from_file(root().join("cbindgen.toml")).expect("cbindgen.toml");
    let version: Vec<&str> = env!("CARGO_PKG_VERSION").split('.').collect();
    config.header =
        Some("/* respass for C. The rules for handles, buffers and errors are at the end. */".to_owned());
    config.after_includes = Some(format!(
        "\n#define RESPASS_VERSION \"{}\"\n#define RESPASS_VERSION_MAJOR {}\n#define RESPASS_VERSION_MINOR {}",
        version.join("."),
        version[0],
        version[1],
    ));
    config.trailer = Some(format!("{}\n\n{}", inline().trim(), contract()));
    let mut builder = cbindgen::Builder::new().with_config(config);
    // The numbers of errors and reply kinds are the core's; the rest hangs below lib.rs.
    for source in [
        "src/lib.rs",
        "../core/src/error.rs",
        "../core/src/resp/reply.rs",
        "../core/src/client/output.rs",
        "../core/src/client/messages.rs",
        "../core/src/connection/subscriptions.rs",
    ] {
        builder = builder.with_src(root().join(source));
    }
    let mut header = Vec::new();
    builder.generate().expect("cbindgen").write(&mut header);
    String::from_utf8(header).expect("UTF-8")
}

/// The crate's own description of the contract, as a comment.
fn contract() -> String {
    let source = std::fs::read_to_string(root().join("src/lib.rs")).expect("lib.rs");
    let lines = source.lines().map_while(|line| line.strip_prefix("//!"));
    let rules = lines.skip_while(|line| line.trim() != "# The contract").skip(1);
    let rules: Vec<String> = rules.map(|line| format!(" *{line}").trim_end().to_owned()).collect();
    format!("/*{}\n */", rules.join("\n").trim_start_matches(" *"))
}

/// What the header defines by itself.
fn inline() -> String {
    std::fs::read_to_string(root().join("src/inline.h")).expect("inline.h")
}

fn header() -> PathBuf {
    root().join("include/respass.h")
}

#[test]
fn the_header_is_what_the_sources_make() {
    let made = generate();
    if std::env::var_os("RESPASS_WRITE_HEADER").is_some() {
        std::fs::write(header(), &made).expect("write the header");
    }
    let kept = std::fs::read_to_string(header()).expect("include/respass.h");
    assert!(
        made == kept,
        "include/respass.h is old: RESPASS_WRITE_HEADER=1 cargo test -p respass-ffi --test header"
    );
}

fn compile(compiler: &str, standard: &str, language: &str) {
    let output = Command::new(compiler)
        .args([standard, "-Wall", "-Wextra", "-pedantic", "-Werror", "-fsyntax-only", "-x", language])
        .arg(header())
        .output()
        .expect(compiler);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn c99_takes_the_header_without_a_warning() {
    compile("cc", "-std=c99", "c");
}

#[test]
fn cpp17_takes_the_header_without_a_warning() {
    compile("c++", "-std=c++17", "c++");
}
