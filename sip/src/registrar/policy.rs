//! What the operator lets a REGISTER do.

/// What happens when an AOR has [`Policy::max_bindings`] and a device more registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenFull {
    /// 403: the newcomer has to wait until a binding lapses.
    Refuse,
    /// The longest-standing bindings go, dormant ones first.
    #[default]
    ReplaceOldest,
}

/// Limits and choices of the registrar. Times in seconds, sizes in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Granted where the request asks for no time (RFC 3261 §10.3 step 7).
    pub default_expires: u32,
    /// Shorter wishes get 423; a wish of an hour or more is granted whatever this says.
    pub min_expires: u32,
    /// Longer wishes are shortened to this.
    pub max_expires: u32,
    /// Bindings of one AOR.
    pub max_bindings: usize,
    pub when_full: WhenFull,
    /// Contact URI.
    pub max_contact: usize,
    /// Parameters of a Contact, instance-id and Call-ID, each.
    pub max_params: usize,
    /// All Path values together.
    pub max_path: usize,
    /// Whether a Path in the REGISTER of a client that does not name `path` in Supported is refused with 420
    /// (RFC 3327 §5.3) instead of used.
    pub strict_path: bool,
    /// Whether a client that wants outbound over a first hop without it gets 439 (RFC 5626 §6) instead of a plain
    /// binding.
    pub strict_first_hop: bool,
    /// Whether contacts of other schemes than sip and sips are kept. They are never a target.
    pub foreign_schemes: bool,
    /// `Flow-Timer` for clients connected to us that use outbound (RFC 5626 §10).
    pub flow_timer: Option<u32>,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            default_expires: 3600,
            min_expires: 60,
            max_expires: 86_400,
            max_bindings: 10,
            when_full: WhenFull::default(),
            max_contact: 2048,
            max_params: 2048,
            max_path: 2048,
            strict_path: false,
            strict_first_hop: true,
            foreign_schemes: false,
            flow_timer: Some(120),
        }
    }
}
