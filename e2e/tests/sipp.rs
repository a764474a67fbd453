//! sipp as the phones: registrations, messages and calls through the proxy.

use std::time::Duration;

use chappe_e2e::sipp::{Access, Scenario};
use chappe_e2e::{Server, all_found};

/// So that what comes back does not overtake the response before it.
const BREATH: Duration = Duration::from_millis(300);

/// A phone that is registered.
fn phone(access: Access) -> Scenario {
    Scenario::new(access).register()
}

fn messages(from: Access, to: Access) {
    if !all_found(&["sipp", "socat"]) {
        return;
    }
    let server = Server::start();
    let there = phone(to).expect_message("salut, ça va 🗼").pause(BREATH).message("oui, très bien", 200);
    let mut there = there.start(&server, "there", 1, 0);
    server.wait_registered(1, 1);
    let here = phone(from).message("salut, ça va 🗼", 200).expect_message("oui, très bien");
    let mut here = here.start(&server, "here", 0, 1);
    here.done();
    there.done();
}

#[test]
fn messages_both_ways_over_udp() {
    messages(Access::Udp, Access::Udp);
}

#[test]
fn messages_both_ways_over_tcp() {
    messages(Access::Tcp, Access::Tcp);
}

#[test]
fn messages_both_ways_over_tls() {
    messages(Access::Tls, Access::Tls);
}

#[test]
fn messages_both_ways_between_udp_and_tls() {
    messages(Access::Udp, Access::Tls);
}

#[test]
fn a_message_to_nobody_waits() {
    if !all_found(&["sipp"]) {
        return;
    }
    let server = Server::start();
    phone(Access::Udp).message("later", 202).start(&server, "here", 0, 1).done();
    phone(Access::Tcp).expect_message("later").start(&server, "there", 1, 0).done();
}

fn call(from: Access, to: Access) {
    if !all_found(&["sipp", "socat"]) {
        return;
    }
    let server = Server::start();
    let mut there = phone(to).ring().pause(BREATH).pick_up().ended().start(&server, "there", 1, 0);
    server.wait_registered(1, 1);
    let here = phone(from).invite().accepted().pause(BREATH).bye();
    here.start(&server, "here", 0, 1).done();
    there.done();
}

#[test]
fn a_call_over_udp() {
    call(Access::Udp, Access::Udp);
}

#[test]
fn a_call_over_tcp() {
    call(Access::Tcp, Access::Tcp);
}

#[test]
fn a_call_over_tls() {
    call(Access::Tls, Access::Tls);
}

#[test]
fn a_call_from_udp_to_tls() {
    call(Access::Udp, Access::Tls);
}

#[test]
fn a_call_from_tcp_to_udp() {
    call(Access::Tcp, Access::Udp);
}

#[test]
fn a_call_forked_to_three_devices_is_answered_by_one() {
    if !all_found(&["sipp", "socat"]) {
        return;
    }
    let server = Server::start();
    let mut first = phone(Access::Udp).ring().cancelled().start(&server, "first", 1, 0);
    let mut second = phone(Access::Tcp).ring().cancelled().start(&server, "second", 1, 0);
    // It picks up when the others ring, too.
    let third = phone(Access::Tls).ring().pause(Duration::from_millis(1000)).pick_up().ended();
    let mut third = third.start(&server, "third", 1, 0);
    server.wait_registered(1, 3);
    phone(Access::Udp).invite().accepted().pause(BREATH).bye().start(&server, "here", 0, 1).done();
    for device in [&mut first, &mut second, &mut third] {
        device.done();
    }
}

#[test]
fn a_caller_who_gives_up_gets_487() {
    if !all_found(&["sipp"]) {
        return;
    }
    let server = Server::start();
    let mut there = phone(Access::Tcp).ring().cancelled().start(&server, "there", 1, 0);
    server.wait_registered(1, 1);
    phone(Access::Udp).invite().cancel().start(&server, "here", 0, 1).done();
    there.done();
}

#[test]
fn a_call_that_nobody_answers_ends() {
    if !all_found(&["sipp"]) {
        return;
    }
    let server = Server::with(&[("SIP__TIMERS__TIMER_C", "2s")]);
    let mut there = phone(Access::Udp).ring().cancelled().start(&server, "there", 1, 0);
    server.wait_registered(1, 1);
    // §16.8: timer C cancels the branch, and the caller hears 408.
    phone(Access::Udp).invite().refused(408).start(&server, "here", 0, 1).done();
    there.done();
}

#[test]
fn a_busy_phone_is_busy() {
    if !all_found(&["sipp"]) {
        return;
    }
    let server = Server::start();
    let mut there = phone(Access::Udp).refuse("486 Busy Here").start(&server, "there", 1, 0);
    server.wait_registered(1, 1);
    phone(Access::Tcp).invite().refused(486).start(&server, "here", 0, 1).done();
    there.done();
}

#[test]
fn a_call_to_an_absent_user_is_refused() {
    if !all_found(&["sipp"]) {
        return;
    }
    let server = Server::start();
    phone(Access::Udp).invite().refused(480).start(&server, "here", 0, 1).done();
}
