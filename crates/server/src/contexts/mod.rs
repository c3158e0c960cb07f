//! Folders in transit: the own store of packed contexts, and the rules for a bucket.
