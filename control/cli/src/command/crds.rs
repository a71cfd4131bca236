//! `weir crds`: the custom resources of Kubernetes, as this version of Weir reads them.

use std::io::Write;

use weir_model::did_you_mean;

use crate::Answer;
use crate::error::Failure;

macro_rules! definitions {
    ($($plural:literal)*) => {
        &[$((
            $plural,
            include_str!(concat!("../../../../deploy/baremetal/crds/weir.dev_", $plural, ".yaml")),
        ),)*]
    };
}

/// By plural. The files are made of the types that read them.
const DEFINITIONS: &[(&str, &str)] = definitions! {
    "allowlists" "clusterallowlists" "guardrails" "learnedprofiles" "modes" "responserules"
    "sensors" "services" "settings" "threatpolicies" "workloads"
};

/// Prints the definitions of these kinds, or all.
pub fn run(kinds: &[String]) -> Result<Answer, Failure> {
    let mut chosen = Vec::new();
    for kind in kinds {
        chosen.push(named(kind)?);
    }
    if kinds.is_empty() {
        chosen.extend(DEFINITIONS.iter().map(|(_, text)| *text));
    }
    let mut out = std::io::stdout().lock();
    out.write_all(chosen.join("---\n").as_bytes())?;
    out.flush()?;
    Ok(Answer::Yes)
}

/// By plural, singular or kind, in any case.
fn named(kind: &str) -> Result<&'static str, Failure> {
    let lower = kind.to_lowercase();
    let word = lower.strip_suffix(".weir.dev").unwrap_or(&lower);
    let fits = |plural: &str| {
        let kinds = weir_model::Kind::ALL.into_iter();
        plural == word
            || kinds
                .filter(|kind| kind.plural() == plural)
                .any(|kind| kind.lower() == word)
    };
    let found = DEFINITIONS.iter().find(|(plural, _)| fits(plural));
    found.map(|(_, text)| *text).ok_or_else(|| {
        let known = || DEFINITIONS.iter().map(|(plural, _)| *plural);
        let next_step = match did_you_mean(word, known()) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("known are {}", known().collect::<Vec<_>>().join(", ")),
        };
        Failure::Failed(format!("there is no custom resource {kind:?}; {next_step}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_a_cluster_is_there() {
        let kinds = weir_model::Kind::ALL
            .into_iter()
            .filter(|kind| *kind != weir_model::Kind::Namespace);
        for kind in kinds {
            for word in [kind.name(), kind.plural(), kind.lower()] {
                let text = named(word).unwrap();
                assert!(text.contains(&format!("name: {}.weir.dev\n", kind.plural())));
            }
        }
        assert_eq!(DEFINITIONS.len(), weir_model::Kind::ALL.len() - 1);
        let told = named("alowlist").unwrap_err().to_string();
        assert!(told.contains("did you mean allowlists?"), "{told}");
    }
}
