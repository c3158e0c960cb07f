//! Builds every room once and names every concrete backend.
