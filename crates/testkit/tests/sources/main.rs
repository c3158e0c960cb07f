//! Rules that hold over the sources of all crates, read with a parser.

mod files;
mod hints;
mod names;
