//! Who is listening: one append-only file per build, the only truth about its log.
