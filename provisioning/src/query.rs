//! What a handset asks with: the parameters of its GET or POST.

use crate::profile::Profile;

/// Longest query or form, in bytes.
const MAX_QUERY: usize = 4096;
/// Parameters of a query, at most.
const MAX_PARAMETERS: usize = 64;
/// Longest value, in bytes, decoded.
const MAX_VALUE: usize = 2048;

/// Why a request is answered 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadQuery {
    #[error(
        "the query is longer than {MAX_QUERY} bytes, has more than {MAX_PARAMETERS} parameters, or one is too long"
    )]
    TooLong,
    #[error("not UTF-8, or wrongly escaped")]
    Escape,
    #[error("{0} stands there twice")]
    Twice(&'static str),
    #[error("{0} cannot have this value")]
    Value(&'static str),
}

/// A request for configuration. Unknown parameters are passed over; names count without case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// Version that the handset holds: 0 for none, negative where it was reset or switched off.
    pub vers: Option<i64>,
    /// Digits, with their leading zeros.
    pub imsi: Option<Box<str>>,
    pub imei: Option<Box<str>>,
    /// The number, with its `+`.
    pub msisdn: Option<Box<str>>,
    /// The last TOKEN; absent where it is empty.
    pub token: Option<Box<str>>,
    /// Port of the one-time password's SMS; 0 and absent: an ordinary one.
    pub sms_port: u16,
    /// One-time password.
    pub otp: Option<Box<str>>,
    /// In their order; more than one where the client sends several.
    pub profiles: Vec<Profile>,
    pub client_vendor: Option<Box<str>>,
    pub client_version: Option<Box<str>>,
    pub terminal_vendor: Option<Box<str>>,
    pub terminal_model: Option<Box<str>>,
    pub terminal_sw_version: Option<Box<str>>,
    pub friendly_device_name: Option<Box<str>>,
    /// 2: another application of the device has the messages.
    pub default_sms_app: Option<u8>,
    /// AppIDs wanted; empty: all.
    pub apps: Vec<Box<str>>,
}

impl Query {
    /// Reads `a=b&c=d`, of a URI or of a form.
    ///
    /// # Errors
    /// See [`BadQuery`]; identity parameters may not stand there twice.
    pub fn read(text: &str) -> Result<Query, BadQuery> {
        if text.len() > MAX_QUERY {
            return Err(BadQuery::TooLong);
        }
        let mut query = Query::default();
        for (count, parameter) in text.split('&').filter(|parameter| !parameter.is_empty()).enumerate() {
            if count >= MAX_PARAMETERS {
                return Err(BadQuery::TooLong);
            }
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let (name, value) = (decoded(name)?.to_ascii_lowercase(), decoded(value)?);
            if value.len() > MAX_VALUE {
                return Err(BadQuery::TooLong);
            }
            query.take(&name, value)?;
        }
        Ok(query)
    }

    fn take(&mut self, name: &str, value: String) -> Result<(), BadQuery> {
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        match name {
            "vers" => {
                let version = value.parse().map_err(|_| BadQuery::Value("vers"))?;
                return once(&mut self.vers, "vers", Some(version));
            }
            "imsi" => return once(&mut self.imsi, "IMSI", some(value, 15, digits).ok_or(BadQuery::Value("IMSI"))?),
            "imei" => return once(&mut self.imei, "IMEI", some(value, 16, digits).ok_or(BadQuery::Value("IMEI"))?),
            "msisdn" => {
                let number = number(&value).ok_or(BadQuery::Value("msisdn"))?;
                return once(&mut self.msisdn, "msisdn", number);
            }
            "token" => {
                return once(&mut self.token, "token", filled(&value));
            }
            "otp" => return once(&mut self.otp, "OTP", Some(value.into())),
            "sms_port" => self.sms_port = value.parse().map_err(|_| BadQuery::Value("SMS_port"))?,
            "rcs_profile" if self.profiles.len() < 4 => self.profiles.extend(Profile::named(&value)),
            "client_vendor" => self.client_vendor = shown(value),
            "client_version" => self.client_version = shown(value),
            "terminal_vendor" => self.terminal_vendor = shown(value),
            "terminal_model" => self.terminal_model = shown(value),
            "terminal_sw_version" => self.terminal_sw_version = shown(value),
            "friendly_device_name" => self.friendly_device_name = shown(value),
            "default_sms_app" => self.default_sms_app = value.parse().ok(),
            "app" if self.apps.len() < 16 => self.apps.push(value.into()),
            _ => {}
        }
        Ok(())
    }

    /// Whether nothing was asked: the first step over a cellular access.
    pub fn is_empty(&self) -> bool {
        *self == Query::default()
    }

    /// The profile to answer in: the newest of those named, else Universal Profile.
    pub fn profile(&self) -> Profile {
        self.profiles.iter().copied().max().unwrap_or_default()
    }

    /// What tells this device from others of the same user: IMEI, else IMSI.
    pub fn device(&self) -> Option<&str> {
        self.imei.as_deref().or(self.imsi.as_deref())
    }
}

