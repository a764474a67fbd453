use super::*;

#[test]
fn the_text_has_help_type_labels_and_values() {
    let metrics = Metrics::default();
    metrics.requests.with(Method::named(b"MESSAGE")).with(Transport::Tls).add(3);
    metrics.store_queue.set(5);
    metrics.store_write.observe(Duration::from_micros(700));
    metrics.store_write.observe(Duration::from_secs(60));
    let text = metrics.render(|out| {
        out.family("chappe_extra_total", Kind::Counter, "More.\nTwo lines.").sample(&[("a", "quote \" and \\")], 1);
    });
    for expected in [
        "# HELP chappe_sip_requests_total SIP requests received.\n# TYPE chappe_sip_requests_total counter\n",
        "\nchappe_sip_requests_total{method=\"MESSAGE\",transport=\"tls\"} 3\n",
        "\nchappe_sip_requests_total{method=\"other\",transport=\"udp\"} 0\n",
        "# TYPE chappe_store_queue gauge\nchappe_store_queue 5\n",
        "# TYPE chappe_store_write_seconds histogram\nchappe_store_write_seconds_bucket{le=\"0.0001\"} 0\n",
        "\nchappe_store_write_seconds_bucket{le=\"0.001\"} 1\n",
        "\nchappe_store_write_seconds_bucket{le=\"30\"} 1\nchappe_store_write_seconds_bucket{le=\"+Inf\"} 2\n",
        "\nchappe_store_write_seconds_sum 60.0007\nchappe_store_write_seconds_count 2\n",
        "# HELP chappe_extra_total More.\\nTwo lines.\n",
        "\nchappe_extra_total{a=\"quote \\\" and \\\\\"} 1\n",
        "\nprocess_open_fds ",
    ] {
        assert!(text.contains(expected), "{expected}\nin\n{text}");
    }
}

#[test]
fn names_follow_the_rules() {
    let text = Metrics::default().render(|_| {});
    let mut seen = std::collections::HashSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(seen.insert(name.to_owned()), "{name} twice");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
            assert_eq!(kind == "histogram", name.ends_with("_seconds"), "{name} is a {kind}");
        } else if let Some(rest) = line.strip_prefix("# HELP ") {
            assert!(rest.ends_with('.'), "{rest}");
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
            let name = series.split('{').next().unwrap();
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
            assert!(seen.contains(family) || seen.contains(name), "{line} before its type");
        }
    }
}

#[test]
fn every_method_has_its_own_series() {
    for (name, value) in [(&b"REGISTER"[..], 0), (b"REFER", 13), (b"message", 14), (b"FOO", 14)] {
        assert_eq!(Method::named(name).index(), value);
    }
}
