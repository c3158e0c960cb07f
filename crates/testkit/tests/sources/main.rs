//! Rules that hold over the sources of all crates, read with a parser.

mod circles;
mod files;
mod hints;
mod modules;
mod names;
mod walls;
