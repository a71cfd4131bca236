//! The compiled allowlist: identities, applications, one decision.

pub mod spec;
