//! Sound from one codec to another, at 8 kHz and one channel, where two sides share none.

use opus_pure::{Application, OpusDecoder, OpusEncoder};

use crate::g711;
use crate::rtp::Header;

/// Codecs that can be turned into each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sound {
    Pcmu,
    Pcma,
    Opus,
}

impl Sound {
    #[must_use]
    pub fn named(name: &str) -> Option<Sound> {
        let all = [("PCMU", Sound::Pcmu), ("PCMA", Sound::Pcma), ("opus", Sound::Opus)];
        all.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, sound)| sound)
    }

    /// The RTP clock in Hz.
    #[must_use]
    pub fn clock(self) -> u32 {
        if self == Sound::Opus { 48_000 } else { 8000 }
    }
}

/// Turns packets of one codec into samples at 8 kHz, or back.
pub trait Codec: Send {
    /// Adds the samples of a payload; `false` for what is none.
    fn decode(&mut self, payload: &[u8], samples: &mut Vec<i16>) -> bool;

    /// The payload for 20 ms, which are 160 samples; `None` where they cannot be coded.
    fn encode(&mut self, samples: &[i16]) -> Option<Vec<u8>>;
}

/// Samples in a packet of ours.
const FRAME: usize = 160;
/// The longest packet that is decoded: 120 ms (RFC 6716 §3.2.5).
const LONGEST: usize = 960;
/// Bits in a second for narrow-band speech.
const BITRATE: i32 = 20_000;

struct Law {
    decode: fn(u8) -> i16,
    encode: fn(i16) -> u8,
}

impl Codec for Law {
    fn decode(&mut self, payload: &[u8], samples: &mut Vec<i16>) -> bool {
        let fits = payload.len() <= LONGEST;
        if fits {
            samples.extend(payload.iter().map(|code| (self.decode)(*code)));
        }
        fits
    }

    fn encode(&mut self, samples: &[i16]) -> Option<Vec<u8>> {
        Some(samples.iter().map(|sample| (self.encode)(*sample)).collect())
    }
}

struct Opus {
    decoder: OpusDecoder,
    encoder: OpusEncoder,
}

impl Codec for Opus {
    fn decode(&mut self, payload: &[u8], samples: &mut Vec<i16>) -> bool {
        let mut out = [0; LONGEST];
        match self.decoder.decode_s16(payload, LONGEST, &mut out) {
            Ok(count) => samples.extend(&out[..count.min(LONGEST)]),
            Err(_) => return false,
        }
        true
    }

    fn encode(&mut self, samples: &[i16]) -> Option<Vec<u8>> {
        let mut out = vec![0; 400];
        let length = self.encoder.encode_s16(samples, FRAME, &mut out).ok()?;
        out.truncate(length);
        Some(out)
    }
}

fn codec(sound: Sound) -> Option<Box<dyn Codec>> {
    Some(match sound {
        Sound::Pcmu => Box::new(Law { decode: g711::from_ulaw, encode: g711::to_ulaw }),
        Sound::Pcma => Box::new(Law { decode: g711::from_alaw, encode: g711::to_alaw }),
        Sound::Opus => {
            let mut encoder = OpusEncoder::new(8000, 1, Application::Voip).ok()?;
            encoder.bitrate_bps = BITRATE;
            Box::new(Opus { decoder: OpusDecoder::new(8000, 1).ok()?, encoder })
        }
    })
}

/// One direction of a section: packets of one codec become packets of 20 ms of another. Losses stay losses.
pub struct Transcoder {
    from: Box<dyn Codec>,
    to: Box<dyn Codec>,
    clocks: (u32, u32),
    /// Samples that are less than a packet.
    samples: Vec<i16>,
    /// What came last, and what it has become.
    last: Option<Header>,
    sequence: u16,
    /// The timestamp that went out for the timestamp that came in.
    anchor: (u32, u32),
    payload_type: u8,
}

impl Transcoder {
    /// `payload_type` is that of the packets that go out; `None` where a codec cannot be made.
    #[must_use]
    pub fn new(from: Sound, to: Sound, payload_type: u8) -> Option<Transcoder> {
        Some(Transcoder {
            from: codec(from)?,
            to: codec(to)?,
            clocks: (from.clock(), to.clock()),
            samples: Vec::new(),
            last: None,
            sequence: 0,
            anchor: (0, 0),
            payload_type,
        })
    }

    /// That of the packets that go out.
    #[must_use]
    pub fn payload_type(&self) -> u8 {
        self.payload_type
    }

    /// The timestamp that goes out for one that came in; also for the RTP timestamps of sender reports.
    #[must_use]
    pub fn timestamp(&self, came: u32) -> u32 {
        let (from, to) = (i64::from(self.clocks.0), i64::from(self.clocks.1));
        let passed = i64::from(came.wrapping_sub(self.anchor.0) as i32);
        self.anchor.1.wrapping_add((passed * to / from) as u32)
    }

