//! `respass-codegen` writes the generated files; `respass-codegen --check` says which are not what it would write.

use std::process::ExitCode;

fn main() -> ExitCode {
    let root = respass_codegen::root();
    let is_check = std::env::args().any(|argument| argument == "--check");
    let outcome = if is_check { respass_codegen::check(&root) } else { respass_codegen::write(&root) };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("respass-codegen: {error}");
            ExitCode::FAILURE
        }
    }
}
