//! Writes command methods from the facts of every command (`core/commands*.json`) and, per language, a surface: what
//! that language's users expect and the facts do not tell.
//!
//! `facts` reads what commands are, `surface` what a language calls them, `plan` brings both together into methods
//! that know no language, and one writer per language turns those into text. `table` writes what the core itself must
//! know: where a command's keys are and which nodes run it.

pub mod facts;
mod node;
pub mod plan;
mod python;
pub mod surface;
mod table;

use std::fs;
use std::path::{Path, PathBuf};

/// A file to be written: its path below the project's folder, and its text.
pub type File = (String, String);

/// What went wrong, for whoever edits the surface.
pub type Outcome<T> = Result<T, String>;

/// The project's folder.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every generated file.
///
/// # Errors
/// Where the surface names what the facts do not have, or leaves a command out without a reason.
pub fn generate(root: &Path) -> Outcome<Vec<File>> {
    let known = [text(root, "core/commands.json")?, text(root, "core/commands-later.json")?];
    let mut commands = Vec::new();
    for facts in &known {
        commands.extend(facts::read(facts)?);
    }
    commands.sort_by(|one, other| one.name.cmp(&other.name));
    let mut files = vec![table::file(&known, &text(root, "core/commands-routing.json")?)?];
    for (name, write) in WRITERS {
        let of_language = |error| format!("{name}: {error}");
        let surface =
            surface::read(&text(root, &format!("codegen/surface/{name}.json"))?).map_err(of_language)?;
        let methods = plan::methods(&commands, &surface).map_err(of_language)?;
        files.extend(write(&methods, &surface).map_err(of_language)?);
    }
    Ok(files)
}

type Writer = fn(&[plan::Method], &surface::Surface) -> Outcome<Vec<File>>;

/// By the name of the surface.
const WRITERS: [(&str, Writer); 2] = [("python", python::files), ("node", node::files)];

/// Writes every generated file that differs.
///
/// # Errors
/// As `generate`, or where a file cannot be written.
pub fn write(root: &Path) -> Outcome<()> {
    for (path, new) in generate(root)? {
        if text(root, &path).is_ok_and(|old| old == new) {
            continue;
        }
        fs::write(root.join(&path), new).map_err(|error| format!("{path}: {error}"))?;
        println!("{path}");
    }
    Ok(())
}

/// Compares every generated file with what would be written.
///
/// # Errors
/// Names the first file that differs.
pub fn check(root: &Path) -> Outcome<()> {
    for (path, new) in generate(root)? {
        if text(root, &path)? != new {
            return Err(format!("{path} is not what the generator writes: run `make generate`"));
        }
    }
    Ok(())
}

fn text(root: &Path, path: &str) -> Outcome<String> {
    fs::read_to_string(root.join(path)).map_err(|error| format!("{path}: {error}"))
}