    /// The packets that a packet becomes; `None` for what cannot be decoded.
    pub fn handle(&mut self, header: &Header, payload: &[u8]) -> Option<Vec<Vec<u8>>> {
        if payload.is_empty() {
            return None;
        }
        let step = self.last.map_or(1, |last| header.sequence.wrapping_sub(last.sequence));
        if self.last.is_some_and(|last| last.ssrc == header.ssrc) && (step == 0 || step > 0x8000) {
            // Late: its place has been passed.
            return Some(Vec::new());
        }
        match self.last {
            Some(last) if last.ssrc == header.ssrc && step < 100 => {
                if step > 1 {
                    self.samples.clear();
                    self.sequence = self.sequence.wrapping_add(step - 1);
                }
                self.anchor = (header.timestamp, self.timestamp(header.timestamp));
            }
            _ => {
                self.samples.clear();
                self.sequence = header.sequence;
                self.anchor = (header.timestamp, header.timestamp);
            }
        }
        self.last = Some(*header);
        let waiting = self.samples.len() as u32;
        if !self.from.decode(payload, &mut self.samples) {
            return None;
        }
        let unit = self.clocks.1 / 8000;
        let mut timestamp = self.anchor.1.wrapping_sub(waiting * unit);
        let (mut packets, mut marker) = (Vec::new(), header.marker);
        while self.samples.len() >= FRAME {
            let coded = self.to.encode(&self.samples[..FRAME])?;
            self.samples.drain(..FRAME);
            let head = Header {
                marker,
                payload_type: self.payload_type,
                sequence: self.sequence,
                timestamp,
                ssrc: header.ssrc,
                payload: 12,
                padding: 0,
            };
            packets.push(head.write(&coded));
            self.sequence = self.sequence.wrapping_add(1);
            timestamp = timestamp.wrapping_add(FRAME as u32 * unit);
            marker = false;
        }
        Some(packets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(frames: usize) -> Vec<i16> {
        (0..frames * FRAME)
            .map(|n| (8000.0 * (n as f32 * 440.0 * std::f32::consts::TAU / 8000.0).sin()) as i16)
            .collect()
    }

    fn header(n: u16, step: u32) -> Header {
        let timestamp = 0xffff_ff00_u32.wrapping_add(u32::from(n) * step);
        Header {
            marker: n == 0,
            payload_type: 0,
            sequence: n.wrapping_sub(3),
            timestamp,
            ssrc: 9,
            payload: 12,
            padding: 0,
        }
    }

    /// How much of the power is at the frequency.
    fn share(samples: &[i16], frequency: f32) -> f32 {
        let (mut re, mut im, mut all) = (0.0, 0.0, 0.0);
        for (n, sample) in samples.iter().enumerate() {
            let (value, angle) = (f32::from(*sample), n as f32 * frequency * std::f32::consts::TAU / 8000.0);
            (re, im, all) = (re + value * angle.cos(), im + value * angle.sin(), all + value * value);
        }
        2.0 * (re * re + im * im) / (all * samples.len() as f32).max(1.0)
    }

    #[test]
    fn a_tone_survives_both_ways() {
        for law in [Sound::Pcmu, Sound::Pcma] {
            let mut to_opus = Transcoder::new(law, Sound::Opus, 111).unwrap();
            let mut back = Transcoder::new(Sound::Opus, law, 8).unwrap();
            let mut law = codec(law).unwrap();
            let mut heard = Vec::new();
            for (n, frame) in tone(50).chunks(FRAME).enumerate() {
                let payload = law.encode(frame).unwrap();
                let opus = to_opus.handle(&header(n as u16, 160), &payload).unwrap();
                assert_eq!(opus.len(), 1);
                let head = Header::parse(&opus[0]).unwrap();
                assert_eq!((head.payload_type, head.sequence), (111, header(n as u16, 160).sequence));
                let packets = back.handle(&head, &opus[0][12..]).unwrap();
                let head = Header::parse(&packets[0]).unwrap();
                assert_eq!((head.payload_type, head.timestamp), (8, header(n as u16, 160).timestamp), "packet {n}");
                assert!(law.decode(&packets[0][12..], &mut heard));
            }
            assert!(share(&heard[1600..], 440.0) > 0.9, "the tone is {}", share(&heard[1600..], 440.0));
        }
    }

    #[test]
    fn what_is_lost_stays_a_gap_and_what_is_late_is_left_out() {
        let mut to_opus = Transcoder::new(Sound::Pcma, Sound::Opus, 111).unwrap();
        let mut sequences = Vec::new();
        for n in [0, 1, 4, 3, 5, 5, 6] {
            for packet in to_opus.handle(&header(n, 160), &[0xd5; 160]).unwrap() {
                let head = Header::parse(&packet).unwrap();
                sequences.push((head.sequence.wrapping_add(3), head.timestamp.wrapping_sub(0xffff_ff00) / 960));
            }
        }
        assert_eq!(sequences, [(0, 0), (1, 1), (4, 4), (5, 5), (6, 6)]);
    }

    #[test]
    fn packets_of_30_ms_become_packets_of_20() {
        let mut to_opus = Transcoder::new(Sound::Pcmu, Sound::Opus, 111).unwrap();
        let mut times = Vec::new();
        for n in 0..4 {
            for packet in to_opus.handle(&header(n, 240), &[0xff; 240]).unwrap() {
                times.push(Header::parse(&packet).unwrap().timestamp.wrapping_sub(0xffff_ff00));
            }
        }
        assert_eq!(times, [0, 960, 1920, 2880, 3840, 4800]);
    }

    #[test]
    fn what_is_no_opus_is_refused() {
        let mut back = Transcoder::new(Sound::Opus, Sound::Pcmu, 0).unwrap();
        assert!(back.handle(&header(0, 960), &[0xff; 3]).is_none());
        assert!(back.handle(&header(1, 960), &[]).is_none());
    }
}
