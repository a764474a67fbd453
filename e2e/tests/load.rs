//! `chappe load` against a server of this build: what it counts is what the server counts.

use chappe_e2e::{Options, Server, wait_for};

fn server() -> Server {
    Server::start_with(Options {
        accounts: 16,
        settings: vec![("LIMITS__USER_RATE", "0".into())],
        ..Options::default()
    })
}

#[test]
fn chats_over_every_transport() {
    let server = server();
    for (first, transport) in [("0", "tcp"), ("4", "tls"), ("8", "ws")] {
        let command = ["chat", "--users", "2", "--conversations", "3", "--first", first, "--time", "1", "--receipts"];
        let report = server.load(transport, &command);
        let count = |name: &str| report[name].as_u64().unwrap_or_else(|| panic!("no {name} in {report}"));
        assert!(count("done") > 0 && count("copies") == 0, "{transport}: {report}");
        // The first message of each conversation is not counted as done.
        assert_eq!(count("notified"), count("done") + 3, "{transport}: {report}");
        assert_eq!(count("octets"), count("done") * 100, "{transport}: {report}");
    }
    wait_for("empty queues", || (server.counts()[2] == 0).then_some(()));
}

#[test]
fn what_is_kept_for_absent_readers_is_drained() {
    let server = server();
    let report = server.load("tcp", &["chat", "--users", "4", "--time", "1", "--absent"]);
    let (done, drained) = (report["done"].as_u64(), &report["drained"]);
    assert!(done > Some(0), "{report}");
    assert_eq!((drained["arrived"].as_u64(), drained["lost"].as_u64()), (done, Some(0)), "{report}");
    wait_for("empty queues", || (server.counts()[2] == 0).then_some(()));
}

#[test]
fn groups_are_written_to_and_read() {
    let server = server();
    let command = ["group", "--groups", "2", "--members", "5", "--stalled", "1", "--time", "1"];
    let report = server.load("tcp", &command);
    let count = |name: &str| report[name].as_u64().unwrap_or_else(|| panic!("no {name} in {report}"));
    assert!(count("done") > 0 && count("again") == 0, "{report}");
    // One writes, one reads nothing. The first message of each group is not counted.
    assert_eq!(count("copies"), count("done") * 3, "{report}");
    assert_eq!(count("octets"), count("copies") * 100, "{report}");
}
