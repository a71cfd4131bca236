//! kubectl, the second client: not ours, and what people use.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::ASSETS;

/// kubectl with the kubeconfig of a cluster.
#[derive(Debug, Clone)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    home: PathBuf,
}

/// What kubectl said.
#[derive(Debug, Clone)]
pub struct Said {
    /// What was run.
    pub command: String,
    /// Whether it went well.
    pub success: bool,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Said {
    /// Standard output of what went well.
    ///
    /// # Panics
    /// When it did not; the message is kubectl's.
    pub fn unwrap(self) -> String {
        assert!(
            self.success,
            "{} failed: {}{}",
            self.command, self.out, self.err
        );
        self.out
    }

    /// Standard error of what did not go well.
    ///
    /// # Panics
    /// When it went well.
    pub fn unwrap_err(self) -> String {
        assert!(!self.success, "{} went well: {}", self.command, self.out);
        self.err
    }

    /// Whether it went well, for who does not mind.
    pub fn ok(self) -> bool {
        self.success
    }
}

impl Kubectl {
    /// kubectl beside the API server of `KUBEBUILDER_ASSETS`, or in `PATH`; where there is none the test is
    /// skipped by name.
    #[must_use]
    pub fn find(test: &str, kubeconfig: &Path, home: &Path) -> Option<Kubectl> {
        let beside = std::env::var_os(ASSETS).map(PathBuf::from);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let program = beside
            .into_iter()
            .chain(std::env::split_paths(&path))
            .map(|folder| folder.join("kubectl"));
        let Some(program) = program.into_iter().find(|program| program.is_file()) else {
            println!("skipped: {test}: no kubectl in PATH");
            return None;
        };
        Some(Kubectl {
            program,
            kubeconfig: kubeconfig.to_owned(),
            home: home.to_owned(),
        })
    }

    /// Runs kubectl.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn run(&self, arguments: &[&str]) -> Said {
        self.run_with(arguments, "").await
    }

    /// Runs kubectl with something on its standard input: `run_with(&["apply", "-f", "-"], yaml)`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn run_with(&self, arguments: &[&str], input: &str) -> Said {
        let mut command = Command::new(&self.program);
        command
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .arg("--request-timeout=30s")
            .args(arguments)
            .env("HOME", &self.home)
            .env_remove("KUBECONFIG")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let input = input.to_owned();
        let output = tokio::task::spawn_blocking(move || finish(&mut command, &input)).await;
        let output = output
            .expect("kubectl ran")
            .unwrap_or_else(|error| panic!("kubectl does not start: {error}"));
        Said {
            command: format!("kubectl {}", arguments.join(" ")),
            success: output.status.success(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

fn finish(command: &mut Command, input: &str) -> std::io::Result<Output> {
    use std::io::Write;
    let mut child = command.spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // Who does not read its input may have ended already.
        let _ = stdin.write_all(input.as_bytes());
    }
    child.wait_with_output()
}
