//! The document: VERS, TOKEN, MSG, and the settings of IMS and RCS in the form of a profile.

use crate::profile::Profile;
use crate::settings::{Auth, Settings};
use crate::tree::{self, Characteristic};

/// What VERS says. Wrong negative values switch clients off for good: they are operators' decisions, never a fallback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// A configuration, above 0, and for how many seconds it is good.
    Current { version: u32, validity: u32 },
    /// The client has it already: nothing but VERS, and the validity begins anew. (u)
    Unchanged { version: u32, validity: u32 },
    /// The configuration is deleted; the client may ask again.
    Reset,
    /// Deleted, and not asked for again by itself.
    Never,
    /// Switched off and kept, until the user turns it on.
    Off,
    /// Off and kept; asked for again after these seconds.
    Dormant { validity: u32 },
}

impl Version {
    fn parms(self) -> (i64, i64) {
        match self {
            Version::Current { version, validity } | Version::Unchanged { version, validity } => {
                (version.max(1).into(), validity.into())
            }
            Version::Reset => (0, 0),
            Version::Never => (-1, -1),
            Version::Off => (-2, -2),
            Version::Dormant { validity } => (-3, validity.into()),
        }
    }
}

/// With which a client asks again without a one-time password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub value: String,
    /// Seconds.
    pub validity: u32,
}

/// Shown to the user: terms and conditions, or a word of the operator.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    pub title: String,
    pub text: String,
    /// Both false: only to be read.
    pub accept: bool,
    pub reject: bool,
}

/// Whose document it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// IMPI: `user@domain`.
    pub private: String,
    /// IMPUs: `sip:` and `tel:` URIs, the first one the default.
    pub public: Vec<String>,
    /// Number, where there is one.
    pub msisdn: String,
    pub username: String,
    pub password: String,
    /// UUID of this device, for its instance-id; empty: the client takes its IMEI.
    pub uuid: String,
}

/// AppIDs, old and new.
const IMS_CLASSIC: &str = "ap2001";
const IMS: &str = "urn:oma:mo:ext-3gpp-ims:1.0";
const RCS: &str = "ap2002";

/// Writes a document. `apps`: the AppIDs that the client wants; empty: all. Only [`Version::Current`] has settings.
pub fn document(
    profile: Profile,
    version: Version,
    token: Option<&Token>,
    message: Option<&Message>,
    settings: &Settings,
    account: &Account,
    apps: &[Box<str>],
) -> String {
    let (number, validity) = version.parms();
    let mut nodes = vec![Characteristic::new("VERS").parm("version", number).parm("validity", validity)];
    if let Some(token) = token {
        nodes.push(Characteristic::new("TOKEN").parm("token", &token.value).parm("validity", token.validity));
    }
    if let Some(message) = message {
        nodes.push(of_message(message));
    }
    if matches!(version, Version::Current { .. }) {
        if !account.msisdn.is_empty() {
            nodes.push(Characteristic::new("User").parm("msisdn", &account.msisdn));
        }
        let wants = |names: &[&str]| apps.is_empty() || apps.iter().any(|app| names.contains(&&**app));
        if wants(&[IMS_CLASSIC, IMS]) {
            nodes.push(if profile.is_universal() { ims(settings, account) } else { ims_classic(settings, account) });
        }
        if wants(&[RCS]) {
            nodes.push(if profile.is_universal() {
                rcs(profile, settings, account)
            } else {
                rcs_classic(settings, account)
            });
        }
    }
    tree::write(&nodes)
}

fn of_message(message: &Message) -> Characteristic {
    let button = |there: bool| if there { "1" } else { "0" };
    Characteristic::new("MSG")
        .parm("title", &message.title)
        .parm("message", &message.text)
        .parm("Accept_btn", button(message.accept))
        .parm("Reject_btn", button(message.reject))
}

/// What a type of address is called.
fn address_type(host: &str) -> &'static str {
    let without_port =
        host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(host, |(bare, _)| bare);
    let address = |text: &str| text.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    match address(host).or_else(|_| address(without_port)) {
        Ok(std::net::IpAddr::V4(_)) => "IPv4",
        Ok(std::net::IpAddr::V6(_)) => "IPv6",
        Err(_) => "FQDN",
    }
}

