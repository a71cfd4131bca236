//! Commands about documents: policy and its guardrails.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use weir_model::Stage;
use weir_translate::Format;

#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// The documents the controller has.
    List,
    /// Checks documents without a controller; runs the expectations of *.test.yaml files.
    ///
    /// A test file lists connections and what the policy must say of them:
    /// `tests: [{from: shop/ai-model, to: shop/photo-db, application: mysql, port: 3306, expect: allow}]`.
    /// Guardrails among the documents judge the others.
    Test {
        /// Files and directories of YAML.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        #[command(flatten)]
        guardrails: GuardrailArguments,
    },
    /// Checks documents and makes them effective, all or none.
    Apply {
        /// Files and directories of YAML; - reads standard input.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Prints the documents the controller has, as YAML.
    Export {
        /// Instead, the allowlists that follow from accepted proposals.
        #[arg(long)]
        learned: bool,
        /// Write the files here instead of printing them.
        #[arg(long, value_name = "DIRECTORY", conflicts_with = "format")]
        directory: Option<PathBuf>,
        /// In the format of another system; what it cannot say is told in comments above.
        #[arg(long, value_parser = formats())]
        format: Option<Format>,
        /// With --format: the documents of these files and directories, without a controller; - reads
        /// standard input. Workload documents among them tell the labels of what is named.
        #[arg(requires = "format", conflicts_with = "learned")]
        files: Vec<PathBuf>,
        /// With --format: exit code 1 if the other system would let more through.
        #[arg(long, requires = "format")]
        strict: bool,
    },
    /// Prints the policies of another system as Weir's documents.
    ///
    /// What cannot be said is told in comments above, with whether the result lets more or less
    /// through. Give all policies of a namespace at once: what one leaves open another may close.
    Import {
        /// Whose format: networkpolicy, cilium, neuvector, weir.
        #[arg(long, value_parser = formats())]
        from: Format,
        /// Files and directories of YAML, as `kubectl get -o yaml` prints; - reads standard input.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// The stage of what is imported.
        #[arg(long, value_parser = stages())]
        stage: Option<Stage>,
        /// Exit code 1 if the result lets more through.
        #[arg(long)]
        strict: bool,
    },
    /// What would have been dropped in the last days, from the conversations that are kept; exit code 1 if
    /// anything.
    ///
    /// Without files it is the policy as it stands; `weir policy impact --mode protect` tells what
    /// protect would do. Files are laid over it, as `weir policy apply` would.
    Impact(ImpactArguments),
    /// What applying these documents would change; exit code 1 if anything.
    Diff {
        /// Files and directories of YAML; - reads standard input.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub enum GuardrailCommand {
    /// Runs the Rego tests of a directory, as `opa test` does; exit code 2 if one fails.
    ///
    /// A directory has the layout of an OPA bundle: *.rego files anywhere, data.json or data.yaml, perhaps
    /// a .manifest. A test is a rule whose name begins with test_; todo_test_ skips it.
    Test {
        /// Directories and Rego files.
        #[arg(required = true)]
        paths: Vec<PathBuf>,
        /// Also those that pass, and what they print.
        #[arg(short, long)]
        verbose: bool,
        /// Exit code 2 if there is no test, too.
        #[arg(long)]
        fail_on_empty: bool,
    },
    /// Judges documents without a controller; exit code 1 if one is refused.
    ///
    /// The controller and the admission webhook come to the same verdict.
    Check {
        /// Files and directories of YAML; guardrail documents among them are in force too.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        #[command(flatten)]
        guardrails: GuardrailArguments,
        /// The documents that are in force, for guardrails that compare with them.
        #[arg(long, value_name = "PATH")]
        old: Vec<PathBuf>,
        /// Instead, prints what guardrails are asked about each document: `input`, as JSON.
        #[arg(long)]
        input: bool,
    },
    /// The guardrails that come with Weir.
    List,
    /// Prints one that comes with Weir: as a document to apply, or its Rego.
    Show {
        /// Its name.
        name: String,
        /// Its Rego and its tests, as files to change.
        #[arg(long)]
        rego: bool,
    },
}

/// Guardrails besides those among the documents.
#[derive(Debug, Args)]
pub struct GuardrailArguments {
    /// A directory in the layout of an OPA bundle, or a Rego file.
    #[arg(long, value_name = "PATH")]
    pub guardrails: Vec<PathBuf>,
    /// One that comes with Weir; `weir guardrail list` names them.
    #[arg(long, value_name = "NAME")]
    pub shipped: Vec<String>,
}

#[derive(Debug, Args)]
pub struct ImpactArguments {
    /// In this mode; without it, in the modes as they stand.
    #[arg(long, value_parser = PossibleValuesParser::new(["discover", "monitor", "protect"]))]
    pub mode: Option<String>,
    /// Only this workload: its mode is changed, and its conversations are looked at.
    #[arg(short, long)]
    pub workload: Option<String>,
    /// How many days back, today included.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=35))]
    pub days: u32,
    /// With the allowlists in stage draft in force.
    #[arg(long)]
    pub drafts: bool,
    /// Files and directories of YAML; - reads standard input.
    pub files: Vec<PathBuf>,
}

/// The formats, by their names.
fn formats() -> impl TypedValueParser<Value = Format> {
    let names = Format::ALL.map(|(name, _)| name);
    PossibleValuesParser::new(names).try_map(|name| name.parse::<Format>())
}

/// The stages, by their names.
fn stages() -> impl TypedValueParser<Value = Stage> {
    const ALL: [Stage; 3] = [Stage::Draft, Stage::Monitor, Stage::Protect];
    PossibleValuesParser::new(ALL.map(Stage::name)).try_map(|name| {
        let stage = ALL.into_iter().find(|stage| stage.name() == name);
        stage.ok_or_else(|| format!("{name} is no stage"))
    })
}
