//! Black-box tests of the phase binaries.
