//! One file per command: the view it prints, and how it asks.

pub mod alerts;
pub mod apps;
pub mod bundle;
pub mod capture;
pub mod completions;
pub mod crds;
pub mod doctor;
pub mod explain;
pub mod flows;
pub mod guardrail;
pub mod host;
pub mod impact;
pub mod learn;
pub mod learn_why;
pub mod manual;
pub mod map;
pub mod mode;
pub mod path;
pub mod policy;
pub mod quarantine;
pub mod sensor;
pub mod sigs;
pub mod status;
pub mod test;
pub mod threats;
pub mod translate;
