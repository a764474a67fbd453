//! Forms: the same in one piece or in many, holding no more than a head, and content comes out as it went in.

#![no_main]

use bytes::Bytes;
use chappe_content::multipart::{Event, Limits, MultipartError};
use chappe_content::{FileDocument, Multipart, name};
use libfuzzer_sys::fuzz_target;

fn read(body: &[u8], size: usize) -> Result<Vec<Event>, MultipartError> {
    let mut form = Multipart::new("b1", Limits { head: 512, parts: 8, preamble: 64 })?;
    let mut events: Vec<Event> = Vec::new();
    for piece in body.chunks(size) {
        form.push(Bytes::copy_from_slice(piece));
        while let Some(event) = form.poll()? {
            match (events.last_mut(), event) {
                (Some(Event::Data(before)), Event::Data(more)) => *before = [&before[..], &more].concat().into(),
                (_, event) => events.push(event),
            }
        }
    }
    form.end().map(|()| events)
}

fuzz_target!(|data: &[u8]| {
    let Some((size, body)) = data.split_first() else { return };
    let whole = read(body, body.len().max(1));
    assert_eq!(whole, read(body, usize::from(*size).max(1)));
    for event in whole.iter().flatten() {
        if let Event::Begin(part) = event {
            let harmless = name::harmless(part.file_name.as_deref().unwrap_or(&part.name));
            assert!(!harmless.is_empty() && !harmless.contains(['/', '\\', '\r', '\n']));
        }
    }
    if !body.windows(4).any(|window| window == b"--b1") {
        let form = [b"--b1\r\nContent-Disposition: form-data; name=a\r\n\r\n", body, b"\r\n--b1--"].concat();
        let events = read(&form, usize::from(*size).max(1)).expect("a form of one part");
        let content = events.iter().find_map(|event| match event {
            Event::Data(content) => Some(&content[..]),
            _ => None,
        });
        assert_eq!(content.unwrap_or_default(), body);
    }
    // The documents of files: what was read is written so that it is read again.
    if let Ok(document) = FileDocument::parse(body) {
        let again = FileDocument::parse(document.to_xml().as_bytes()).expect("our own document");
        assert_eq!(again.file.size, document.file.size);
        assert_eq!(again.thumbnail.is_some(), document.thumbnail.is_some());
    }
});
