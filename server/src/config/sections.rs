//! Every key of the configuration: its meaning, type, default and bounds.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::network::{
    Domain, Host, HttpScheme, Listen, ManagementScheme, MediaScheme, MsrpScheme, Network, SipScheme, TurnScheme,
};
use super::schema::{choice, section};
use super::setting::{Example, Secret, Size, Table, Tables};

const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

const fn minutes(count: u64) -> Duration {
    seconds(count * 60)
}

const fn hours(count: u64) -> Duration {
    minutes(count * 60)
}

const fn days(count: u64) -> Duration {
    hours(count * 24)
}

section! {
    /// The whole configuration.
    pub struct Config {
        /// Domains that are served: users are USER@DOMAIN, and the realm of a user is the domain.
        pub domains: Vec<Domain> = vec![Domain::localhost()];
        /// Directory for all that is kept: the embedded store, keys, the certificate that is made when none is given.
        pub data_dir: PathBuf = PathBuf::from("chappe-data");
        pub sip: Table<Sip> = Table::default();
        pub message: Table<Message> = Table::default();
        pub chat: Table<Chat> = Table::default();
        pub presence: Table<Presence> = Table::default();
        pub capability: Table<Capability> = Table::default();
        pub group: Table<Group> = Table::default();
        pub http: Table<Http> = Table::default();
        pub provisioning: Table<Provisioning> = Table::default();
        pub push: Table<Push> = Table::default();
        pub xcap: Table<Xcap> = Table::default();
        pub files: Table<Files> = Table::default();
        pub msrp: Table<Msrp> = Table::default();
        pub media: Table<Media> = Table::default();
        pub tls: Table<Tls> = Table::default();
        pub store: Table<Store> = Table::default();
        pub limits: Table<Limits> = Table::default();
        pub management: Table<Management> = Table::default();
        pub log: Table<Log> = Table::default();
    }
}

