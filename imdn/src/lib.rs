//! CPIM envelopes and instant message disposition notifications, without I/O.
