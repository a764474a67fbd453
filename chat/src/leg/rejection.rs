//! What a device means that turns an INVITE to a session down.

/// What becomes of the messages that the session was to bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// No sessions, so by MESSAGE.
    Page,
    /// Busy right now: calls that cross, or too many sessions.
    Later,
    /// Not reachable; or the user declined the session, which says nothing of the messages: they wait.
    Away,
    /// Not wanted, or nobody there to want them: they do not wait.
    Refused,
}

impl Rejection {
    /// Reads a final response that is no 2xx.
    pub fn of(status: u16) -> Rejection {
        match status {
            403 | 404 | 410 | 604 | 607 | 608 => Rejection::Refused,
            405 | 406 | 413 | 415 | 416 | 420 | 421 | 488 | 493 | 501 | 505 | 513 | 580 | 606 => Rejection::Page,
            486 | 491 | 600 => Rejection::Later,
            // 603, 408, 430, 480, 487, 5xx, redirections, and what nobody has thought of.
            _ => Rejection::Away,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_codes_mean() {
        for (statuses, expected) in [
            (&[403, 404, 410, 604][..], Rejection::Refused),
            (&[415, 488, 501, 606], Rejection::Page),
            (&[486, 491, 600], Rejection::Later),
            (&[302, 408, 430, 480, 487, 500, 503, 504, 603, 699], Rejection::Away),
        ] {
            for status in statuses {
                assert_eq!(Rejection::of(*status), expected, "{status}");
            }
        }
    }
}
