//! `cargo fmt` does not follow modules that a macro declares: the parsers are checked here.

use std::path::Path;
use std::process::Command;

#[test]
fn parsers_are_formatted() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/proto");
    let files: Vec<_> = std::fs::read_dir(&folder)
        .expect("a readable folder")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect();
    let checked = Command::new("rustfmt")
        .args(["--edition", "2024", "--check"])
        .args(&files)
        .output();
    match checked {
        Err(error) => eprintln!("skipped: rustfmt does not run: {error}"),
        Ok(output) => assert!(
            output.status.success(),
            "run rustfmt --edition 2024 {}/*.rs\n{}",
            folder.display(),
            String::from_utf8_lossy(&output.stdout)
        ),
    }
}