fn transports(settings: &Settings) -> Characteristic {
    let (signalling, media) = (settings.signalling.signalling(), settings.media.media());
    Characteristic::new("transportProto")
        .parm("psSignalling", signalling)
        .parm("psSignallingRoaming", signalling)
        .parm("wifiSignalling", signalling)
        .parm("psMedia", media)
        .parm("psMediaRoaming", media)
        .parm("wifiMedia", media)
}

fn auth_type(auth: Auth) -> &'static str {
    match auth {
        Auth::Digest => "Digest",
        Auth::Aka => "AKA",
    }
}

/// Universal Profile: repeated values are each in a NODE.
fn ims(settings: &Settings, account: &Account) -> Characteristic {
    let node = |name: &'static str, value: &str| Characteristic::new("NODE").parm(name, value);
    let identities = account.public.iter().map(|uri| node("Public_User_Identity", uri));
    let proxy = node("Address", &settings.proxy).parm("AddressType", address_type(&settings.proxy));
    let gsma = Characteristic::new("GSMA")
        .parm("AppRef", "IMS-Setting")
        .parm("AuthType", auth_type(settings.auth))
        .parm("Realm", &settings.domain)
        .parm("UserName", &account.username)
        .parm("UserPwd", &account.password)
        .parm("rcsVolteSingleRegistration", 0)
        .parm("uuid_Value", &account.uuid)
        .child(transports(settings));
    let settings = Characteristic::new("3GPP_IMS")
        .parm("AppID", IMS_CLASSIC)
        .parm("Name", "IMS Settings")
        .parm("Home_network_domain_name", &settings.domain)
        .parm("Private_User_Identity", &account.private)
        .child(Characteristic::new("Public_User_Identity_List").children(identities))
        .child(Characteristic::new("LBO_P-CSCF_Address").child(proxy))
        .child(Characteristic::new("Ext").child(gsma));
    Characteristic::new("APPLICATION").parm("AppID", IMS).child(settings)
}

/// Before it: repeated values stand side by side.
fn ims_classic(settings: &Settings, account: &Account) -> Characteristic {
    let identities = account
        .public
        .iter()
        .fold(Characteristic::new("Public_User_Identity_List"), |list, uri| list.parm("Public_User_Identity", uri));
    let auth = Characteristic::new("APPAUTH")
        .parm("AuthType", auth_type(settings.auth))
        .parm("Realm", &settings.domain)
        .parm("UserName", &account.username)
        .parm("UserPwd", &account.password);
    Characteristic::new("APPLICATION")
        .parm("AppID", IMS_CLASSIC)
        .parm("Name", "IMS Settings")
        .parm("AppRef", "IMS-Settings")
        .parm("PDP_ContextOperPref", 0)
        .parm("Timer_T1", 500)
        .parm("Timer_T2", 4000)
        .parm("Timer_T4", 5000)
        .parm("Private_User_Identity", &account.private)
        .parm("Home_network_domain_name", &settings.domain)
        .child(identities)
        .child(
            Characteristic::new("LBO_P-CSCF_Address")
                .parm("Address", &settings.proxy)
                .parm("AddressType", address_type(&settings.proxy)),
        )
        .parm("Keep_Alive_Enabled", 1)
        .parm("RegRetryBaseTime", 30)
        .parm("RegRetryMaxTime", 1800)
        .child(auth)
}

fn flag(on: bool) -> u8 {
    on.into()
}

