//! What a package says of a program: man pages of it and of each of its subcommands, completions for
//! shells, and the man page of a configuration file. All of it comes from what the program itself reads.
//!
//! Each program writes its own with the hidden subcommand `manual DIRECTORY`; nothing of it is checked in.

mod configuration;

use std::fs;
use std::io;
use std::path::Path;

use clap::Command;
use clap_complete::Shell;

pub use configuration::Configuration;

/// Shells, the directory of their completions, and what a program's file is called there.
const SHELLS: [(Shell, &str, &str, &str); 3] = [
    (Shell::Bash, "bash", "", ""),
    (Shell::Zsh, "zsh", "_", ""),
    (Shell::Fish, "fish", "", ".fish"),
];

/// Writes `man1/NAME.1` for the program and each subcommand, `man5/NAME.5` for its configuration, and
/// `completions/SHELL/…` below `directory`, which is made.
pub fn write(
    command: &Command,
    configuration: Option<&Configuration<'_>>,
    directory: &Path,
) -> io::Result<()> {
    let pages = directory.join("man1");
    fs::create_dir_all(&pages)?;
    // Every program says its version by itself, and help is what is being written.
    let command = command.clone().disable_help_subcommand(true);
    clap_mangen::generate_to(visible(command.clone()), &pages)?;
    if let Some(configuration) = configuration {
        let pages = directory.join("man5");
        fs::create_dir_all(&pages)?;
        let page = configuration.page(command.get_version().unwrap_or_default());
        fs::write(pages.join(format!("{}.5", configuration.name)), page)?;
    }
    for (shell, folder, before, behind) in SHELLS {
        let folder = directory.join("completions").join(folder);
        fs::create_dir_all(&folder)?;
        let name = command.get_name().to_owned();
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut command.clone(), &name, &mut script);
        fs::write(folder.join(format!("{before}{name}{behind}")), script)?;
    }
    Ok(())
}

/// Flags that hold for every subcommand are told on the page of the program alone.
fn visible(command: Command) -> Command {
    command.mut_subcommands(|subcommand| visible(subcommand.disable_help_subcommand(true)))
}

#[cfg(test)]
mod tests {
    use clap::Arg;

    use super::*;

    fn program() -> Command {
        let hidden = Command::new("manual").hide(true);
        let inner = Command::new("add").about("Adds one");
        let outer = Command::new("thing").about("Things").subcommand(inner);
        Command::new("tool")
            .version("1.2")
            .about("Does it")
            .arg(Arg::new("speed").long("speed").help("How fast"))
            .subcommands([hidden, outer])
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<_> = entries
            .map(|it| it.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_page_for_each_subcommand_that_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        write(&program(), None, directory.path()).unwrap();
        let pages = directory.path().join("man1");
        assert_eq!(
            names(&pages),
            ["tool-thing-add.1", "tool-thing.1", "tool.1"]
        );
        let page = fs::read_to_string(pages.join("tool.1")).unwrap();
        assert!(
            page.contains("How fast") && page.contains("thing"),
            "{page}"
        );
        assert!(!page.contains("manual"), "{page}");
    }

    #[test]
    fn completions_have_the_names_that_shells_look_for() {
        let directory = tempfile::tempdir().unwrap();
        write(&program(), None, directory.path()).unwrap();
        let completions = directory.path().join("completions");
        assert_eq!(names(&completions), ["bash", "fish", "zsh"]);
        for (shell, file) in [("bash", "tool"), ("zsh", "_tool"), ("fish", "tool.fish")] {
            let script = fs::read_to_string(completions.join(shell).join(file)).unwrap();
            assert!(script.contains("speed"), "{script}");
        }
    }
}
