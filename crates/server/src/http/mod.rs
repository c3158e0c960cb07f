//! The two front doors.
