//! Weir against a Kubernetes API server: the one for tests, or a real one.