fn once<T>(slot: &mut Option<T>, name: &'static str, value: Option<T>) -> Result<(), BadQuery> {
    if slot.is_some() {
        return Err(BadQuery::Twice(name));
    }
    *slot = value;
    Ok(())
}

/// `None` inside where it is empty, `None` outside where it cannot be.
#[allow(clippy::option_option)]
fn some(value: String, longest: usize, allowed: impl Fn(&str) -> bool) -> Option<Option<Box<str>>> {
    match value.as_str() {
        "" => Some(None),
        text if text.len() <= longest && allowed(text) => Some(Some(text.into())),
        _ => None,
    }
}

/// E.164 with its `+`; a `+` that was not escaped has become a blank.
#[allow(clippy::option_option)]
fn number(value: &str) -> Option<Option<Box<str>>> {
    let value = value.trim();
    if value.is_empty() {
        return Some(None);
    }
    let digits = value.strip_prefix('+').unwrap_or(value);
    let is_number = (3..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| Some(format!("+{digits}").into()))
}

/// A name for people: short, without control characters.
fn shown(value: String) -> Option<Box<str>> {
    let text: String = value.chars().filter(|char| !char.is_control()).take(64).collect();
    filled(&text)
}

fn filled(text: &str) -> Option<Box<str>> {
    Some(text.trim()).filter(|text| !text.is_empty()).map(Box::from)
}

/// `%2B` and `+`, as forms have them.
fn decoded(text: &str) -> Result<String, BadQuery> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'+' => out.push(b' '),
            b'%' => {
                let hex = text.get(at + 1..at + 3).filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
                let byte = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()).ok_or(BadQuery::Escape)?;
                out.push(byte);
                at += 2;
            }
            byte => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8(out).map_err(|_| BadQuery::Escape)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_request_of_a_handset_is_read() {
        let text = "vers=0&IMSI=001010000000001&IMEI=356938035643800&msisdn=%2B15550100002&token=&SMS_port=37001\
                    &rcs_version=11.0&rcs_profile=UP_2.4&provisioning_version=5.0&client_vendor=EXMP\
                    &client_version=RCSAndrd-1.0&terminal_vendor=EXMP&terminal_model=X1&terminal_sw_version=1.0\
                    &default_sms_app=1&rcs_state=0";
        let query = Query::read(text).unwrap();
        assert_eq!(query.vers, Some(0));
        assert_eq!(query.imsi.as_deref(), Some("001010000000001"));
        assert_eq!(query.device(), Some("356938035643800"));
        assert_eq!(query.msisdn.as_deref(), Some("+15550100002"));
        assert_eq!((query.token.as_deref(), query.sms_port, query.otp.as_deref()), (None, 37001, None));
        assert_eq!(query.profile(), Profile::Universal { major: 2, minor: 4 });
        assert_eq!((query.client_vendor.as_deref(), query.default_sms_app), (Some("EXMP"), Some(1)));
        assert!(!query.is_empty() && Query::read("").unwrap().is_empty());
    }

    #[test]
    fn spellings_of_numbers_and_names_do_not_count() {
        for text in ["msisdn=+15550100002", "MSISDN=%2b15550100002", "msisdn=15550100002"] {
            assert_eq!(Query::read(text).unwrap().msisdn.as_deref(), Some("+15550100002"), "{text}");
        }
        for text in ["OTP=482915", "otp=482915", "Otp=482915&x=y&x=z"] {
            assert_eq!(Query::read(text).unwrap().otp.as_deref(), Some("482915"), "{text}");
        }
        assert_eq!(Query::read("terminal_model=X%0d%0a1").unwrap().terminal_model.as_deref(), Some("X1"));
        assert_eq!(
            Query::read("rcs_profile=x&rcs_profile=joyn_blackbird&rcs_profile=UP_1.0").unwrap().profile(),
            Profile::Universal { major: 1, minor: 0 }
        );
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let long = "x".repeat(MAX_QUERY + 1);
        let many = "a=b&".repeat(MAX_PARAMETERS + 1);
        for (text, expected) in [
            ("IMSI=1&imsi=2", BadQuery::Twice("IMSI")),
            ("msisdn=%2B1555&msisdn=%2B1556", BadQuery::Twice("msisdn")),
            ("token=a&token=b", BadQuery::Twice("token")),
            ("vers=x", BadQuery::Value("vers")),
            ("IMSI=12a", BadQuery::Value("IMSI")),
            ("msisdn=tel:1", BadQuery::Value("msisdn")),
            ("SMS_port=70000", BadQuery::Value("SMS_port")),
            ("a=%zz", BadQuery::Escape),
            ("a=%ff", BadQuery::Escape),
            (&*long, BadQuery::TooLong),
            (&*many, BadQuery::TooLong),
        ] {
            assert_eq!(Query::read(text), Err(expected), "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(text in "[ -~é%&=+]{0,200}") {
            let _ = Query::read(&text);
        }
    }
}