section! {
    /// SIP: registrar and proxy.
    pub struct Sip {
        /// Where to listen: "udp://", "tcp://" or "tls://" with address and port. Port 0 lets the system choose.
        /// IPv6 needs an entry of its own: "udp://[::]:5060".
        pub listen: Vec<Listen<SipScheme>> =
            vec![Listen::any(SipScheme::Udp, 5060), Listen::any(SipScheme::Tcp, 5060), Listen::any(SipScheme::Tls, 5061)];
        /// Host that Via, Record-Route and Path name. By default the address of the listener, or for one on 0.0.0.0 or
        /// [::] the local address of the flow.
        pub advertised: Option<Host> = None => Example(r#""sip.example.com""#);
        /// Networks that requests may be sent to; what lies outside is refused with 403. By default any.
        pub next_hops: Option<Vec<Network>> = None => Example(r#"["127.0.0.0/8", "::1"]"#);
        /// Peers of the trust domain: they are not challenged, and the identity headers they send are believed.
        pub trusted: Vec<Network> = Vec::new();
        /// Load balancers whose connections begin with a PROXY protocol v2 header.
        pub proxy_protocol: Vec<Network> = Vec::new();
        /// Whether to stay on the path of dialogs (Record-Route).
        pub record_route: bool = true;
        /// Threads that read each UDP socket. With more than one, datagrams of the same peer may overtake each other.
        pub udp_workers: u16 = 1 => 1..=256;
        pub authentication: Table<Authentication> = Table::default();
        pub registration: Table<Registration> = Table::default();
        pub timers: Table<Timers> = Table::default();
        pub limits: Table<SipLimits> = Table::default();
    }
}

choice! {
    /// Which requests are challenged.
    pub enum Require {
        Register = "register",
        Local = "local",
        All = "all",
    }
}

choice! {
    /// Digest algorithms (RFC 8760).
    pub enum Algorithm {
        Sha512_256 = "SHA-512-256",
        Sha256 = "SHA-256",
        Md5 = "MD5",
    }
}

section! {
    /// Digest authentication of SIP requests.
    pub struct Authentication {
        /// "register": only REGISTER is challenged. "local": also every request from a user of our domains, unless it comes
        /// over a connection that has authenticated as that user. The source of a datagram proves nothing.
        /// "all": every request but ACK and CANCEL. Peers in `sip.trusted` are never challenged.
        pub require: Require = Require::Local;
        /// Algorithms that are offered, the preferred one first: "SHA-512-256", "SHA-256", "MD5".
        pub algorithms: Vec<Algorithm> = vec![Algorithm::Sha256, Algorithm::Sha512_256, Algorithm::Md5];
        /// How long a nonce is taken before the client is told that it is stale.
        pub nonce_lifetime: Duration = minutes(5) => seconds(5)..=days(1);
        /// How long a bearer token is good before it has to be renewed.
        pub token_lifetime: Duration = hours(1) => minutes(1)..=days(1);
        /// How long a client stays signed in by tokens that does not renew them.
        pub sign_in_lifetime: Duration = days(90) => hours(1)..=days(3650);
        /// Where SIP clients are told to get tokens (RFC 8898): an https URI, such as that of this server with /oneapi/auth/v1. Without it
        /// they are not asked for a token; one that they send is taken.
        pub authorization_server: Option<String> = None => Example(r#""https://example.com/oneapi/auth/v1""#);
    }
}

section! {
    /// Registrations.
    pub struct Registration {
        /// Lifetime where the client asks for none.
        pub default_expires: Duration = hours(1) => seconds(1)..=days(365);
        /// Shortest lifetime; less is refused with 423.
        pub min_expires: Duration = minutes(1) => seconds(1)..=days(365);
        /// Longest lifetime; more is cut down to it.
        pub max_expires: Duration = days(1) => seconds(1)..=days(365);
        /// Bindings that one address-of-record may have.
        pub max_bindings: u32 = 16 => 1..=1000;
    }
}

section! {
    /// Transaction timers (RFC 3261 section 17 and table 4).
    pub struct Timers {
        /// T1, the round-trip time estimate.
        pub t1: Duration = millis(500) => millis(10)..=seconds(10);
        /// T2, the longest gap between retransmissions of a non-INVITE request.
        pub t2: Duration = seconds(4) => millis(10)..=minutes(1);
        /// T4, the longest time a message stays in the network.
        pub t4: Duration = seconds(5) => millis(10)..=minutes(1);
        /// Timer C, how long an INVITE may ring: more than 3 minutes by the RFC.
        pub timer_c: Duration = seconds(185) => seconds(1)..=hours(1);
        /// How long a call of the server itself lasts without a sign of life (RFC 4028).
        pub session_expires: Duration = minutes(30) => seconds(90)..=days(1);
    }
}

section! {
    /// Bounds of a SIP message and of a connection.
    pub struct SipLimits {
        /// Longest message, headers and body; more is refused with 513.
        pub max_message_size: Size = Size::kib(192) => Size(1300)..=Size::mib(64);
        /// Longest header block, from the start line to the empty line.
        pub max_header_size: Size = Size::kib(32) => Size(1000)..=Size::mib(1);
        /// Header fields in a message.
        pub max_headers: u32 = 256 => 16..=4096;
        /// Targets that one request is forked to, over all proxies on its way (Max-Breadth, RFC 5393).
        pub max_breadth: u32 = 60 => 1..=1000;
        /// Transactions at a time; more are refused with 503.
        pub max_transactions: u32 = 200_000 => 100..=100_000_000;
        /// Calls of the server itself at a time; more are refused with 503.
        pub max_calls: u32 = 100_000 => 1..=10_000_000;
        /// The same with one peer.
        pub max_calls_per_peer: u32 = 200 => 1..=1_000_000;
        /// Time a connection may be silent. A client that keeps its flow alive (RFC 5626) is never silent for that long.
        pub idle_timeout: Duration = minutes(15) => seconds(10)..=days(1);
        /// Time in which a message that has begun to arrive has to be complete.
        pub read_timeout: Duration = seconds(30) => seconds(1)..=minutes(10);
        /// Bytes waiting to be written to one connection; a peer that reads too slowly is cut off there.
        pub write_queue: Size = Size::kib(256) => Size::kib(64)..=Size::mib(64);
    }
}

section! {
    /// Messages: store-and-forward.
    pub struct Message {
        /// How long a message waits for its recipient where the sender set no Expires.
        pub default_expires: Duration = days(7) => seconds(1)..=days(365);
        /// The longest that a sender may ask for; more is cut down to it.
        pub max_expires: Duration = days(30) => seconds(1)..=days(365);
        /// Messages that wait for one user; more are refused with 480.
        pub queue_per_user: u32 = 10_000 => 1..=10_000_000;
        /// Longest body, in a chat session with its envelope; more is refused with 513 or 413.
        pub max_size: Size = Size::kib(128) => Size(200)..=Size::mib(16);
        /// Content types that are taken, `*` standing for anything; others are refused with 415. Empty: any.
        pub accept: Vec<String> = [
            "text/*", "message/*", "multipart/*", "image/*", "application/*+xml", "application/*+json", "application/vnd.*",
            "application/cipher.vnd.*", "application/json", "application/xml", "application/octet-stream", "application/sdp",
        ]
        .map(String::from)
        .to_vec();
        /// Waiting messages sent to one device in a second when it comes back.
        pub drain_rate: u32 = 100 => 1..=100_000;
        /// How long `chappe explain` knows what became of a message. No bodies are kept for that.
        pub explain: Duration = days(7) => seconds(0)..=days(365);
    }
}

section! {
    /// Chat sessions over MSRP between our users: OMA SIMPLE IM and CPM, as RCS clients use them.
    pub struct Chat {
        /// Whether the server is the far end of each session: it stores what the other side is not there for, and
        /// translates between sessions and MESSAGE. Without it invitations are passed on as they are.
        pub sessions: bool = true;
        /// How long a device may ring before its invitation is withdrawn and the message waits.
        pub ring_timeout: Duration = minutes(1) => seconds(1)..=minutes(10);
        /// A session without messages is ended after so long.
        pub idle_timeout: Duration = minutes(5) => seconds(10)..=days(1);
        /// Messages that one session may have under way to a device.
        pub window: u32 = 8 => 1..=1000;
        /// A device that has signed off, or whose registration has run out, still gets what its user is sent, and sends from
        /// other devices, within this time. 0 for none. The eight devices of a user that were there last count.
        pub device_retention: Duration = days(7) => seconds(0)..=days(365);
        /// How long what two users wrote to each other is kept for them to read under `/oneapi/history/v1`. 0 for not at all. With
        /// it each message between our users is on disk before it is answered, also a MESSAGE that a device takes at once.
        pub history: Duration = seconds(0) => seconds(0)..=days(3650);
    }
}

choice! {
    /// What becomes of a watcher that no rule of the presentity is for.
    pub enum Unruled {
        Allow = "allow",
        Confirm = "confirm",
        Block = "block",
    }
}

section! {
    /// Presence: who is there, for those who may know. Nothing of it is on disk.
    pub struct Presence {
        /// What becomes of a watcher that no rule of the presentity is for: "allow" shows all to every user of this server,
        /// "confirm" lets it wait until the presentity decides, "block" refuses it. Where the presentity has written rules,
        /// "allow" is taken for "confirm". By default "confirm", in a testbed "allow".
        pub default: Option<Unruled> = None => Example(r#""confirm""#);
        /// Shortest lifetime of a publication; less is refused with 423.
        pub min_expires: Duration = minutes(1) => seconds(1)..=days(1);
        /// Longest lifetime of a publication; more is cut down to it.
        pub max_expires: Duration = hours(1) => seconds(1)..=days(30);
        /// Longest document; more is refused with 413.
        pub max_size: Size = Size::kib(32) => Size(500)..=Size::mib(1);
        /// Publications of one user; the oldest gives way.
        pub publications_per_user: u32 = 16 => 1..=1000;
        /// Publications of all users.
        pub max_publications: u32 = 1_000_000 => 1..=100_000_000;
        /// Subscriptions to one user; more are refused with 503.
        pub watchers_per_user: u32 = 1000 => 1..=1_000_000;
        /// Subscriptions of all packages; more are refused with 503.
        pub max_subscriptions: u32 = 1_000_000 => 1..=100_000_000;
        /// Entries of a list that is subscribed to; a longer list in a request is refused with 400.
        pub list_entries: u32 = 1000 => 1..=100_000;
        /// Whether what a device published is taken back at once when its connection ends or its registration does.
        pub withdraw_dead: bool = true;
    }
}

section! {
    /// What the devices of users can do, for RCS clients that ask with OPTIONS.
    pub struct Capability {
        /// Whether such a question is answered for all devices in one. Without it, it is passed on like any OPTIONS.
        pub enabled: bool = true;
        /// A device that has answered is not asked again for so long, whoever wants to know.
        pub fresh: Duration = minutes(1) => seconds(0)..=days(1);
        /// How long devices have to answer.
        pub answer_within: Duration = seconds(3) => millis(100)..=seconds(20);
        /// Questions of one user in a second that may reach devices; the rest is answered from what is known. 0: any.
        pub rate: u32 = 10 => 0..=1_000_000;
        /// How many more at once.
        pub burst: u32 = 100 => 0..=1_000_000;
        /// Users whose devices' answers are remembered.
        pub max_users: u32 = 200_000 => 100..=100_000_000;
    }
}

section! {
    /// Group chat: the factory and the focuses of groups. They need the sessions of `[chat]`.
    pub struct Group {
        /// Whether groups are made and held here.
        pub enabled: bool = true;
        /// User part of the address, in each domain, to which a client sends its INVITE with a list to make a group.
        pub factory: String = "conference-factory".to_owned();
        /// Members of one group; more are refused with 403.
        pub max_members: u32 = 100 => 2..=100_000;
        /// Groups that one user may be in when making another; more are refused with 486.
        pub max_per_user: u32 = 1000 => 1..=1_000_000;
        /// Whether only administrators of a group may add members.
        pub admins_only: bool = false;
        /// How long the messages of a group are kept for members who are away.
        pub retention: Duration = days(30) => minutes(1)..=days(3650);
        /// Whether messages are kept so long although every device of every member has them. Without it they go when the
        /// slowest device has them.
        pub keep_delivered: bool = true;
    }
}

section! {
    /// HTTP: the WebSocket entry and all that browsers and devices fetch.
    pub struct Http {
        /// Where to listen: "http://" or "https://".
        pub listen: Vec<Listen<HttpScheme>> =
            vec![Listen::any(HttpScheme::Http, 8080), Listen::any(HttpScheme::Https, 8443)];
        /// Web pages that may open a WebSocket, by their Origin: "https://chat.example.com". Empty: any.
        pub origins: Vec<String> = Vec::new();
        /// Load balancers whose connections begin with a PROXY protocol v2 header.
        pub proxy_protocol: Vec<Network> = Vec::new();
        /// Longest head of a request; more is refused with 431.
        pub max_head: Size = Size::kib(16) => Size::kib(8)..=Size::kib(256);
        /// Time for the head of a request, and for a kept connection to begin the next.
        pub head_timeout: Duration = seconds(15) => seconds(1)..=minutes(10);
    }
}

section! {
    /// Push (RFC 8599): phones that sleep are woken when a call or a message waits for them. On with the first service that is
    /// configured.
    pub struct Push {
        /// How long a call waits for sleeping devices.
        pub wait: Duration = seconds(20) => seconds(1)..=minutes(2);
        /// A URL that gets a POST with {"provider", "param", "prid", "class", "ttl", "collapse"} for each push.
        pub webhook: Option<String> = None => Example(r#""http://127.0.0.1:8091/push""#);
        /// With which the body is signed: X-Chappe-Signature: sha256=BASE64 (HMAC-SHA-256).
        pub webhook_secret: Option<Secret> = None => Example(r#""…""#);
        /// Values of pn-provider that go to the web-hook.
        pub webhook_for: Vec<String> = vec!["webhook".to_owned()];
        /// Turns Web Push on: where push services find who is behind it (mailto: or https:). The key is made in the data
        /// directory.
        pub webpush_subject: Option<String> = None => Example(r#""mailto:ops@example.com""#);
        /// Origins of push services that are in the own network, or speak plain HTTP.
        pub webpush_trusted: Vec<String> = Vec::new();
        /// Firebase Cloud Messaging: the file of a service account.
        pub fcm_account: Option<PathBuf> = None => Example(r#""/etc/chappe/fcm.json""#);
        /// Stands for its address.
        pub fcm_url: Option<String> = None => Example(r#""https://fcm.googleapis.com""#);
        /// Apple Push Notification service: the team, and its key in PEM with the ID of it.
        pub apns_team: Option<String> = None => Example(r#""TEAM12345A""#);
        pub apns_key: Option<PathBuf> = None => Example(r#""/etc/chappe/AuthKey.p8""#);
        pub apns_key_id: Option<String> = None => Example(r#""ABC123DEFG""#);
        /// In the place of a key: the certificate of the application and its private key, in one file in PEM.
        pub apns_certificate: Option<PathBuf> = None => Example(r#""/etc/chappe/apns.pem""#);
        /// Whether tokens are of builds for development.
        pub apns_sandbox: bool = false;
        /// Stands for its address.
        pub apns_url: Option<String> = None => Example(r#""https://api.push.apple.com""#);
        /// Windows Push Notification Services: the package SID, or the ID of an application in Entra, and its secret.
        pub wns_client_id: Option<String> = None => Example(r#""ms-app://s-1-15-2-2704595244""#);
        pub wns_secret: Option<Secret> = None => Example(r#""…""#);
        /// Tenant of an application in Entra.
        pub wns_tenant: Option<String> = None => Example(r#""00000000-0000-0000-0000-000000000000""#);
        /// Stands for the address at which tokens are given.
        pub wns_token_url: Option<String> = None => Example(r#""https://login.live.com/accesstoken.srf""#);
        /// Origins that channels may lead to besides those of the service.
        pub wns_trusted: Vec<String> = Vec::new();
        /// Certificates in PEM that services may have besides those that the system trusts.
        pub ca: Option<PathBuf> = None => Example(r#""/etc/chappe/push-ca.pem""#);
    }
}

section! {
    /// XCAP: XML documents of users (address lists, rules of presence, settings) under /xcap-root.
    pub struct Xcap {
        /// The URI under which devices find the documents, as other documents name them. By default /xcap-root on the
        /// first HTTP listener, under the name of the first domain.
        pub root: Option<String> = None => Example(r#""https://xcap.example.com/xcap-root""#);
        /// Longest document; more is refused with 413.
        pub max_document: Size = Size::kib(512) => Size::kib(4)..=Size::mib(16);
        /// Elements inside each other.
        pub max_depth: u32 = 32 => 4..=200;
        /// Documents of one user; one more is refused with 409.
        pub documents_per_user: u32 = 100 => 1..=100_000;
        /// All documents of one user together; more is refused with 409.
        pub bytes_per_user: Size = Size::mib(4) => Size::kib(4)..=Size::mib(1024);
        /// Earlier versions that are kept of each document.
        pub versions: u32 = 10 => 0..=1000;
        /// Whether the lists of RCS (buddies, blocked and revoked contacts) are there before a device has written them.
        pub rcs_lists: bool = true;
        /// Memory for documents used lately.
        pub cache: Size = Size::mib(32) => Size::kib(64)..=Size::mib(65_536);
    }
}

section! {
    /// Files that users upload and send each other links to: the content server of RCS, under `/ft`.
    pub struct Files {
        /// Whether there is a content server.
        pub serve: bool = true;
        /// Directory for files; by default `files` in `data_dir`.
        pub dir: Option<PathBuf> = None => Example(r#""/var/lib/chappe/files""#);
        /// What links begin with, where that is not what the upload was sent to: behind a proxy that ends TLS, say.
        pub url: Option<String> = None => Example(r#""https://ft.example.com""#);
        /// Largest file; more is refused with 413.
        pub max_size: Size = Size::mib(100) => Size(1)..=Size::mib(16 << 20);
        /// Largest thumbnail; more is refused with 413.
        pub max_thumbnail: Size = Size::kib(100) => Size(1)..=Size::mib(16);
        /// Longest side, in pixels, of thumbnails that are made of pictures (JPEG, PNG, GIF, WebP) that come without. 0: none.
        pub thumbnails: u32 = 320 => 0..=2048;
        /// What the files of one user may take together; more is refused with 403.
        pub quota: Size = Size::mib(1024) => Size(1)..=Size::mib(1 << 30);
        /// Content types that are taken: "image/jpeg", "image/*"; others are refused with 415. Empty: any.
        pub accept: Vec<String> = Vec::new();
        /// Content types that are refused with 415 even so.
        pub refuse: Vec<String> = [
            "application/x-msdownload", "application/x-msdos-program", "application/x-ms-installer", "application/x-msi",
            "application/vnd.microsoft.portable-executable", "application/x-sh", "application/hta",
        ]
        .map(String::from)
        .to_vec();
        /// How long a file is kept; the link says so.
        pub validity: Duration = days(30) => seconds(1)..=days(3650);
        /// How long an upload that was cut can be gone on with.
        pub resume: Duration = days(1) => seconds(1)..=days(30);
        /// Uploads under way or cut at a time; more are refused with 503.
        pub uploads: u32 = 1000 => 1..=1_000_000;
        /// The same of one user; one that was cut makes room.
        pub uploads_per_user: u32 = 10 => 1..=1000;
        /// Longest wait for more of an upload, which then is cut.
        pub idle_timeout: Duration = seconds(30) => seconds(1)..=minutes(10);
        /// An upload that brings less than this in a second, over 20 seconds of waiting, is cut. 0: any.
        pub min_rate: Size = Size(256);
        pub scan: Table<FileScan> = Table::default();
        pub s3: Table<FileStore> = Table::default();
    }
}

section! {
    /// Content of files in a bucket of an object store that speaks S3, in place of the disk; what is being uploaded is still
    /// in `files.dir`.
    pub struct FileStore {
        /// The bucket, which has to be there. Empty: content is kept on disk.
        pub bucket: String = String::new() => Example(r#""chappe-files""#);
        /// What names of objects begin with.
        pub prefix: String = String::new() => Example(r#""ft""#);
        /// Address of the store; without it AWS.
        pub endpoint: Option<String> = None => Example(r#""https://s3.example.com""#);
        pub region: String = "us-east-1".to_owned();
        pub access_key: String = String::new() => Example(r#""AKIA…""#);
        pub secret_key: Option<Secret> = None => Example(r#""…""#);
        /// Whether the bucket is part of the host name, as AWS wants it, and not of the path, as most others do.
        pub bucket_in_host: bool = false;
    }
}

choice! {
    /// What becomes of a file that could not be checked.
    pub enum Unchecked {
        Refuse = "refuse",
        Accept = "accept",
    }
}

section! {
    /// A look at each file that is uploaded, by a program of the operator's.
    pub struct FileScan {
        /// The program and its arguments; the path of the file is put behind them. It ends with 0 for a harmless file and
        /// with 1 for a harmful one, which is refused with 403, as `clamdscan` does. Empty: no look.
        pub command: Vec<String> = Vec::new() => Example(r#"["clamdscan", "--no-summary", "--fdpass"]"#);
        /// How long it may take.
        pub timeout: Duration = minutes(1) => millis(10)..=hours(1);
        /// What becomes of a file where it ends otherwise, takes too long or cannot be run. "refuse": the upload is answered
        /// with 503 and can be gone on with. "accept": the file is taken.
        pub unchecked: Unchecked = Unchecked::Refuse;
    }
}

choice! {
    /// Over what handsets are told to speak SIP and MSRP.
    pub enum HandsetTransport { Tls = "tls", Tcp = "tcp", Udp = "udp" }
}

section! {
    /// RCS auto-configuration (GSMA RCC.14): handsets that know only their number are told the rest, under `/config`.
    pub struct Provisioning {
        /// Whether handsets are answered.
        pub serve: bool = true;
        /// Version of what they are told; raise it after a change that they shall learn of before `validity` is over.
        pub version: u32 = 1 => 1..=1_000_000_000;
        /// After which they ask again.
        pub validity: Duration = days(7) => minutes(1)..=days(365);
        /// For which they need no new one-time password.
        pub token_validity: Duration = days(30) => minutes(1)..=days(365);
        /// How one-time passwords are sent: "log" writes them into the log, for trials; a URL gets a POST with
        /// {"to": NUMBER, "port": PORT, "text": CODE}. By default they are not, except in the testbed.
        pub sms: Option<String> = None => Example(r#""http://127.0.0.1:8090/sms""#);
        /// Users that are told something else than a configuration: "USER=ORDER", by AOR or number. reset: deleted, it may ask
        /// again; never: deleted, it does not ask again by itself; off: kept, until the user turns it on; dormant: kept, it
        /// asks again after `validity`.
        pub orders: Vec<String> = Vec::new() => Example(r#"["bob@example.com=reset"]"#);
        /// Whether an order may be for everybody ("*=ORDER"). Without it such a configuration is refused: clients that were told
        /// never to ask again cannot be called back.
        pub order_everybody: bool = false;
        /// Requests a second from one address, gateways apart, and so many more at once; others are answered 429. 0: any number.
        pub peer_rate: u32 = 50;
        pub peer_burst: u32 = 200;
        /// Gateways of the access network that say whose request they pass on.
        pub gateways: Vec<Network> = Vec::new();
        /// Headers in which they say the number; the first that is there counts.
        pub number_headers: Vec<String> = vec!["X-MSISDN".to_owned(), "X-Up-Calling-Line-Id".to_owned()];
        /// First SIP hop: a host, with a port where it is not the usual one. By default `sip.advertised`, else the domain,
        /// with the port of the listener.
        pub proxy: Option<String> = None => Example(r#""sip.example.com""#);
        /// Over what they speak SIP and MSRP.
        pub transport: HandsetTransport = HandsetTransport::Tls;
        /// What URLs of files and lists begin with; by default the host that was asked.
        pub url: Option<String> = None => Example(r#""https://rcs.example.com""#);
        /// Shown to the user with a new configuration: terms and conditions, say. Without a text nothing is.
        pub message_title: String = String::new();
        pub message_text: String = String::new();
        /// Buttons of the message; without any it is only to be read.
        pub message_accept: bool = false;
        pub message_reject: bool = false;
    }
}

choice! {
    /// How a URI of a session has to be written to be known again.
    pub enum Matching {
        /// By RFC 4975 §6.1.
        Strict = "strict",
        /// Host and port may differ.
        Cema = "cema",
        /// Only the session-id counts.
        Session = "session",
    }
}

choice! {
    /// A deviation from the grammar of MSRP.
    pub enum Deviation {
        PathsAnywhere = "paths_anywhere",
        ContentTypeAnywhere = "content_type_anywhere",
        ContentTypeWithoutBody = "content_type_without_body",
        BlankLineWithoutContentType = "blank_line_without_content_type",
        BlankLinesBetweenFrames = "blank_lines_between_frames",
        NoSpaceAfterColon = "no_space_after_colon",
        AnyTransactionId = "any_transaction_id",
        AnyMessageId = "any_message_id",
        KeepAliveWithoutMessageId = "keep_alive_without_message_id",
        UriWithoutTransport = "uri_without_transport",
        RangeFromZero = "range_from_zero",
        RangeWithoutTotal = "range_without_total",
        StatusWithoutNamespace = "status_without_namespace",
    }
}

section! {
    /// MSRP relay and end point.
    pub struct Msrp {
        /// Where to listen: "tcp://" or "tls://". Port 0 lets the system choose. IPv6 needs an entry of its own.
        pub listen: Vec<Listen<MsrpScheme>> =
            vec![Listen::any(MsrpScheme::Tcp, 2855), Listen::any(MsrpScheme::Tls, 2856)];
        /// Host of the URIs that are handed out. By default the address by which the client has reached the server.
        pub advertised: Option<Host> = None => Example(r#""msrp.example.com""#);
        /// Networks that next hops may be in; others are not connected to. By default any.
        pub next_hops: Option<Vec<Network>> = None => Example(r#"["127.0.0.0/8", "::1"]"#);
        /// Load balancers whose connections begin with a PROXY protocol v2 header.
        pub proxy_protocol: Vec<Network> = Vec::new();
        /// Whether AUTH is refused on connections without TLS, as RFC 4976 wants it.
        pub require_tls: bool = false;
        /// Digest algorithms that are offered for AUTH, the preferred one first: "SHA-512-256", "SHA-256", "MD5".
        pub algorithms: Vec<Algorithm> = vec![Algorithm::Sha256, Algorithm::Md5];
        /// How the URI of a session is compared with the one that was handed out. "strict": by RFC 4975. "cema": host and
        /// port may differ, for middleboxes that put in their own. "session": only the session-id counts.
        pub matching: Matching = Matching::Strict;
        /// Known faults of deployed clients that are let pass rather than answered with 400: "paths_anywhere",
        /// "content_type_anywhere", "content_type_without_body", "blank_line_without_content_type",
        /// "blank_lines_between_frames", "no_space_after_colon", "any_transaction_id", "any_message_id",
        /// "keep_alive_without_message_id", "uri_without_transport", "range_from_zero", "range_without_total",
        /// "status_without_namespace".
        pub lenient: Vec<Deviation> =
            vec![Deviation::BlankLinesBetweenFrames, Deviation::AnyMessageId, Deviation::KeepAliveWithoutMessageId];
        /// Whether requests with methods that are not known are refused rather than passed on.
        pub block_unknown_methods: bool = false;
        pub session: Table<MsrpSession> = Table::default();
        pub endpoint: Table<MsrpEndpoint> = Table::default();
        pub limits: Table<MsrpLimits> = Table::default();
    }
}

section! {
    /// Sessions of the MSRP relay: the URIs that AUTH hands out.
    pub struct MsrpSession {
        /// Lifetime where the client asks for none.
        pub default_expires: Duration = minutes(15) => seconds(1)..=days(30);
        /// Shortest lifetime; less is refused with 423.
        pub min_expires: Duration = minutes(1) => seconds(1)..=days(30);
        /// Longest lifetime; more is refused with 423.
        pub max_expires: Duration = days(1) => seconds(1)..=days(30);
        /// Sessions that one user may have.
        pub per_user: u32 = 100 => 1..=1_000_000;
        /// Sessions of all users.
        pub max: u32 = 1_000_000 => 1..=100_000_000;
        /// Message bytes that a session may transfer in a second, both ways together; 0: any.
        pub rate: Size = Size(0);
        /// A session that nothing was sent in for so long is ended. "0s": never.
        pub idle: Duration = seconds(0) => seconds(0)..=days(30);
    }
}

section! {
    /// MSRP sessions that end at the server.
    pub struct MsrpEndpoint {
        /// Sessions at a time.
        pub max: u32 = 1_000_000 => 1..=100_000_000;
        /// Bytes of messages that have not come whole, or that are being stored, in all sessions together; more is
        /// refused with 413.
        pub memory: Size = Size::mib(1024) => Size::mib(1)..=Size::mib(1 << 20);
        /// Bytes that may wait in one session for its peer, and bytes that are being stored before nothing more is read of
        /// it.
        pub queue: Size = Size::mib(16) => Size::kib(64)..=Size::mib(1024);
    }
}

section! {
    /// Bounds on what MSRP peers can make the server hold, and for how long.
    pub struct MsrpLimits {
        /// Start line and headers of one frame. Message bodies have no bound.
        pub max_header_size: Size = Size::kib(64) => Size::kib(2)..=Size::mib(1);
        /// Bytes that may wait for a slow receiver in one direction of a session; above this its sender is not read.
        pub window: Size = Size::kib(128) => Size::kib(64)..=Size::mib(16);
        /// Largest chunk sent to clients on TCP and TLS; more is cut. By default as it came.
        pub max_chunk: Option<Size> = None => Example(r#""64KiB""#);
        /// Largest chunk sent to WebSocket clients, each a message of its own.
        pub max_websocket_chunk: Size = Size::kib(60) => Size::kib(2)..=Size::kib(64);
        /// A connection that receives nothing for so long is closed.
        pub idle_timeout: Duration = hours(1) => seconds(10)..=days(7);
        /// A connection without sessions is closed after so long without a frame.
        pub unused_timeout: Duration = minutes(5) => seconds(10)..=days(7);
        /// A peer that takes nothing of what waits for it for so long is closed.
        pub stall_timeout: Duration = minutes(2) => seconds(5)..=hours(1);
    }
}

section! {
    /// Audio and video of calls between browsers and phones. Calls among browsers, and among phones, do not pass here.
    pub struct Media {
        /// Where to listen for browsers: "udp://", one port for all. Port 0 lets the system choose.
        pub listen: Listen<MediaScheme> = Listen::any(MediaScheme::Udp, 10_000);
        /// Address that descriptions name, where it is another than that of this machine. By default that of the listener,
        /// or for one on 0.0.0.0 or [::] the local address that leads to the peer.
        pub advertised: Option<IpAddr> = None => Example(r#""203.0.113.7""#);
        /// First port for phones, which have two for each stream. 0 lets the system choose all of them.
        pub first_port: u16 = 0;
        /// Last port for phones.
        pub last_port: u16 = 65_535;
        /// Calls at once; more are refused with 503.
        pub max_calls: u32 = 1000 => 1..=100_000;
        /// Whether anybody may ask the port for the address that it sees (STUN, RFC 8489). The answer is twice as long as the
        /// question, whoever it is sent to; browsers need none to reach the server.
        pub stun: bool = false;
        pub turn: Table<Turn> = Table::default();
    }
}

section! {
    /// A relay for media of browsers that reach nobody else (TURN, RFC 8656). Users get credentials for it at `/oneapi/turn/v1`.
    pub struct Turn {
        /// Where to listen: "udp://" or "tcp://" with address and port. Port 0 lets the system choose. Empty: there is no relay.
        pub listen: Vec<Listen<TurnScheme>> = vec![Listen::any(TurnScheme::Udp, 3478), Listen::any(TurnScheme::Tcp, 3478)];
        /// What clients are told instead of the listeners, as for a relay elsewhere that knows `secret`.
        pub uris: Vec<String> = Vec::new() => Example(r#"["turn:turn.example.com:3478?transport=tcp"]"#);
        /// From which credentials are made; relays that know it take them (`use-auth-secret` of others). By default one that is derived
        /// from the key of this node.
        pub secret: Option<Secret> = None => Example(r#""…""#);
        /// How long new allocations can be made with credentials.
        pub credential_lifetime: Duration = hours(1) => minutes(1)..=days(7);
        /// Allocations at once.
        pub max_allocations: u32 = 1000 => 1..=50_000;
        /// Allocations of one user at once. A browser has one or two for each call.
        pub max_per_user: u32 = 10 => 1..=1000;
        /// Bytes a second, each way, of one allocation; more is dropped.
        pub rate: Size = Size::mib(1) => Size::kib(4)..=Size::mib(1000);
        /// Networks that are not public, and may be sent to all the same: peers of a site. The addresses of the relay itself and the media
        /// port can be sent to in any case.
        pub peers: Vec<Network> = Vec::new() => Example(r#"["10.1.0.0/16"]"#);
    }
}

choice! {
    /// Whether clients show a certificate.
    pub enum ClientAuth { Off = "off", Optional = "optional", Required = "required" }
}

section! {
    /// Certificates of every listener that speaks TLS. Files are read again when they change; connections keep what they began with.
    pub struct Tls {
        /// Certificate chain in PEM, the server's own first. Without one, a self-signed one is made in `data_dir`.
        pub certificate: Option<PathBuf> = None => Example(r#""/etc/chappe/cert.pem""#);
        /// Its private key in PEM.
        pub key: Option<PathBuf> = None => Example(r#""/etc/chappe/key.pem""#);
        /// Authorities in PEM for the certificates of clients.
        pub client_ca: Option<PathBuf> = None => Example(r#""/etc/chappe/peers.pem""#);
        /// "off": no certificate is asked of clients. "optional": it is verified where the client has one. "required": a
        /// handshake without one fails, on every TLS listener. The last two need `client_ca`. MSRP listeners ask in any case,
        /// and unless one is required take what they are shown: session descriptions say which certificate it has to be.
        pub client_auth: ClientAuth = ClientAuth::Off;
        /// Authorities in PEM for servers that we connect to. By default those of the system.
        pub authorities: Vec<PathBuf> = Vec::new();
        /// Whether servers that we connect to are verified. Without it anybody on the way can read and change the traffic.
        pub verify: bool = true;
        /// Time for a handshake.
        pub handshake_timeout: Duration = seconds(10) => seconds(1)..=minutes(2);
        /// More certificates, each chosen where a client asks for one of its names (SNI).
        pub extra: Tables<Certificate> = Tables::default();
    }
}

section! {
    /// One more certificate.
    pub struct Certificate {
        /// Certificate chain in PEM.
        pub certificate: Option<PathBuf> = None => Example(r#""/etc/chappe/other.pem""#);
        /// Its private key in PEM.
        pub key: Option<PathBuf> = None => Example(r#""/etc/chappe/other-key.pem""#);
        /// Names that `chappe doctor` looks for in it. Clients choose by the names in the certificate.
        pub names: Vec<Domain> = Vec::new();
    }
}

section! {
    /// Where accounts, registrations and messages are kept.
    pub struct Store {
        /// "sqlite:" is a file in `data_dir`, "sqlite:PATH" another one, "postgres://USER@HOST/DATABASE" a server,
        /// "memory:" nothing but memory.
        pub url: String = "sqlite:".into();
        /// Password for a PostgreSQL server, rather than in the URL.
        pub password: Option<Secret> = None => Example(r#""…""#);
    }
}

section! {
    /// Protection. Peers in `sip.trusted` and on loopback have no rate and are never banned.
    pub struct Limits {
        /// Connections from one address, over all listeners.
        pub connections_per_peer: u32 = 1000 => 1..=10_000_000;
        /// Connections over all.
        pub connections: u32 = 1_000_000 => 10..=100_000_000;
        /// Requests that one address may send in a second; more get 503, or over UDP nothing. 0: any.
        pub peer_rate: u32 = 500;
        /// Requests that one address may send at once above the rate.
        pub peer_burst: u32 = 2000 => 1..=10_000_000;
        /// Requests that one user may send in a second; more get 503 with Retry-After. 0: any.
        pub user_rate: u32 = 50;
        /// Requests that one user may send at once above the rate.
        pub user_burst: u32 = 500 => 1..=10_000_000;
        /// How long a stop waits for what is under way.
        pub stop_wait: Duration = seconds(10) => seconds(0)..=minutes(10);
        pub ban: Table<Ban> = Table::default();
        pub overload: Table<Overload> = Table::default();
    }
}

section! {
    /// The ban list: an address that scans or guesses passwords is not answered for a while.
    pub struct Ban {
        /// Bad points at which an address is banned: junk counts 1, a wrong password 5, an unknown user 5, a scanner's name 50. 0: never.
        pub threshold: u32 = 100;
        /// Time in which points are forgotten.
        pub window: Duration = minutes(1) => seconds(1)..=days(1);
        /// How long a ban lasts.
        pub time: Duration = minutes(10) => seconds(1)..=days(365);
        /// Addresses that are remembered; the oldest go first.
        pub max_entries: u32 = 100_000 => 100..=10_000_000;
    }
}

section! {
    /// Overload: new work is refused with 503 and Retry-After, in-dialog and emergency requests are served on.
    pub struct Overload {
        /// Writes waiting for the store, from which on work that must be stored is refused.
        pub max_store_queue: u32 = 20_000 => 100..=10_000_000;
        /// What Retry-After asks for; each answer varies it, so that clients do not come back together.
        pub retry_after: Duration = seconds(5) => seconds(1)..=hours(1);
    }
}

section! {
    /// Management: metrics, health and the admin API. Keep it off the open network.
    pub struct Management {
        /// Where to listen: "http://".
        pub listen: Listen<ManagementScheme> = Listen::local(ManagementScheme::Http, 9090);
        /// Bearer token of the admin API, beside the one that each start makes for the command line.
        pub token: Option<Secret> = None => Example(r#""…""#);
        /// What `chappe conformance run --junit` wrote last, for the console.
        pub conformance_report: Option<PathBuf> = None => Example(r#""/var/lib/chappe/conformance.xml""#);
    }
}

choice! {
    /// How log lines look.
    pub enum LogFormat { Text = "text", Json = "json" }
}

choice! {
    /// What logs show of numbers, users and addresses.
    pub enum Redact {
        /// `al…#3f9a`: enough to follow one user through a log.
        Hash = "hash",
        /// `…`
        Hide = "hide",
        /// Everything.
        Off = "off",
    }
}

section! {
    /// Logs, on standard error. Bodies and secrets are never logged.
    pub struct Log {
        /// "text" or "json", one object a line.
        pub format: LogFormat = LogFormat::Text;
        /// "error", "warn", "info", "debug" or "trace"; also by part: "info,chappe_net=debug".
        pub level: String = "info".into();
        /// Numbers, users and addresses: "hash" keeps a mark to follow one by, "hide" nothing, "off" shows them.
        pub redact: Redact = Redact::Hash;
    }
}
