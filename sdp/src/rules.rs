//! What is taken from the wire: limits, and the habits of deployed clients that are put up with.

/// Limits on a description from the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the whole description.
    pub size: usize,
    /// Bytes of a line, with its end.
    pub line: usize,
    /// Lines of the whole description.
    pub lines: usize,
    /// Media sections.
    pub media: usize,
    /// URIs in an `a=path`.
    pub path: usize,
    /// Entries of a list of media types, hashes of a file, fingerprints, tokens of `a=chatroom`.
    pub entries: usize,
}

impl Default for Limits {
    /// Room for what browsers send, which is the largest seen in practice.
    fn default() -> Self {
        Self { size: 64 * 1024, line: 8 * 1024, lines: 2048, media: 64, path: 16, entries: 128 }
    }
}

/// Deviations of deployed clients, each a switch; `true` takes the deviation.
///
/// The default takes all but SHA-1 fingerprints, which weaken security and not only syntax.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leniency {
    /// Lines in another order than RFC 8866 §9 has them (`t=` before `c=`, `c=` after `a=`), or twice.
    pub order: bool,
    /// No `o=`, `s=`, `t=` or `c=`, and an empty `s=`.
    pub missing_lines: bool,
    /// Lines of a letter nobody knows; they are kept.
    pub unknown_lines: bool,
    /// Empty lines; they are kept.
    pub blank_lines: bool,
    /// Spaces in front of a line or at its end, doubled, or after the colon of an attribute.
    pub spaces: bool,
    /// `tcp/msrp`, `a=setup:ACTIVE`.
    pub case: bool,
    /// An `m=` line without a format.
    pub no_format: bool,
    /// An `o=` line whose numbers are no numbers, or whose user name has spaces or is missing.
    pub origin: bool,
    /// TLS in the `m=` line and `msrp:` in the path, or the reverse: TLS is used.
    pub scheme: bool,
    /// A URI in the path without a port: that of the `m=` line is taken.
    pub path_without_port: bool,
    /// No `a=accept-types`: anything may be sent.
    pub no_accept_types: bool,
    /// Commas between media types.
    pub commas: bool,
    /// Both sides say `a=setup:active`: we connect if the peer names a port.
    pub setup_conflict: bool,
    /// `c=` and `m=` of an offer with `a=setup:active` are not compared with its path (RFC 6714 §4.3): handsets behind
    /// a NAT put port 9 or a private address in one of the two.
    pub active_address: bool,
    /// A file offered without `a=file-transfer-id`.
    pub file_id: bool,
    /// A file offered without a direction is one that the offerer sends.
    pub file_direction: bool,
    /// File names without quotes or with bare ones, hashes in lower case, without colons, or called `sha1`.
    pub file_syntax: bool,
    /// A fingerprint in lower case or without colons.
    pub fingerprint_syntax: bool,
    /// A certificate is checked against a SHA-1 fingerprint where the peer has no better one.
    pub sha1_fingerprint: bool,
    /// Under RFC 6714 only the session-id of a To-Path is compared, since a middlebox may have changed the rest.
    pub match_session_id: bool,
}

impl Leniency {
    /// No deviation is taken. Values that nobody here reads, such as those of `b=` and `t=`, are not looked into.
    pub const STRICT: Self = Self::all(false);

    /// All that is harmless, as deployed clients need it: the default.
    pub const DEPLOYED: Self = {
        let mut leniency = Self::all(true);
        leniency.sha1_fingerprint = false;
        leniency
    };

    const fn all(on: bool) -> Self {
        Self {
            order: on,
            missing_lines: on,
            unknown_lines: on,
            blank_lines: on,
            spaces: on,
            case: on,
            no_format: on,
            origin: on,
            scheme: on,
            path_without_port: on,
            no_accept_types: on,
            commas: on,
            setup_conflict: on,
            active_address: on,
            file_id: on,
            file_direction: on,
            file_syntax: on,
            fingerprint_syntax: on,
            sha1_fingerprint: on,
            match_session_id: on,
        }
    }
}

impl Default for Leniency {
    fn default() -> Self {
        Self::DEPLOYED
    }
}

/// Limits and leniency together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rules {
    pub limits: Limits,
    pub leniency: Leniency,
}

impl Rules {
    /// Default limits, no deviation taken.
    #[must_use]
    pub fn strict() -> Self {
        Self { limits: Limits::default(), leniency: Leniency::STRICT }
    }
}
