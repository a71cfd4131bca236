//! `kubectl weir`: the same command under the name that kubectl looks for, with the cluster's own way to
//! the controller, and completions for kubectl.
//!
//! Installed as links to `weir`: `kubectl-weir`, and `kubectl_complete-weir` for completions. The
//! controller is reached by `kubectl port-forward`: whoever may forward ports in Weir's namespace is an
//! operator, as the cluster's RBAC says.
//!
//! Trusts kubectl and the kubeconfig. Memory: one line of kubectl's.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use clap::{Args, CommandFactory};

use crate::args::Arguments;
use crate::error::Failure;

/// Where the controller in a pod listens for operators, on its loopback.
const OPERATOR_PORT: u16 = 7444;
/// What is forwarded to.
const FORWARDED: &str = "deployment/weir-controller";
/// The most that is told of what kubectl said.
const SAID_BYTES_MAX: u64 = 4096;
/// Completions of cobra: files are none.
const NO_FILES: &str = ":4";
/// Completions of cobra: files may be.
const FILES: &str = ":0";

/// The name that this program was called by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Called {
    /// `weir`.
    Weir,
    /// `kubectl weir`.
    Plugin,
    /// By kubectl, which asks for completions.
    Completing,
}

impl Called {
    /// By the first word of the command line.
    pub fn by(word: Option<&OsStr>) -> Self {
        let name = word.map(Path::new).and_then(Path::file_name);
        match name.and_then(OsStr::to_str) {
            Some("kubectl-weir") => Self::Plugin,
            Some("kubectl_complete-weir") => Self::Completing,
            _ => Self::Weir,
        }
    }

    /// How help calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Weir => "weir",
            Self::Plugin | Self::Completing => "kubectl weir",
        }
    }
}

/// The cluster through which the controller is reached; as `kubectl weir` without `--controller`.
#[derive(Debug, Args)]
pub struct Cluster {
    /// The kubeconfig: the controller is reached through its cluster.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig, if not its current one.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// The namespace that Weir runs in, if not weir-system.
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
}

/// A port of this machine that kubectl forwards. It ends with this.
#[derive(Debug)]
pub struct Forward {
    kubectl: Child,
    /// Where to connect.
    pub authority: String,
}

impl Cluster {
    /// Whether a cluster was named.
    pub fn is_named(&self) -> bool {
        self.kubeconfig.is_some() || self.context.is_some() || self.namespace.is_some()
    }

    /// Has kubectl forward a port to the controller.
    pub fn forward(&self) -> Result<Forward, Failure> {
        let mut command = Command::new("kubectl");
        if let Some(path) = &self.kubeconfig {
            command.arg("--kubeconfig").arg(path);
        }
        if let Some(context) = &self.context {
            command.args(["--context", context]);
        }
        let namespace = self.namespace.as_deref().unwrap_or("weir-system");
        command.args(["--namespace", namespace, "port-forward", FORWARDED]);
        command.arg(format!(":{OPERATOR_PORT}"));
        let spawned = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let kubectl = spawned.map_err(|error| {
            Failure::Unreachable(format!(
                "kubectl cannot be started: {error}; it must be in PATH"
            ))
        })?;
        let mut forward = Forward {
            kubectl,
            authority: String::new(),
        };
        let mut line = String::new();
        if let Some(out) = forward.kubectl.stdout.take() {
            let _ = BufReader::new(out.take(SAID_BYTES_MAX)).read_line(&mut line);
        }
        match forwarded(&line) {
            Some(authority) => authority.clone_into(&mut forward.authority),
            None => return Err(Failure::Unreachable(forward.objection(namespace))),
        }
        Ok(forward)
    }
}

impl Forward {
    /// What kubectl said when it would not.
    fn objection(&mut self, namespace: &str) -> String {
        let mut said = String::new();
        if let Some(errors) = self.kubectl.stderr.take() {
            let _ = errors.take(SAID_BYTES_MAX).read_to_string(&mut said);
        }
        format!(
            "kubectl does not forward a port to {FORWARDED} in namespace {namespace}: {}; name Weir's \
             namespace with --namespace, and have the role to forward ports there",
            said.trim()
        )
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        let _ = self.kubectl.kill();
        let _ = self.kubectl.wait();
    }
}

/// Where kubectl says that it listens: "Forwarding from 127.0.0.1:40123 -> 7444".
fn forwarded(line: &str) -> Option<&str> {
    line.strip_prefix("Forwarding from ")?.split(' ').next()
}

/// Prints what may come in the place of the last word, as kubectl wants it: a word and what it is about a
/// line, then a directive.
pub fn complete(words: &[String]) -> String {
    let (prefix, before) = words
        .split_last()
        .map_or(("", &[][..]), |(last, before)| (last.as_str(), before));
    let mut root = Arguments::command();
    root.build();
    let mut command = &root;
    for word in before {
        command = command.find_subcommand(word).unwrap_or(command);
    }
    let flags = command.get_arguments().filter(|flag| !flag.is_hide_set());
    let flags = flags.filter_map(|flag| {
        let about = flag.get_help().map(ToString::to_string);
        Some((format!("--{}", flag.get_long()?), about))
    });
    let commands = command.get_subcommands().map(|command| {
        let about = command.get_about().map(ToString::to_string);
        (command.get_name().to_owned(), about)
    });
    let commands: Vec<_> = commands.collect();
    let directive = if commands.is_empty() { FILES } else { NO_FILES };
    let candidates: Vec<_> = match prefix.starts_with('-') {
        true => flags.collect(),
        false => commands,
    };
    let mut lines = String::new();
    for (word, about) in candidates {
        if word.starts_with(prefix) {
            let about = about.unwrap_or_default();
            let about = about.lines().next().unwrap_or_default();
            lines.push_str(&format!("{word}\t{about}\n"));
        }
    }
    lines + directive + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn kubectl_is_offered_commands_and_flags() {
        let offered = complete(&words("pol"));
        assert!(offered.starts_with("policy\t"), "{offered}");
        assert!(offered.ends_with("\n:4\n"), "{offered}");
        assert!(complete(&words("policy ")).contains("\nexport\t"));
        let flags = complete(&words("flows --ver"));
        assert!(flags.starts_with("--verdict\t"), "{flags}");
        assert_eq!(complete(&words("policy apply a")), ":0\n");
    }

    #[test]
    fn the_port_is_read_from_what_kubectl_says() {
        let line = "Forwarding from 127.0.0.1:40123 -> 7444\n";
        assert_eq!(forwarded(line), Some("127.0.0.1:40123"));
        assert_eq!(forwarded("error: pods \"x\" not found"), None);
    }

    #[test]
    fn the_name_says_how_it_was_called() {
        let called = |name: &str| Called::by(Some(OsStr::new(name)));
        assert_eq!(called("/usr/local/bin/kubectl-weir"), Called::Plugin);
        assert_eq!(called("kubectl_complete-weir"), Called::Completing);
        assert_eq!(called("./weir"), Called::Weir);
    }
}
