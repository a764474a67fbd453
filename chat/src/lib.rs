//! Messaging decisions: pager mode, store-and-forward, receipts, without I/O.
