//! One-time passwords: digits that a person may have to type.

use subtle::ConstantTimeEq;

/// Digits of a code. Six make a million; with five attempts one guess in 200,000 succeeds.
pub const CODE_DIGITS: usize = 6;

/// A one-time password.
#[derive(Clone, PartialEq, Eq)]
pub struct Code([u8; CODE_DIGITS]);

impl Code {
    /// From 64 random bits, whose bias is nothing beside a million.
    pub fn of(random: u64) -> Code {
        let mut left = random % 10u64.pow(CODE_DIGITS as u32);
        let mut digits = [b'0'; CODE_DIGITS];
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (left % 10) as u8;
            left /= 10;
        }
        Code(digits)
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// In constant time; blanks around it do not count.
    pub fn is(&self, typed: &str) -> bool {
        self.0.ct_eq(typed.trim().as_bytes()).into()
    }
}

/// Never shown.
impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Code")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_all_their_digits() {
        assert_eq!(Code::of(7).as_str(), "000007");
        assert_eq!(Code::of(u64::MAX).as_str(), "551615");
        assert_eq!(format!("{:?}", Code::of(123_456)), "Code");
        let code = Code::of(482_915);
        assert!(code.is(" 482915\r\n"));
        for wrong in ["482916", "48291", "4829150", "", "౪82915"] {
            assert!(!code.is(wrong), "{wrong}");
        }
    }
}
