//! NeuVector's resources: `NvSecurityRule`, `NvClusterSecurityRule`, `NvDlpSecurityRule`,
//! `NvWafSecurityRule` of neuvector.com/v1.
//!
//! Rules are between groups; a group is named and has criteria. Criteria with the same key are
//! alternatives, others must hold together. Rules there are tried in their order, while a denial here
//! wins wherever it stands.

mod applications;
mod group;
mod read;
mod sensors;
mod write;

pub(crate) use read::read;
pub(crate) use write::write;

pub(crate) const API_VERSION: &str = "neuvector.com/v1";
pub(crate) const KIND: &str = "NvSecurityRule";
pub(crate) const CLUSTER_KIND: &str = "NvClusterSecurityRule";
pub(crate) const DLP_KIND: &str = "NvDlpSecurityRule";
pub(crate) const WAF_KIND: &str = "NvWafSecurityRule";
