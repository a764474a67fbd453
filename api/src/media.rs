//! What an operator sees of the media that the server carries.

use serde::{Deserialize, Serialize};

/// A call whose media goes through the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediaCall {
    /// Number of it since the start.
    pub id: u64,
    pub call_id: String,
    pub age_s: u64,
    /// Whether sound is turned from one codec into another.
    pub transcoded: bool,
    pub caller: MediaSide,
    pub callee: MediaSide,
}

/// One side of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediaSide {
    /// As the INVITE has it; empty where that names no user.
    pub user: String,
    pub dialect: MediaDialect,
    /// Whether packets can go there: a browser has to have come to a key first.
    pub ready: bool,
    /// What is spoken, a codec for each section that is open.
    pub codecs: Vec<String>,
    /// RTP packets and bytes that came from there.
    pub received_packets: u64,
    pub received_bytes: u64,
    /// Packets that should have come, by their sequence numbers, and did not.
    pub lost_packets: u64,
    /// RTP packets and bytes that went there.
    pub sent_packets: u64,
    pub sent_bytes: u64,
    /// What came and was none of its packets, or a copy.
    pub bad_packets: u64,
    /// Packets from there that could not be passed on.
    pub dropped_packets: u64,
    /// Pictures that came from there.
    pub frames: u64,
}

/// How a side talks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MediaDialect {
    /// ICE and DTLS-SRTP.
    Browser,
    /// RTP in the clear.
    Rtp,
    /// RTP with keys in the description.
    Sdes,
}
