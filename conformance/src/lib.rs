//! Black-box conformance suites and load generators; uses none of the server crates.
