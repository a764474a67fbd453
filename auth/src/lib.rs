//! Digest, AKA and bearer-token authentication, without I/O.
