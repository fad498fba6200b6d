//! Implementations of the seams that `hub` defines.
