//! The published images and the CI examples, used as by a user.
//!
//! `make test` starts the parts of the rung `e2e` and bakes the images.

mod ci_examples;
mod ci_job;
mod images;
mod options;
