//! What a device registers with (RFC 8599 §4.1).

/// Whom to push to. It is a secret: who has it can push too.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// `pn-provider`, in lower case.
    pub provider: String,
    /// `pn-param`, or nothing.
    pub param: String,
    /// `pn-prid`.
    pub prid: String,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target").field("provider", &self.provider).finish_non_exhaustive()
    }
}

/// Why push parameters are of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PnError {
    #[error("percent-encoding or characters of a pn- parameter")]
    Malformed,
}

/// Octets of a parameter.
const MAX: usize = 4096;

impl Target {
    /// From the parameters of a Contact URI, as they stand there. `None` without provider or PRID: the device asks what
    /// there is, or does not want to be pushed.
    pub fn new(provider: Option<&str>, param: Option<&str>, prid: Option<&str>) -> Result<Option<Target>, PnError> {
        let (Some(provider), Some(prid)) = (provider, prid) else { return Ok(None) };
        let part = |text: &str| unescape(text).filter(|text| text.len() <= MAX).ok_or(PnError::Malformed);
        let provider = part(provider)?.to_ascii_lowercase();
        let (param, prid) = (part(param.unwrap_or_default())?, part(prid)?);
        Ok((!provider.is_empty() && !prid.is_empty()).then_some(Target { provider, param, prid }))
    }
}

/// Percent-decoded once; `None` where that is no text without controls.
pub fn unescape(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'%' {
            let hex = text.get(at + 1..at + 3)?;
            out.push(u8::from_str_radix(hex, 16).ok().filter(|_| hex.bytes().all(|b| b.is_ascii_hexdigit()))?);
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8(out).ok().filter(|text| !text.chars().any(char::is_control))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_as_devices_write_them() {
        let target = |provider, param, prid| Target::new(provider, param, prid);
        let fcm = target(Some("FCM"), Some("proj-1"), Some("cT9x:APA91b")).unwrap().unwrap();
        assert_eq!((&*fcm.provider, &*fcm.param, &*fcm.prid), ("fcm", "proj-1", "cT9x:APA91b"));
        let web = target(Some("webpush"), None, Some("https:%2F%2Fpush.example%2Fp%3Fa=b")).unwrap().unwrap();
        assert_eq!(web.prid, "https://push.example/p?a=b");
        assert_eq!(target(Some("fcm"), None, None), Ok(None), "a question");
        assert_eq!(target(None, None, Some("x")), Ok(None));
        assert_eq!(target(Some("fcm"), None, Some("%zz")), Err(PnError::Malformed));
        assert_eq!(target(Some("fcm"), None, Some("a%0d%0ab")), Err(PnError::Malformed));
        assert!(!format!("{fcm:?}").contains("APA91b"), "no tokens in logs");
    }
}
