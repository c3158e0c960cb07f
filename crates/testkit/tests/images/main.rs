//! What is shipped, used as a user would use it: the images, and the examples that run in them.
//!
//! `make test` brings the parts: those of the rung `e2e`, and the client image.

mod ci_examples;
mod ci_job;
mod images;
