//! `weir threats`: the attacks that nodes look for, as this version has them, without a controller.

use serde::Serialize;
use weir_threat::{Action, Threat};

use crate::Answer;
use crate::error::Failure;
use crate::output::{Output, Page, Tone, View};

#[derive(Serialize)]
struct Threats {
    threats: Vec<ThreatView>,
}

#[derive(Serialize)]
struct ThreatView {
    id: u16,
    name: &'static str,
    /// What happens unless `threats.actions` of the node says otherwise.
    default_action: &'static str,
    /// Technique of MITRE ATT&CK; empty where none fits.
    technique: &'static str,
    about: &'static str,
}

impl View for Threats {
    fn table(&self, page: &mut Page) {
        let row = |threat: &ThreatView| {
            let cells = vec![
                threat.id.to_string(),
                threat.name.to_owned(),
                threat.default_action.to_owned(),
                threat.technique.to_owned(),
                threat.about.to_owned(),
            ];
            (Tone::Plain, cells)
        };
        let headers = ["id", "name", "default action", "ATT&CK", "about"];
        page.columns(&headers, self.threats.iter().map(row).collect(), "");
    }
}

/// Prints the catalogue.
pub fn run(output: &mut Output) -> Result<Answer, Failure> {
    let view = |threat: &Threat| ThreatView {
        id: threat.id(),
        name: threat.name(),
        default_action: action(threat.default_action()),
        technique: threat.technique(),
        about: threat.about(),
    };
    output.print(&Threats {
        threats: Threat::ALL.iter().map(view).collect(),
    })?;
    Ok(Answer::Yes)
}

/// As the configuration writes it.
fn action(action: Action) -> &'static str {
    match action {
        Action::Off => "off",
        Action::Alert => "alert",
        Action::Drop => "drop",
    }
}
