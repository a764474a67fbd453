//! G.711: 8-bit samples of μ-law and A-law (ITU-T G.711), each a sign, a segment and four bits.

/// Added to magnitudes of μ-law so that segments begin at powers of two.
const BIAS: i32 = 0x84;

/// μ-law of a linear sample.
#[must_use]
pub fn to_ulaw(sample: i16) -> u8 {
    let magnitude = (i32::from(sample).abs() + BIAS).min(0x7fff);
    let segment = 24 - magnitude.leading_zeros() as i32;
    let code = (segment << 4) | ((magnitude >> (segment + 3)) & 0x0f);
    !(code as u8 | if sample < 0 { 0x80 } else { 0 })
}

/// Linear sample of μ-law.
#[must_use]
pub fn from_ulaw(code: u8) -> i16 {
    let code = !code;
    let (segment, step) = (i32::from(code >> 4 & 7), i32::from(code & 0x0f));
    let magnitude = (((step << 3) + BIAS) << segment) - BIAS;
    (if code & 0x80 == 0 { magnitude } else { -magnitude }) as i16
}

/// A-law of a linear sample.
#[must_use]
pub fn to_alaw(sample: i16) -> u8 {
    let magnitude = if sample < 0 { -i32::from(sample) - 1 } else { i32::from(sample) } >> 3;
    let code = if magnitude < 32 {
        magnitude >> 1
    } else {
        let segment = 27 - magnitude.leading_zeros() as i32;
        (segment << 4) | ((magnitude >> segment) & 0x0f)
    };
    (code as u8 | if sample < 0 { 0 } else { 0x80 }) ^ 0x55
}

/// Linear sample of A-law.
#[must_use]
pub fn from_alaw(code: u8) -> i16 {
    let code = code ^ 0x55;
    let (segment, step) = (i32::from(code >> 4 & 7), i32::from(code & 0x0f));
    let magnitude = if segment == 0 { (step << 4) + 8 } else { ((step << 4) + 0x108) << (segment - 1) };
    (if code & 0x80 == 0 { -magnitude } else { magnitude }) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_comes_back() {
        for code in 0..=255 {
            assert_eq!(from_alaw(to_alaw(from_alaw(code))), from_alaw(code), "A-law {code}");
            assert_eq!(from_ulaw(to_ulaw(from_ulaw(code))), from_ulaw(code), "μ-law {code}");
        }
    }

    #[test]
    fn values_of_the_tables() {
        assert_eq!((from_ulaw(0xff), from_ulaw(0x80), from_ulaw(0x00)), (0, 32_124, -32_124));
        assert_eq!((from_alaw(0xd5), from_alaw(0xaa), from_alaw(0x2a)), (8, 32_256, -32_256));
        assert_eq!((to_ulaw(0), to_alaw(0)), (0xff, 0xd5));
    }

    #[test]
    fn the_error_is_a_part_of_the_size() {
        for sample in (i16::MIN..=i16::MAX).step_by(7) {
            for (name, back) in [("A", from_alaw(to_alaw(sample))), ("μ", from_ulaw(to_ulaw(sample)))] {
                let error = (i32::from(back) - i32::from(sample)).abs();
                assert!(error <= i32::from(sample).abs() / 16 + 16, "{name}-law {sample} came back as {back}");
            }
        }
    }
}
