//! What the reference implementation's detector makes of the same inputs.
