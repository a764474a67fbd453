//! Signs of typing: what is read survives being written, alone and in an envelope, and nobody types for ever.

#![no_main]

use std::time::{Duration, Instant};

use chappe_imdn::{
    COMPOSING_TYPE, CPIM_TYPE, Composing, ComposingState, Content, Envelope, MAX_COMPOSING_LEN, Watcher, classify,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = Composing::of(CPIM_TYPE, data);
    let Ok(seen) = Composing::parse(data) else { return };
    assert_ne!(seen.refresh, Some(0));

    let settled = seen.to_xml();
    if settled.len() > MAX_COMPOSING_LEN {
        return;
    }
    assert_eq!(Composing::parse(settled.as_bytes()).as_ref(), Ok(&seen));
    let wrapped =
        Envelope::new("sip:a@example.com", "sip:b@example.com").content(COMPOSING_TYPE, &[], settled.as_bytes());
    assert_eq!(Composing::of(CPIM_TYPE, &wrapped), Some(Ok(seen.clone())));
    assert!(matches!(classify(CPIM_TYPE, &wrapped), Ok(Content::Composing)));

    let (start, mut watcher) = (Instant::now(), Watcher::default());
    watcher.handle_status(&seen, start);
    assert_eq!(watcher.state(start), seen.state);
    watcher.handle_timeout(start + Duration::from_secs(3600));
    assert_eq!((watcher.state(start), watcher.poll_timeout()), (ComposingState::Idle, None));
});
