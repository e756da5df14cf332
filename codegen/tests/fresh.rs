//! The committed files are those that the generator writes.

#[test]
fn generated_files_are_what_the_generator_writes() {
    respass_codegen::check(&respass_codegen::root()).unwrap_or_else(|error| panic!("{error}"));
}
