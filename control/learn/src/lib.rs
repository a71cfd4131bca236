//! From conversations seen to rules proposed
