//! Where workloads and allowlists come from
