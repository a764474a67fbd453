//! Tones in WAV files: made for a phone to say, and looked for in what a phone has heard.

use std::f64::consts::TAU;
use std::path::Path;

/// Samples in a second, on telephones.
const RATE: u32 = 8000;

/// Writes so many seconds of a tone, 16 bits and one channel.
///
/// # Panics
/// When the file cannot be written.
pub fn write(path: &Path, hz: u32, seconds: u32) {
    let count = RATE * seconds;
    let mut file = Vec::with_capacity(44 + 2 * count as usize);
    file.extend(b"RIFF");
    file.extend((36 + 2 * count).to_le_bytes());
    file.extend(b"WAVEfmt ");
    file.extend(16u32.to_le_bytes());
    for half in [1u16, 1] {
        file.extend(half.to_le_bytes());
    }
    file.extend(RATE.to_le_bytes());
    file.extend((2 * RATE).to_le_bytes());
    file.extend(2u16.to_le_bytes());
    file.extend(16u16.to_le_bytes());
    file.extend(b"data");
    file.extend((2 * count).to_le_bytes());
    for n in 0..count {
        let sample = 9000.0 * (TAU * f64::from(hz) * f64::from(n) / f64::from(RATE)).sin();
        file.extend((sample as i16).to_le_bytes());
    }
    std::fs::write(path, file).expect("the folder of a test can be written to");
}

/// The part of the power of the last second of a recording that is at a frequency; `None` while it is shorter, or silent.
pub fn share(recording: &Path, hz: u32) -> Option<f64> {
    let bytes = std::fs::read(recording).ok()?;
    let rate = u32::from_le_bytes(bytes.get(24..28)?.try_into().ok()?);
    let channels = usize::from(u16::from_le_bytes(bytes.get(22..24)?.try_into().ok()?));
    let samples: Vec<f64> = bytes
        .get(44..)?
        .chunks_exact(2 * channels)
        .map(|frame| f64::from(i16::from_le_bytes([frame[0], frame[1]])))
        .collect();
    let last = samples.get(samples.len().checked_sub(rate as usize)?..)?;
    let (mut re, mut im, mut all) = (0.0, 0.0, 0.0);
    for (n, sample) in last.iter().enumerate() {
        let angle = TAU * f64::from(hz) * n as f64 / f64::from(rate);
        (re, im, all) = (re + sample * angle.cos(), im + sample * angle.sin(), all + sample * sample);
    }
    (all / last.len() as f64 > 10_000.0).then(|| 2.0 * (re * re + im * im) / (all * last.len() as f64))
}
