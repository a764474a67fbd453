//! Method and header names.

use std::fmt;

/// A request method; names are case-sensitive (RFC 3261 §7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    Invite,
    Ack,
    Bye,
    Cancel,
    Register,
    Options,
    Message,
    Subscribe,
    Notify,
    Publish,
    Refer,
    Info,
    Update,
    Prack,
    /// Any other token; its text is in the message.
    Other,
}

impl Method {
    const KNOWN: [(Method, &'static str); 14] = [
        (Method::Invite, "INVITE"),
        (Method::Ack, "ACK"),
        (Method::Bye, "BYE"),
        (Method::Cancel, "CANCEL"),
        (Method::Register, "REGISTER"),
        (Method::Options, "OPTIONS"),
        (Method::Message, "MESSAGE"),
        (Method::Subscribe, "SUBSCRIBE"),
        (Method::Notify, "NOTIFY"),
        (Method::Publish, "PUBLISH"),
        (Method::Refer, "REFER"),
        (Method::Info, "INFO"),
        (Method::Update, "UPDATE"),
        (Method::Prack, "PRACK"),
    ];

    pub fn of(token: &[u8]) -> Method {
        match token {
            b"INVITE" => Method::Invite,
            b"ACK" => Method::Ack,
            b"BYE" => Method::Bye,
            b"CANCEL" => Method::Cancel,
            b"REGISTER" => Method::Register,
            b"OPTIONS" => Method::Options,
            b"MESSAGE" => Method::Message,
            b"SUBSCRIBE" => Method::Subscribe,
            b"NOTIFY" => Method::Notify,
            b"PUBLISH" => Method::Publish,
            b"REFER" => Method::Refer,
            b"INFO" => Method::Info,
            b"UPDATE" => Method::Update,
            b"PRACK" => Method::Prack,
            _ => Method::Other,
        }
    }

    /// The name, empty for [`Method::Other`].
    pub fn as_str(self) -> &'static str {
        Method::KNOWN.iter().find(|(m, _)| *m == self).map_or("", |(_, name)| name)
    }

