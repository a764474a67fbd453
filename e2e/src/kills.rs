//! Somebody who goes on sending while the server is killed again and again.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::{Phone, Server, Transport, wait_for};

/// User `from` sends the numbers from 0 on, each by `send`, while the server is killed three times; gives those that were
/// answered `accepted`.
///
/// # Panics
/// When the server answers otherwise.
pub fn send_over_kills(
    server: &mut Server,
    from: usize,
    accepted: u16,
    send: impl Fn(&mut Phone, &str) -> io::Result<u16> + Clone + Send + 'static,
) -> Vec<i32> {
    let done = Arc::new(AtomicUsize::new(0));
    let (mut all, mut next) = (Vec::new(), 0);
    for round in 1..=3 {
        let mut sender = Phone::registered(server, from, Transport::Tcp);
        let (count, send) = (Arc::clone(&done), send.clone());
        // Sends until the server is gone; the last one may or may not have been accepted.
        let sending = std::thread::spawn(move || {
            let mut taken = Vec::new();
            loop {
                match send(&mut sender, &format!("{next:04}")) {
                    Ok(code) if code == accepted => taken.push(next),
                    Ok(code) => panic!("message {next} got {code}"),
                    Err(_) => return (taken, next + 1),
                }
                next += 1;
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        wait_for("messages to be accepted", || (done.load(Ordering::Relaxed) >= round * 40).then_some(()));
        server.kill();
        let (more, after) = sending.join().expect("the sender goes on");
        all.extend(more);
        next = after;
        server.restart();
    }
    all
}

/// Takes what comes until the last one that was accepted, and gives how many came.
///
/// # Panics
/// When one was lost, or came twice or in another order.
pub fn all_arrive(receiver: &mut Phone, accepted: &[i32]) -> usize {
    let mut came: Vec<i32> = Vec::new();
    while came.last() < accepted.last() {
        came.extend(receiver.texts(1).iter().map(|text| text.parse::<i32>().expect("a number")));
    }
    assert!(came.is_sorted_by(|one, other| one < other), "each once, in order: {came:?}");
    let lost: Vec<_> = accepted.iter().filter(|number| !came.contains(number)).collect();
    assert!(lost.is_empty(), "accepted and lost: {lost:?}");
    came.len()
}
