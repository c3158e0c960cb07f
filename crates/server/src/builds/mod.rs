//! The living room: accepts builds, drives them to their end, keeps the ledger.
