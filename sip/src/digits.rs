//! Numbers and addresses as text, without the machinery of `fmt`: every message has some.

use std::net::IpAddr;

/// A number as text on the stack.
pub(crate) struct Digits {
    text: [u8; 20],
    from: usize,
}

impl Digits {
    pub(crate) fn of(mut value: u64) -> Digits {
        let mut digits = Digits { text: [0; 20], from: 20 };
        loop {
            digits.from -= 1;
            digits.text[digits.from] = b'0' + (value % 10) as u8;
            value /= 10;
            if value == 0 {
                return digits;
            }
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.text[self.from..]).unwrap_or("0")
    }
}

/// Appends an address, IPv6 without brackets.
pub(crate) fn push_ip(out: &mut String, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => {
            for (at, octet) in ip.octets().into_iter().enumerate() {
                if at > 0 {
                    out.push('.');
                }
                out.push_str(Digits::of(octet.into()).as_str());
            }
        }
        IpAddr::V6(ip) => out.push_str(&ip.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_the_standard_library_writes_them() {
        for value in [0, 9, 10, 65_535, u64::MAX] {
            assert_eq!(Digits::of(value).as_str(), value.to_string());
        }
        for text in ["0.0.0.0", "127.0.0.1", "255.10.200.3", "2001:db8::1", "::"] {
            let mut out = String::new();
            push_ip(&mut out, text.parse().unwrap());
            assert_eq!(out, text);
        }
    }
}
