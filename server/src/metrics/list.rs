//! Every metric of the server.

use super::{By, Counter, Exposition, Gauge, Histogram, Kind, label, metrics, process};

label! {
    /// SIP methods; all that are not listed count as one.
    pub enum Method as "method" {
        Register = "REGISTER", Invite = "INVITE", Ack = "ACK", Bye = "BYE", Cancel = "CANCEL", Options = "OPTIONS",
        Message = "MESSAGE", Subscribe = "SUBSCRIBE", Notify = "NOTIFY", Publish = "PUBLISH", Info = "INFO",
        Update = "UPDATE", Prack = "PRACK", Refer = "REFER", Other = "other",
    }
}

impl Method {
    /// By its name on the wire.
    pub fn named(name: &[u8]) -> Method {
        const ALL: [Method; 14] = [
            Method::Register,
            Method::Invite,
            Method::Ack,
            Method::Bye,
            Method::Cancel,
            Method::Options,
            Method::Message,
            Method::Subscribe,
            Method::Notify,
            Method::Publish,
            Method::Info,
            Method::Update,
            Method::Prack,
            Method::Refer,
        ];
        let values = <Method as super::Label>::VALUES;
        ALL.into_iter().find(|method| values[*method as usize].as_bytes() == name).unwrap_or(Method::Other)
    }
}

label! {
    /// How a message came or went.
    pub enum Transport as "transport" { Udp = "udp", Tcp = "tcp", Tls = "tls", Ws = "ws", Wss = "wss" }
}

impl From<chappe_sip::Transport> for Transport {
    fn from(transport: chappe_sip::Transport) -> Transport {
        match transport {
            chappe_sip::Transport::Udp => Transport::Udp,
            chappe_sip::Transport::Tcp => Transport::Tcp,
            chappe_sip::Transport::Tls => Transport::Tls,
            chappe_sip::Transport::Ws => Transport::Ws,
            chappe_sip::Transport::Wss => Transport::Wss,
        }
    }
}

label! {
    /// First digit of a status.
    pub enum Class as "class" { C1 = "1xx", C2 = "2xx", C3 = "3xx", C4 = "4xx", C5 = "5xx", C6 = "6xx" }
}

impl Class {
    /// Of a status from 100 to 699; others count with the nearest.
    pub fn of(status: u16) -> Class {
        match status {
            ..200 => Class::C1,
            200..300 => Class::C2,
            300..400 => Class::C3,
            400..500 => Class::C4,
            500..600 => Class::C5,
            600.. => Class::C6,
        }
    }
}

label! {
    /// Why a request was not served.
    pub enum Shed as "reason" {
        Stopping = "stopping",
        Transactions = "transactions",
        Store = "store",
        PeerRate = "peer_rate",
        UserRate = "user_rate",
    }
}

label! {
    /// Outcome of an authentication.
    pub enum Verdict as "verdict" {
        Accepted = "accepted",
        Challenged = "challenged",
        Stale = "stale",
        /// Wrong password or unknown user: the answer does not tell which, nor does the metric.
        Refused = "refused",
        Malformed = "malformed",
    }
}

label! {
    /// What a handset that asked for its configuration was answered.
    pub enum Provisioned as "answer" {
        Configured = "configured",
        /// It had the newest one.
        Unchanged = "unchanged",
        /// An order of the operator stood in its place.
        Ordered = "ordered",
        /// The access network has said its number.
        Recognised = "recognised",
        /// A one-time password is under way, or would be if the number were known.
        Waiting = "waiting",
        Again = "again",
        Forbidden = "forbidden",
        TooMany = "too_many",
        Busy = "busy",
        Malformed = "malformed",
    }
}

metrics! {
    /// What the server counts.
    pub struct Metrics {
        /// SIP requests received.
        "chappe_sip_requests_total" requests: By<Method, By<Transport, Counter>>,
        /// SIP responses sent, by the class of their status.
        "chappe_sip_responses_sent_total" responses_sent: By<Class, Counter>,
        /// SIP responses received, by the class of their status.
        "chappe_sip_responses_received_total" responses_received: By<Class, Counter>,
        /// Time from a request to its final response, transactions that were proxied included.
        "chappe_sip_request_seconds" request_time: By<Method, Histogram>,
        /// Bytes from the wire that were no SIP message.
        "chappe_sip_malformed_total" malformed: By<Transport, Counter>,
        /// Transactions open now.
        "chappe_sip_transactions" transactions: Gauge,
        /// Authentications by their outcome.
        "chappe_authentications_total" authentications: By<Verdict, Counter>,
        /// Requests refused or dropped to protect the server.
        "chappe_shed_total" shed: By<Shed, Counter>,
        /// Addresses banned now.
        "chappe_banned_addresses" banned: Gauge,
        /// Users registered now.
        "chappe_registered_users" registered: Gauge,
        /// Bindings now.
        "chappe_bindings" bindings: Gauge,
        /// Accounts.
        "chappe_accounts" accounts: Gauge,
        /// Connections open now.
        "chappe_connections" connections: By<Transport, Gauge>,
        /// Receipts made by the server.
        "chappe_receipts_total" receipts: Counter,
        /// Time from handing a write to the store until it is on disk.
        "chappe_store_write_seconds" store_write: Histogram,
        /// Writes that failed.
        "chappe_store_errors_total" store_errors: Counter,
        /// Writes waiting for the store now.
        "chappe_store_queue" store_queue: Gauge,
        /// Answers to handsets that asked for their configuration.
        "chappe_provisioning_answers_total" provisioned: By<Provisioned, Counter>,
    }
}

impl Metrics {
    /// The whole page, with what is known of the process; `more` adds what others count.
    pub fn render(&self, more: impl FnOnce(&mut Exposition)) -> String {
        let mut out = Exposition::new();
        out.family("chappe_build_info", Kind::Gauge, "Version that runs; always 1.")
            .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
        self.write(&mut out);
        more(&mut out);
        process::write(&mut out);
        out.finish()
    }
}
