//! Policy in its canonical form, signed by a key that the cluster does not hold.
