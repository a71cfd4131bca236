//! Who owns which field: `metadata.managedFields`, as server-side apply keeps it.
//!
//! `set` holds sets of fields, `walk` reads them off objects and compares and merges objects,
//! `manage` does what an update or an apply does to the owners.

pub(crate) mod manage;
mod set;
mod walk;

pub(crate) use set::Set;
