//! Does `-------` with a transaction id occur in a body (RFC 4975 §7.1)? The data may come in slices.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::ids::TransactionId;

static DASHES: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"-------"));

/// What must not occur, without the flag: some receivers do not look at it.
const NEEDLE: usize = 7 + TransactionId::LEN;

/// Looks for the end-line of one chunk in what is to be its body.
#[derive(Debug, Clone)]
pub struct Scan {
    id: TransactionId,
    /// The last bytes seen, fewer than the needle has.
    tail: [u8; NEEDLE - 1],
    len: usize,
}

impl Scan {
    pub fn new(id: TransactionId) -> Scan {
        Scan { id, tail: [0; NEEDLE - 1], len: 0 }
    }

    /// Takes the next slice. `Some(n)`: the first `n` bytes of it may go out, the one after them would complete the
    /// end-line; the chunk has to be closed there, and this scan is over.
    pub fn feed(&mut self, data: &[u8]) -> Option<usize> {
        if self.len > 0 {
            let mut joint = [0; 2 * (NEEDLE - 1)];
            let more = data.len().min(NEEDLE - 1);
            joint[..self.len].copy_from_slice(&self.tail[..self.len]);
            joint[self.len..self.len + more].copy_from_slice(&data[..more]);
            if let Some(end) = find(&joint[..self.len + more], self.id) {
                // Not within the tail, or it had been found before.
                return Some(end - 1 - self.len);
            }
        }
        if let Some(end) = find(data, self.id) {
            return Some(end - 1);
        }
        if data.len() >= NEEDLE - 1 {
            self.tail.copy_from_slice(&data[data.len() - (NEEDLE - 1)..]);
            self.len = NEEDLE - 1;
        } else {
            let keep = self.len.min(NEEDLE - 1 - data.len());
            self.tail.copy_within(self.len - keep..self.len, 0);
            self.tail[keep..keep + data.len()].copy_from_slice(data);
            self.len = keep + data.len();
        }
        None
    }
}

/// Where the first occurrence ends.
fn find(data: &[u8], id: TransactionId) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = DASHES.find(&data[from..]) {
        // A longer row of dashes is passed over at once: an id does not begin with one.
        let row = from + at + 7;
        let end = row + data[row..].iter().position(|byte| *byte != b'-')?;
        if data[end..].starts_with(id.as_bytes()) {
            return Some(end + TransactionId::LEN);
        }
        from = end;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TransactionIds;

    #[test]
    fn found_wherever_the_slices_end() {
        let id = TransactionIds::new([7, 7]).next();
        let other = TransactionIds::new([7, 8]).next();
        for (before, dashes, with, after, hit) in [
            ("", 7, id, "$\r\n", true),
            ("some text\r\n", 7, id, "", true),
            ("--a------", 9, id, "x", true),
            ("\r\n", 6, id, "$\r\n", false),
            ("\r\n", 7, other, "$\r\n", false),
            ("-------------", 7, other, "-------", false),
        ] {
            let text = format!("{before}{}{with}{after}", "-".repeat(dashes));
            let expected = hit.then(|| before.len() + dashes + TransactionId::LEN - 1);
            for size in 1..=text.len() {
                let (mut scan, mut done, mut found) = (Scan::new(id), 0, None);
                for slice in text.as_bytes().chunks(size) {
                    found = scan.feed(slice).map(|n| done + n);
                    if found.is_some() {
                        break;
                    }
                    done += slice.len();
                }
                assert_eq!(found, expected, "{text:?} in slices of {size}");
            }
        }
    }
}
