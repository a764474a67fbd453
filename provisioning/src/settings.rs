//! What a handset is told about the service; the operator's side of a document.

/// How SIP or MSRP is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
    Tls,
}

impl Transport {
    /// In `psSignalling` and the like.
    pub(crate) fn signalling(self) -> &'static str {
        match self {
            Transport::Udp => "SIPoUDP",
            Transport::Tcp => "SIPoTCP",
            Transport::Tls => "SIPoTLS",
        }
    }

    /// In `psMedia` and the like.
    pub(crate) fn media(self) -> &'static str {
        if self == Transport::Tls { "MSRPoTLS" } else { "MSRP" }
    }
}

/// How a handset proves who it is to the registrar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    Digest,
    Aka,
}

/// Chat, one to one and in groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chat {
    /// `conf-fcty-uri`; empty: no group chat.
    pub factory: String,
    pub max_group_size: u32,
    /// Of one message, in bytes.
    pub max_size: u64,
    /// Seconds without a message until a client ends a session.
    pub idle: u32,
    /// Sessions of CPM rather than of SIMPLE IM, for the clients that know both.
    pub cpm: bool,
}

/// Files over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// Where they are sent to; empty: no file transfer.
    pub upload: String,
    /// KB.
    pub max_size: u64,
    /// KB; above it a client asks its user. 0: never.
    pub warn_size: u64,
}

/// XCAP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lists {
    /// Empty: none.
    pub root: String,
}

/// A service as handsets are told about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `Home_network_domain_name`, and the realm.
    pub domain: String,
    /// Host or address of the first SIP hop, with a port where it is not the usual one.
    pub proxy: String,
    pub signalling: Transport,
    pub media: Transport,
    pub auth: Auth,
    pub chat: Chat,
    pub files: Files,
    pub lists: Lists,
    /// Seconds for which capabilities are believed.
    pub capability_expiry: u32,
    /// Whether voice and video calls over IP are allowed.
    pub calls: bool,
    /// Whether files and sessions may be offered to users who are away: this server keeps them.
    pub store_and_forward: bool,
}
