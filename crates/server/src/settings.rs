//! The server's settings, from the environment.
