//! Random bytes: the one place from which the modules of the server take them.

pub(crate) use bakery_context::random::{bytes, hex};