fn rcs(profile: Profile, settings: &Settings, account: &Account) -> Characteristic {
    let (chat, files) = (&settings.chat, &settings.files);
    let services = Characteristic::new("SERVICES")
        .parm("SupportedRCSProfileVersions", profile)
        .parm("ChatAuth", 1)
        .parm("GroupChatAuth", flag(!chat.factory.is_empty()))
        .parm("ftAuth", flag(!files.upload.is_empty()))
        .parm("standaloneMsgAuth", 1)
        .parm("geolocPushAuth", 1)
        .parm("rcsIPVoiceCallAuth", flag(settings.calls))
        .parm("rcsIPVideoCallAuth", flag(settings.calls));
    let session = Characteristic::new("Chat")
        .parm("max_adhoc_group_size", if chat.factory.is_empty() { 0 } else { chat.max_group_size })
        .parm("conf-fcty-uri", &chat.factory)
        .parm("AutAccept", 1)
        .parm("AutAcceptGroupChat", 1)
        .parm("TimerIdle", chat.idle)
        .parm("MaxSize", chat.max_size);
    let standalone = Characteristic::new("StandaloneMsg").parm("MaxSize", chat.max_size).parm("SwitchoverSize", 1300);
    let transfer = match files.upload.as_str() {
        "" => Characteristic::new("FileTransfer"),
        upload => Characteristic::new("FileTransfer")
            .parm("ftWarnSize", files.warn_size)
            .parm("MaxSizeFileTr", files.max_size)
            .parm("ftAutAccept", 1)
            .parm("ftHTTPCSURI", upload)
            .parm("ftHTTPCSUser", &account.username)
            .parm("ftHTTPCSPwd", &account.password),
    };
    let messaging = Characteristic::new("MESSAGING").child(standalone).child(session).child(transfer);
    Characteristic::new("APPLICATION")
        .parm("AppID", RCS)
        .parm("Name", "RCS settings")
        .parm("AppRef", "RCSe-Settings")
        .child(services)
        .child(messaging)
        .child(lists(settings, account))
        .child(capabilities(settings))
        .child(
            Characteristic::new("OTHER")
                .parm("deviceID", flag(!account.uuid.is_empty()))
                .parm("uuid_Value", &account.uuid),
        )
}

fn rcs_classic(settings: &Settings, account: &Account) -> Characteristic {
    let (chat, files) = (&settings.chat, &settings.files);
    let mut im = Characteristic::new("IM")
        .parm("imMsgTech", flag(chat.cpm))
        .parm("imCapAlwaysON", flag(settings.store_and_forward))
        .parm("imWarnSF", 0)
        .parm("GroupChatFullStandFwd", flag(settings.store_and_forward))
        .parm("SmsFallBackAuth", 1)
        .parm("ChatAuth", 1)
        .parm("AutAccept", 1)
        .parm("AutAcceptGroupChat", 1)
        .parm("MaxSize1to1", chat.max_size)
        .parm("MaxSize1toM", chat.max_size)
        .parm("TimerIdle", chat.idle)
        .parm("imSessionStart", 2)
        .parm("firstMsgInvite", 1)
        .parm("max_adhoc_group_size", if chat.factory.is_empty() { 0 } else { chat.max_group_size })
        .parm("conf-fcty-uri", &chat.factory);
    if !files.upload.is_empty() {
        im = im
            .parm("MaxSizeFileTr", files.max_size)
            .parm("ftWarnSize", files.warn_size)
            .parm("ftThumb", 1)
            .parm("ftAutAccept", 1)
            .parm("ftHTTPCSURI", &files.upload)
            .parm("ftHTTPCSUser", &account.username)
            .parm("ftHTTPCSPwd", &account.password)
            .parm("ftDefaultMech", "HTTP");
    }
    let services = Characteristic::new("SERVICES")
        .parm("ChatAuth", 1)
        .parm("GroupChatAuth", flag(!chat.factory.is_empty()))
        .parm("ftAuth", flag(!files.upload.is_empty()))
        .parm("standaloneMsgAuth", 1)
        .parm("geolocPushAuth", 1);
    let other = Characteristic::new("OTHER")
        .parm("deviceID", flag(!account.uuid.is_empty()))
        .parm("uuid_Value", &account.uuid)
        .child(transports(settings));
    Characteristic::new("APPLICATION")
        .parm("AppID", RCS)
        .parm("Name", "RCS settings")
        .parm("AppRef", "RCSe-Settings")
        .child(services)
        .child(im)
        .child(lists(settings, account))
        .child(capabilities(settings))
        .child(Characteristic::new("APN").parm("rcseOnlyAPN", "").parm("enableRcseSwitch", 1))
        .child(other)
}

fn lists(settings: &Settings, account: &Account) -> Characteristic {
    if settings.lists.root.is_empty() {
        return Characteristic::new("XDMS");
    }
    Characteristic::new("XDMS")
        .parm("XCAPRootURI", &settings.lists.root)
        .parm("XCAPAuthenticationUserName", &account.username)
        .parm("XCAPAuthenticationSecret", &account.password)
        .parm("XCAPAuthenticationType", "Digest")
}

fn capabilities(settings: &Settings) -> Characteristic {
    Characteristic::new("CAPDISCOVERY")
        .parm("pollingPeriod", 0)
        .parm("capInfoExpiry", settings.capability_expiry)
        .parm("defaultDisc", 0)
}

#[cfg(test)]
mod tests;
