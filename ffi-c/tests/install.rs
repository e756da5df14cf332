//! Installed under a prefix, the library is found as its users look for it: by pkg-config and by CMake, shared and
//! static.

mod native;

use native::{Emulator, root, run, start_emulator};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An empty folder.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder).expect("removed");
    }
    fs::create_dir_all(&folder).expect("made");
    folder
}

/// A new user's folder: one of our examples, and nothing else of ours.
fn user_folder() -> PathBuf {
    let user = folder("user");
    for file in ["poll.c", "settings.h", "app_service_token.h"] {
        fs::copy(root().join("examples").join(file), user.join(file)).expect("copied");
    }
    fs::copy(root().join("tests/install/CMakeLists.txt"), user.join("CMakeLists.txt")).expect("copied");
    user
}

/// Installs as a package is made: with DESTDIR; then what was installed moves to its place.
fn install(prefix: &Path) {
    let stage = folder("stage");
    let mut script = Command::new(root().join("../scripts/install-c.sh"));
    native::forget_cargo(&mut script);
    run(script.arg(prefix).env("DESTDIR", &stage).env("PROFILE", "dev"));
    let staged = stage.join(prefix.strip_prefix("/").expect("absolute"));
    fs::rename(staged, prefix).expect("moved");
    let soname = run(Command::new("readelf").arg("-d").arg(prefix.join("lib/librespass.so")));
    assert!(soname.contains(concat!("[librespass.so.", env!("CARGO_PKG_VERSION_MAJOR"), "]")), "{soname}");
}

fn pkg_config(prefix: &Path, arguments: &[&str]) -> Vec<String> {
    let output = run(Command::new("pkg-config")
        .args(arguments)
        .arg("respass")
        .env("PKG_CONFIG_PATH", prefix.join("lib/pkgconfig")));
    output.split_whitespace().map(str::to_owned).collect()
}

fn check(program: &Path, prefix: &Path, emulator: &Emulator) {
    let printed = run(Command::new(program)
        .args([&emulator.host, &emulator.port, &emulator.ca_file, "1"])
        .env("LD_LIBRARY_PATH", prefix.join("lib"))
        .env("IDENTITY_ENDPOINT", &emulator.identity_endpoint)
        .env("IDENTITY_HEADER", &emulator.identity_header));
    assert!(printed.contains("counted to"), "{printed}");
}

/// Whether the program loads the shared library.
fn needs_shared(program: &Path) -> bool {
    let needed = run(Command::new("readelf").arg("-d").arg(program));
    needed.lines().any(|line| line.contains("(NEEDED)") && line.contains("librespass"))
}

fn compile(user: &Path, name: &str, flags: &[String]) -> PathBuf {
    run(Command::new("cc").current_dir(user).args(["-o", name, "poll.c"]).args(flags));
    user.join(name)
}

#[test]
fn an_installed_library_is_found_by_pkg_config_and_by_cmake() {
    let Some(emulator) = start_emulator() else { return };
    let prefix = folder("installed");
    fs::remove_dir(&prefix).expect("empty");
    install(&prefix);
    let user = user_folder();

    let shared = compile(&user, "by-pkg-config", &pkg_config(&prefix, &["--cflags", "--libs"]));
    check(&shared, &prefix, &emulator);
    assert!(needs_shared(&shared));
    let mut whole = pkg_config(&prefix, &["--static", "--cflags", "--libs"]);
    whole.push("-static".to_owned());
    let mut part = pkg_config(&prefix, &["--cflags"]);
    part.extend(pkg_config(&prefix, &["--variable=static_libs"]));
    for (name, flags) in [("by-pkg-config-whole", whole), ("by-pkg-config-part", part)] {
        let program = compile(&user, name, &flags);
        assert!(!needs_shared(&program), "{name}");
        check(&program, &prefix, &emulator);
    }

    let build = user.join("build");
    let found = format!("-DCMAKE_PREFIX_PATH={}", prefix.display());
    run(Command::new("cmake").arg("-S").arg(&user).arg("-B").arg(&build).arg(found));
    run(Command::new("cmake").arg("--build").arg(&build));
    for name in ["shared", "static"] {
        assert_eq!(needs_shared(&build.join(name)), name == "shared", "{name}");
        check(&build.join(name), &prefix, &emulator);
    }
}

#[test]
fn installing_without_a_compiler_names_what_is_missing() {
    let tools = folder("tools");
    for tool in ["bash", "dirname"] {
        let found = run(Command::new("sh").args(["-c", &format!("command -v {tool}")]));
        std::os::unix::fs::symlink(found.trim(), tools.join(tool)).expect("linked");
    }
    let script = root().join("../scripts/install-c.sh");
    let output =
        Command::new("bash").arg(script).arg("/nowhere").env("PATH", &tools).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("cargo") && said.contains("C compiler"), "{said}");
}
