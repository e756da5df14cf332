//! Gives librespass.so its SONAME, which changes with the binary interface and nothing else: programs that were
//! linked against one version run with every later one of the same name.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let os = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if matches!(os.as_str(), "linux" | "android" | "freebsd" | "netbsd" | "openbsd") {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,librespass.so.{}", env!("CARGO_PKG_VERSION_MAJOR"));
    }
}