    /// Whether a 2xx to it makes a dialog (RFC 3261 §12.1, RFC 6665 §4.1, RFC 3515 §2.4).
    pub fn forms_dialog(self) -> bool {
        matches!(self, Method::Invite | Method::Subscribe | Method::Refer | Method::Notify)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

macro_rules! header_names {
    ($($variant:ident $name:literal $($compact:literal)?;)*) => {
        /// A header that the code refers to; every other one is `Other` and is passed on as it came.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum HeaderName {
            $(#[doc = $name] $variant,)*
            Other,
        }

        const NAMES: &[(HeaderName, &str)] = &[$((HeaderName::$variant, $name),)*];

        const COMPACT: [HeaderName; 26] = {
            let mut table = [HeaderName::Other; 26];
            $($(table[($compact - b'a') as usize] = HeaderName::$variant;)?)*
            table
        };
    };
}

header_names! {
    Accept "Accept";
    AcceptContact "Accept-Contact" b'a';
    AcceptEncoding "Accept-Encoding";
    AcceptLanguage "Accept-Language";
    Alert "Alert-Info";
    Allow "Allow";
    AllowEvents "Allow-Events" b'u';
    AuthenticationInfo "Authentication-Info";
    Authorization "Authorization";
    CallId "Call-ID" b'i';
    CallInfo "Call-Info";
    Contact "Contact" b'm';
    ContentDisposition "Content-Disposition";
    ContentEncoding "Content-Encoding" b'e';
    ContentLanguage "Content-Language";
    ContentLength "Content-Length" b'l';
    ContentType "Content-Type" b'c';
    ContributionId "Contribution-ID";
    ConversationId "Conversation-ID";
    CSeq "CSeq";
    Date "Date";
    ErrorInfo "Error-Info";
    Event "Event" b'o';
    Expires "Expires";
    FeatureCaps "Feature-Caps";
    FlowTimer "Flow-Timer";
    From "From" b'f';
    Geolocation "Geolocation";
    HistoryInfo "History-Info";
    Identity "Identity" b'y';
    InReplyTo "In-Reply-To";
    Join "Join";
    MaxBreadth "Max-Breadth";
    MaxForwards "Max-Forwards";
    MimeVersion "MIME-Version";
    MinExpires "Min-Expires";
    MinSe "Min-SE";
    Organization "Organization";
    PAccessNetworkInfo "P-Access-Network-Info";
    PAssertedIdentity "P-Asserted-Identity";
    PAssertedService "P-Asserted-Service";
    PAssociatedUri "P-Associated-URI";
    PCalledPartyId "P-Called-Party-ID";
    PChargingVector "P-Charging-Vector";
    PChargingFunctionAddresses "P-Charging-Function-Addresses";
    PPreferredIdentity "P-Preferred-Identity";
    PPreferredService "P-Preferred-Service";
    PServedUser "P-Served-User";
    PVisitedNetworkId "P-Visited-Network-ID";
    Path "Path";
    Priority "Priority";
    Privacy "Privacy";
    ProxyAuthenticate "Proxy-Authenticate";
    ProxyAuthorization "Proxy-Authorization";
    ProxyRequire "Proxy-Require";
    RAck "RAck";
    Reason "Reason";
    RecordRoute "Record-Route";
    ReferTo "Refer-To" b'r';
    ReferredBy "Referred-By" b'b';
    RejectContact "Reject-Contact" b'j';
    Replaces "Replaces";
    RequestDisposition "Request-Disposition" b'd';
    Require "Require";
    ResourcePriority "Resource-Priority";
    RetryAfter "Retry-After";
    Route "Route";
    RSeq "RSeq";
    SecurityClient "Security-Client";
    SecurityServer "Security-Server";
    SecurityVerify "Security-Verify";
    Server "Server";
    ServiceRoute "Service-Route";
    SessionExpires "Session-Expires" b'x';
    SipEtag "SIP-ETag";
    SipIfMatch "SIP-If-Match";
    Subject "Subject" b's';
    SubscriptionState "Subscription-State";
    Supported "Supported" b'k';
    SuppressIfMatch "Suppress-If-Match";
    Timestamp "Timestamp";
    To "To" b't';
    Unsupported "Unsupported";
    UserAgent "User-Agent";
    Via "Via" b'v';
    Warning "Warning";
    WwwAuthenticate "WWW-Authenticate";
}

const SLOTS: usize = 512;

/// The factors, found by trying, give each name a slot of its own.
const fn slot(name: &[u8]) -> usize {
    let [first, .., last] = name else { return 0 };
    let (first, middle, last) = (*first | 0x20, name[name.len() / 2] | 0x20, *last | 0x20);
    (name.len() * 197 + first as usize * 280 + middle as usize * 367 + last as usize * 356) % SLOTS
}

/// Open-addressed table from (length, first, last byte) to 1 + an index of `NAMES`.
const TABLE: [u8; SLOTS] = {
    let mut table = [0; SLOTS];
    let mut i = 0;
    while i < NAMES.len() {
        let name = NAMES[i].1.as_bytes();
        let mut at = slot(name);
        while table[at] != 0 {
            at = (at + 1) % SLOTS;
        }
        table[at] = i as u8 + 1;
        i += 1;
    }
    table
};

/// `a == b` for short texts, without a call: by their first and their last bytes, which may be the same.
#[inline]
fn equal(a: &[u8], b: &[u8]) -> bool {
    fn ends<const N: usize>(a: &[u8], b: &[u8]) -> bool {
        a.first_chunk::<N>() == b.first_chunk::<N>() && a.last_chunk::<N>() == b.last_chunk::<N>()
    }
    a.len() == b.len()
        && match a.len() {
            8..=16 => ends::<8>(a, b),
            4..8 => ends::<4>(a, b),
            2..4 => ends::<2>(a, b),
            _ => a == b,
        }
}

impl HeaderName {
    /// Reads a full or compact name, in any case.
    #[inline]
    pub fn of(token: &[u8]) -> HeaderName {
        // Nearly all are spelt as the documents do.
        if let [_, _, ..] = token
            && let Some((name, text)) = NAMES.get((TABLE[slot(token)] as usize).wrapping_sub(1))
            && equal(text.as_bytes(), token)
        {
            return *name;
        }
        HeaderName::of_any_case(token)
    }

    fn of_any_case(token: &[u8]) -> HeaderName {
        match token {
            [] => HeaderName::Other,
            [letter] => match letter.to_ascii_lowercase() {
                letter @ b'a'..=b'z' => COMPACT[(letter - b'a') as usize],
                _ => HeaderName::Other,
            },
            [_, _, ..] => {
                let mut at = slot(token);
                while TABLE[at] != 0 {
                    let (name, text) = NAMES[TABLE[at] as usize - 1];
                    if text.as_bytes().eq_ignore_ascii_case(token) {
                        return name;
                    }
                    at = (at + 1) % SLOTS;
                }
                HeaderName::Other
            }
        }
    }

    /// The full name as the documents spell it; empty for `Other`.
    pub fn as_str(self) -> &'static str {
        NAMES.get(self as usize).map_or("", |(_, text)| text)
    }
}

impl fmt::Display for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_names_in_every_spelling() {
        for (name, text) in NAMES {
            assert_eq!(HeaderName::of(text.as_bytes()), *name);
            assert_eq!(HeaderName::of(text.to_uppercase().as_bytes()), *name);
            assert_eq!(name.as_str(), *text);
        }
        for (compact, name) in [(b"v", HeaderName::Via), (b"I", HeaderName::CallId), (b"l", HeaderName::ContentLength)]
        {
            assert_eq!(HeaderName::of(compact), name);
        }
        for unknown in ["", "z", "X-Vendor", "Vias", "Froms"] {
            assert_eq!(HeaderName::of(unknown.as_bytes()), HeaderName::Other, "{unknown}");
        }
    }

    #[test]
    fn methods_are_case_sensitive() {
        for (method, name) in Method::KNOWN {
            assert_eq!(Method::of(name.as_bytes()), method);
            assert_eq!(Method::of(name.to_lowercase().as_bytes()), Method::Other);
        }
    }
}
