//! Allowlists from and to the formats of others: Kubernetes NetworkPolicy, CiliumNetworkPolicy and
//! NeuVector's rules.
//!
//! [`import`] reads what others wrote, [`export`] writes for them. No format says all that another
//! one says, so both come with [`Loss`]es: one sentence for each thing that could not be said, and
//! whether the result lets more or less through than the original.
//!
//! The rule for imports: **not wider than the original, or told so**. A part of a permission that
//! cannot be said leaves the permission out; a restriction of a denial that cannot be said lets it
//! deny more; a peer of a denial that cannot be said is told as wider. Exports keep
//! to what the other system enforces, which is often less: there a loss says what it does not check.
//!
//! Trusts nothing it reads: sizes are bounded by [`weir_model::FILE_BYTES_MAX`] and
//! [`OBJECTS_MAX`], nesting by the YAML reader.

mod cilium;
mod condition;
mod labels;
mod loss;
mod network_policy;
mod neuvector;
mod object;
mod ports;
mod regex;
mod stream;
mod workloads;

use std::fmt;
use std::str::FromStr;

use weir_model::{Document, Problem, Stage};

pub use loss::{Effect, Loss};
pub use stream::OBJECTS_MAX;

/// Whose format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Weir's own YAML: nothing is lost.
    Weir,
    /// `NetworkPolicy` of networking.k8s.io/v1.
    NetworkPolicy,
    /// `CiliumNetworkPolicy` and `CiliumClusterwideNetworkPolicy` of cilium.io/v2.
    Cilium,
    /// `NvSecurityRule`, `NvClusterSecurityRule`, `NvDlpSecurityRule`, `NvWafSecurityRule` of
    /// neuvector.com/v1.
    NeuVector,
}

/// What an import makes of a policy whose format has no stages of its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct ImportOptions {
    /// The stage of the allowlists; without one their rules hold and nobody's mode changes.
    pub stage: Option<Stage>,
}

/// What came of a text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Imported {
    /// In the order of the text.
    pub documents: Vec<Document>,
    /// What they do not say.
    pub losses: Vec<Loss>,
}

/// What came of documents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// YAML, in a stable order.
    pub text: String,
    /// What it does not say.
    pub losses: Vec<Loss>,
}

impl Format {
    /// Every format, by its name on the command line.
    pub const ALL: [(&'static str, Format); 4] = [
        ("weir", Format::Weir),
        ("networkpolicy", Format::NetworkPolicy),
        ("cilium", Format::Cilium),
        ("neuvector", Format::NeuVector),
    ];
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(name, _)| *name == text);
        found.map(|(_, format)| *format).ok_or_else(|| {
            format!("{text:?} is no format; write weir, networkpolicy, cilium or neuvector")
        })
    }
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(_, format)| format == self);
        formatter.write_str(name.map_or("", |(name, _)| name))
    }
}

/// Reads documents out of a text in this format; `origin` names it in messages. An error means that
/// nothing could be read; what is left out is told by losses.
pub fn import(
    format: Format,
    origin: &str,
    text: &str,
    options: ImportOptions,
) -> Result<Imported, Vec<Problem>> {
    let read = match format {
        Format::Weir => {
            let (documents, problems) = weir_model::parse_documents(origin, text);
            if !problems.is_empty() {
                return Err(problems);
            }
            let documents = documents.into_iter().map(|located| located.value);
            return Ok(Imported {
                documents: documents.collect(),
                losses: Vec::new(),
            });
        }
        Format::NetworkPolicy => network_policy::read,
        Format::Cilium => cilium::read,
        Format::NeuVector => neuvector::read,
    };
    let objects = stream::read(origin, text).map_err(|problem| vec![problem])?;
    let imported = read(objects, options);
    let problems = refused(origin, &imported.documents);
    match problems.is_empty() {
        true => Ok(imported),
        false => Err(problems),
    }
}

/// Writes documents in this format. Documents of kinds that say nothing there are lost by name;
/// Workload documents serve to know the labels of what is named.
pub fn export(format: Format, documents: &[Document]) -> Exported {
    match format {
        Format::Weir => Exported {
            text: weir_model::to_yaml_stream(documents),
            losses: Vec::new(),
        },
        Format::NetworkPolicy => network_policy::write(documents),
        Format::Cilium => cilium::write(documents),
        Format::NeuVector => neuvector::write(documents),
    }
}

/// Whatever is built is checked by reading what is written of it: the reader's limits hold for
/// imports too.
fn refused(origin: &str, documents: &[Document]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for document in documents {
        let (_, mistakes) = weir_model::parse_documents(origin, &weir_model::to_yaml(document));
        problems.extend(mistakes.into_iter().map(|mistake| Problem {
            line: 0,
            column: 0,
            message: format!("{}: {}", document.title(), mistake.message),
            ..mistake
        }));
    }
    problems
}
