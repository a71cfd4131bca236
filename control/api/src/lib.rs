//! The contract between controller, nodes and command line
