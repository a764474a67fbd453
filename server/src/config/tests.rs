use std::path::Path;
use std::time::Duration;

use super::*;

/// Compares a file with what it is made from; `cargo xtask docs` sets `CHAPPE_BLESS=1`, which writes it anew.
#[track_caller]
pub(crate) fn assert_generated(path: &str, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    if std::env::var_os("CHAPPE_BLESS").is_some() {
        std::fs::write(&path, made).expect("the file can be written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == made, "{} is out of date: run `cargo xtask docs`", path.display());
}

fn load(text: &str, environment: &[(&str, &str)]) -> Result<Config, Faults> {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::parse(Some(Path::new("server.toml")), text, environment)
}

fn complaint(text: &str) -> String {
    load(text, &[]).expect_err(text).to_string()
}

#[test]
fn an_empty_file_gives_the_defaults() {
    assert_eq!(load("", &[]).unwrap(), Config::default());
}

#[test]
fn the_smallest_useful_file_works() {
    let config = load(
        "domains = [\"Example.com\"]\ndata_dir = \"/var/lib/chappe\"\n[tls]\ncertificate = \"/etc/chappe/cert.pem\"\n\
         key = \"/etc/chappe/key.pem\"\n",
        &[],
    )
    .unwrap();
    assert!(config.serves("EXAMPLE.COM") && !config.serves("localhost"));
    assert_eq!(config.tls.key.as_deref(), Some(Path::new("/etc/chappe/key.pem")));
}

#[test]
fn the_keys_of_the_contract_are_read() {
    let config = load(
        r#"
[sip]
listen = ["udp://127.0.0.1:5060", "tcp://127.0.0.1:5060", "tls://127.0.0.1:5061"]
next_hops = ["127.0.0.0/8", "::1"]
trusted = ["10.1.0.0/16"]
[http]
listen = ["http://127.0.0.1:8080", "https://127.0.0.1:8443"]
[msrp]
listen = ["tcp://127.0.0.1:2855", "tls://127.0.0.1:2856"]
[media]
listen = "udp://127.0.0.1:10000"
[management]
listen = "http://127.0.0.1:9090"
[store]
url = "sqlite:"
"#,
        &[],
    )
    .unwrap();
    assert_eq!(
        config.sip.listen.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["udp://127.0.0.1:5060", "tcp://127.0.0.1:5060", "tls://127.0.0.1:5061"]
    );
    assert_eq!(config.sip.next_hops.as_deref(), Some(&Network::LOOPBACK[..]));
    assert_eq!(config.media.listen.to_string(), "udp://127.0.0.1:10000");
}

#[test]
fn faults_name_line_column_key_and_what_is_allowed() {
    for (text, expected) in [
        (
            "domains = [\"example.com\"]\n[sip]\nlistne = [\"udp://0.0.0.0:5060\"]\n",
            "\
error: unknown key `listne` in [sip]
 --> server.toml:3:1
  |
3 | listne = [\"udp://0.0.0.0:5060\"]
  | ^^^^^^ did you mean `listen`?",
        ),
        (
            "[sip]\nlisten = [\"udp://0.0.0.0:5060\", \"sctp://0.0.0.0:5060\"]\n",
            "\
error: `sip.listen`: item 2, \"sctp://0.0.0.0:5060\", has the scheme \"sctp\": allowed is \"udp\", \"tcp\" or \"tls\"
 --> server.toml:2:10
  |
2 | listen = [\"udp://0.0.0.0:5060\", \"sctp://0.0.0.0:5060\"]
  |          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ expected a list, each udp://ADDRESS:PORT, tcp://ADDRESS:PORT or \
             tls://ADDRESS:PORT",
        ),
        (
            "[log]\nformat = \"xml\"\n",
            "\
error: `log.format` cannot be \"xml\"
 --> server.toml:2:10
  |
2 | format = \"xml\"
  |          ^^^^^ expected \"text\" or \"json\"",
        ),
        (
            "[sip.timers]\nt1 = \"1ms\"\n",
            "\
error: `sip.timers.t1` cannot be \"1ms\"
 --> server.toml:2:6
  |
2 | t1 = \"1ms\"
  |      ^^^^^ allowed: \"10ms\" to \"10s\"",
        ),
        (
            "sip = 5060\n",
            "\
error: `sip` is a section, not 5060
 --> server.toml:1:7
  |
1 | sip = 5060
  |       ^^^^ write [sip]",
        ),
        (
            "[sip.registration]\nmin_expires = 60\n",
            "\
error: `sip.registration.min_expires` cannot be 60
 --> server.toml:2:15
  |
2 | min_expires = 60
  |               ^^ expected a time with its unit: \"500ms\", \"30s\", \"5m\", \"12h\" or \"7d\"",
        ),
        (
            "[management]\nlisten = \"http://0.0.0.0:9090\"\n",
            "\
error: the management listener is open to the network without a token
 --> server.toml:2:10
  |
2 | listen = \"http://0.0.0.0:9090\"
  |          ^^^^^^^^^^^^^^^^^^^^^ set `management.token` (or `token_file`), or listen on 127.0.0.1",
        ),
        (
            "[tls]\ncertificate = \"/c.pem\"\n",
            "\
error: `tls.certificate` is set and `tls.key` is not
 --> server.toml:2:15
  |
2 | certificate = \"/c.pem\"
  |               ^^^^^^^^ set `tls.key` too",
        ),
    ] {
        assert_eq!(complaint(text), expected);
    }
}

#[test]
fn every_fault_is_told_at_once_in_the_order_of_the_file() {
    let faults = load("data_dri = \"x\"\n[sip]\nudp_workers = 257\n[foo]\n", &[]).expect_err("three faults").faults;
    let told: Vec<_> = faults.iter().map(|fault| (fault.key.as_str(), fault.help.as_deref().unwrap_or(""))).collect();
    assert_eq!(told[0], ("data_dri", "did you mean `data_dir`?"));
    assert_eq!(told[1], ("sip.udp_workers", "allowed: 1 to 256"));
    assert_eq!(told[2].0, "foo");
    assert!(told[2].1.starts_with("allowed: domains, data_dir, sip, "), "{}", told[2].1);
}

#[test]
fn a_file_that_is_not_toml_is_told_by_place() {
    let text = complaint("domains = [\"example.com\"\n[sip]\n");
    assert!(text.starts_with("error: ") && text.contains("server.toml:"), "{text}");
    let text = complaint("[sip]\nlisten = \"udp://127.0.0.1:5060\"\nlisten = \"x\"\n");
    assert!(text.contains("duplicate key") && text.contains("server.toml:3:1"), "{text}");
}

#[test]
fn the_environment_wins_over_the_file() {
    let config = load(
        "[sip]\nlisten = \"udp://127.0.0.1:1\"\n[log]\nlevel = \"warn\"\n",
        &[
            ("CHAPPE__SIP__LISTEN", "udp://127.0.0.1:7, tls://[::1]:8"),
            ("CHAPPE__DOMAINS", r#"["a.example", "b.example"]"#),
            ("CHAPPE__SIP__TIMERS__T1", "\"100ms\""),
            ("CHAPPE__SIP__TIMERS__T2", "1s"),
            ("CHAPPE__LIMITS__PEER_RATE", "7"),
            ("CHAPPE__SIP__RECORD_ROUTE", "false"),
            ("CHAPPE__MANAGEMENT__TOKEN", "s3cret"),
            ("HOME", "/root"),
        ],
    )
    .unwrap();
    let listen: Vec<_> = config.sip.listen.iter().map(ToString::to_string).collect();
    assert_eq!(listen, ["udp://127.0.0.1:7", "tls://[::1]:8"]);
    assert_eq!(config.domains.iter().map(Domain::as_str).collect::<Vec<_>>(), ["a.example", "b.example"]);
    assert_eq!((config.sip.timers.t1, config.sip.timers.t2), (Duration::from_millis(100), Duration::from_secs(1)));
    assert_eq!((config.limits.peer_rate, config.sip.record_route), (7, false));
    assert_eq!(config.management.token.as_ref().map(Secret::expose), Some("s3cret"));
    assert_eq!(config.log.level, "warn");
}

#[test]
fn faults_of_the_environment_name_the_variable() {
    let text = load("", &[("CHAPPE__SIP__LISTNE", "udp://127.0.0.1:7"), ("CHAPPE__SIP__UDP_WORKERS", "many")])
        .expect_err("two faults")
        .to_string();
    assert!(text.contains("no configuration key `sip.listne`"), "{text}");
    assert!(text.contains("did you mean CHAPPE__SIP__LISTEN?"), "{text}");
    assert!(
        text.contains("`sip.udp_workers` cannot be \"many\"\n --> environment variable CHAPPE__SIP__UDP_WORKERS"),
        "{text}"
    );
    let secret = load("", &[("CHAPPE__MANAGEMENT__TOKEN", "")]).expect_err("empty").to_string();
    assert!(secret.contains("`management.token` cannot be that value"), "{secret}");
}

#[test]
fn secrets_come_from_files_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    std::fs::write(&path, "from-file\n").unwrap();
    let text = format!("[management]\ntoken_file = {:?}\n", path.display().to_string());
    let config = load(&text, &[]).unwrap();
    assert_eq!(config.management.token.as_ref().map(Secret::expose), Some("from-file"));
    assert!(!format!("{config:?}").contains("from-file"));

    let both = complaint(&format!("{text}token = \"x\"\n"));
    assert!(both.contains("`management.token` and `management.token_file` are both set"), "{both}");
    let missing = complaint("[management]\ntoken_file = \"/nonexistent/token\"\n");
    assert!(missing.contains("`management.token_file`: cannot read /nonexistent/token"), "{missing}");
}

#[test]
fn extra_certificates_are_a_list_of_sections() {
    let config = load("[[tls.extra]]\ncertificate = \"a\"\nkey = \"b\"\nnames = [\"chat.example\"]\n", &[]).unwrap();
    assert_eq!(config.tls.extra[0].names[0].as_str(), "chat.example");
    let text = complaint("[[tls.extra]]\ncertficate = \"a\"\n");
    assert!(text.contains("unknown key `certficate` in [tls.extra[0]]") && text.contains("`certificate`?"), "{text}");
}

#[test]
fn the_example_and_the_reference_are_up_to_date() {
    assert_generated("examples/server.toml", &example::toml::<Config>());
    assert_generated("docs/reference/configuration.md", &example::markdown::<Config>());
}

#[test]
fn the_example_shows_the_defaults() {
    let example = example::toml::<Config>();
    assert_eq!(load(&example, &[]).unwrap(), Config::default());
    let uncommented: String = example
        .lines()
        .filter(|line| !line.contains("= \"…\""))
        .map(|line| match line.strip_prefix('#') {
            Some(key) if !key.starts_with(' ') => format!("{key}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let config = load(&uncommented, &[]).unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!((config.sip.timers.clone(), config.limits.clone()), Default::default());
    assert_eq!(config.tls.extra.len(), 1);
}

#[test]
fn passwords_of_the_store_are_escaped_in_its_url_and_never_shown() {
    for (url, password, whole, shown) in [
        (
            "postgres://chappe@db/chappe",
            Some("p@ss:/"),
            "postgres://chappe:p%40ss%3A%2F@db/chappe",
            "postgres://chappe@db/chappe",
        ),
        ("postgres://db/chappe", Some("x"), "postgres://chappe:x@db/chappe", "postgres://db/chappe"),
        ("postgres://u:secret@db/chappe", None, "postgres://u:secret@db/chappe", "postgres://u@db/chappe"),
        ("sqlite:", None, "sqlite:", "sqlite:data/chappe.db"),
    ] {
        let mut config = Config { data_dir: "data".into(), ..Config::default() };
        config.store.url = url.into();
        config.store.password = password.map(Secret::new);
        assert_eq!((config.store_url().as_str(), config.store_name().as_str()), (whole, shown));
    }
}

#[test]
fn the_embedded_store_is_a_file_of_the_data_directory() {
    for (url, file) in [
        ("sqlite:", Some("data/chappe.db")),
        ("sqlite:other.db", Some("data/other.db")),
        ("sqlite:///srv/c.db", Some("/srv/c.db")),
        ("memory:", None),
        ("postgres://db/x", None),
    ] {
        let mut config = Config { data_dir: "data".into(), ..Config::default() };
        config.store.url = url.into();
        assert_eq!(config.database().as_deref(), file.map(Path::new), "{url}");
    }
}
