use super::*;

struct Users;

impl Known for Users {
    fn user_of(&self, number: &str) -> Option<Box<str>> {
        (number == "+15550100002").then(|| "bob@d".into())
    }

    fn token(&self, token: &str) -> Option<Box<str>> {
        (token == "good").then(|| "bob@d".into())
    }
}

const SECURE: Arrival<'static> = Arrival { secure: true, enriched: None, session: None };
const PLAIN: Arrival<'static> = Arrival { secure: false, enriched: None, session: None };

/// An exchange with a clock, and random values that differ each time.
struct Bed {
    exchange: Exchange,
    now: u64,
    count: u8,
}

impl Bed {
    fn new(config: ExchangeConfig) -> Bed {
        Bed { exchange: Exchange::new(config), now: 1_000_000, count: 0 }
    }

    fn ask(&mut self, arrival: Arrival<'_>, query: &str) -> Answer {
        self.count += 1;
        let fresh = Fresh { session: [self.count; 16], code: 482_900 + u64::from(self.count) };
        self.exchange.ask(arrival, &Query::read(query).unwrap(), &Users, self.now, fresh)
    }
}

fn configured(token: bool) -> Answer {
    Answer::Configure { user: "bob@d".into(), token, began: None }
}

#[test]
fn the_gateway_says_the_number_and_the_cookie_carries_it_to_tls() {
    let mut bed = Bed::new(ExchangeConfig::default());
    let Answer::Recognised { session } = bed.ask(Arrival { enriched: Some("+15550100002"), ..PLAIN }, "") else {
        panic!()
    };
    let with = Arrival { session: Some(session), ..SECURE };
    assert_eq!(bed.ask(with, "vers=0&IMSI=001010000000001"), configured(false));
    // Also for a second answer that was lost on its way.
    assert_eq!(bed.ask(with, "vers=0"), configured(false));
    bed.now += 900;
    assert_eq!(bed.ask(with, "vers=0"), Answer::Again);
    assert_eq!(bed.ask(Arrival { enriched: Some("+19"), ..PLAIN }, ""), Answer::Forbidden);
    assert_eq!(bed.ask(PLAIN, ""), Answer::Again);
    assert_eq!(bed.ask(Arrival { enriched: Some("+15550100002"), ..SECURE }, "vers=0"), configured(false));
}

#[test]
fn nothing_but_the_first_step_goes_without_tls() {
    let mut bed = Bed::new(ExchangeConfig::default());
    for query in ["token=good", "msisdn=%2B15550100002", "OTP=482901", "vers=1"] {
        assert_eq!(bed.ask(PLAIN, query), Answer::Again, "{query}");
    }
    assert!(bed.exchange.is_empty());
}

#[test]
fn a_one_time_password_is_good_once_and_for_its_session() {
    let mut bed = Bed::new(ExchangeConfig::default());
    let Answer::Wait { session, send: Some(pending) } = bed.ask(SECURE, "vers=0&msisdn=%2B15550100002&SMS_port=37001")
    else {
        panic!()
    };
    assert_eq!((&*pending.number, pending.port, pending.code.as_str()), ("+15550100002", 37001, "482901"));
    let with = Arrival { session: Some(session), ..SECURE };
    assert_eq!(bed.ask(SECURE, "OTP=482901"), Answer::Again, "without the cookie");
    assert_eq!(bed.ask(Arrival { session: Some(SessionId([9; 16])), ..SECURE }, "OTP=482901"), Answer::Again);
    assert_eq!(bed.ask(with, "OTP=000000"), Answer::Again);
    // What the handset said of itself with its first request counts for the document.
    let Answer::Configure { user, token: true, began: Some(began) } = bed.ask(with, "OTP=482901") else { panic!() };
    assert_eq!((&*user, began.vers, began.sms_port), ("bob@d", Some(0), 37001));
    assert_eq!(bed.ask(with, "OTP=482901"), Answer::Again, "used up");
}

#[test]
fn five_wrong_passwords_end_the_session_and_so_does_time() {
    let mut bed = Bed::new(ExchangeConfig::default());
    let Answer::Wait { session, .. } = bed.ask(SECURE, "msisdn=15550100002") else { panic!() };
    let with = Arrival { session: Some(session), ..SECURE };
    for attempt in 1..=5 {
        let expected = if attempt < 5 { Answer::Again } else { Answer::Forbidden };
        assert_eq!(bed.ask(with, "OTP=1"), expected, "{attempt}");
    }
    assert_eq!(bed.ask(with, "OTP=482901"), Answer::Again);
    let Answer::Wait { session, .. } = bed.ask(SECURE, "msisdn=15550100002") else { panic!() };
    bed.now += 900;
    assert_eq!(bed.ask(Arrival { session: Some(session), ..SECURE }, "OTP=482908"), Answer::Again);
}

#[test]
fn an_unknown_number_is_answered_like_a_known_one() {
    let mut bed = Bed::new(ExchangeConfig::default());
    let Answer::Wait { session, send: None } = bed.ask(SECURE, "msisdn=%2B15550109999") else { panic!() };
    let with = Arrival { session: Some(session), ..SECURE };
    // Even the right guess brings nothing, and counts as wrong.
    for attempt in 1..=5 {
        let expected = if attempt < 5 { Answer::Again } else { Answer::Forbidden };
        assert_eq!(bed.ask(with, "OTP=482901"), expected, "{attempt}");
    }
    for _ in 1..5 {
        assert!(matches!(bed.ask(SECURE, "msisdn=%2B15550109999"), Answer::Wait { send: None, .. }));
    }
    assert_eq!(bed.ask(SECURE, "msisdn=%2B15550109999"), Answer::TooMany { retry_after: 3600 });
}

#[test]
fn a_number_gets_so_many_passwords_in_a_window() {
    let mut bed = Bed::new(ExchangeConfig::default());
    for _ in 0..5 {
        assert!(matches!(bed.ask(SECURE, "msisdn=15550100002"), Answer::Wait { send: Some(_), .. }));
    }
    bed.now += 600;
    assert_eq!(bed.ask(SECURE, "msisdn=15550100002"), Answer::TooMany { retry_after: 3000 });
    bed.now += 3000;
    assert!(matches!(bed.ask(SECURE, "msisdn=15550100002"), Answer::Wait { send: Some(_), .. }));
}

#[test]
fn a_token_spares_the_password_and_a_bad_one_leads_back_to_it() {
    let mut bed = Bed::new(ExchangeConfig::default());
    assert_eq!(bed.ask(SECURE, "vers=3&token=good"), configured(true));
    assert_eq!(bed.ask(SECURE, "vers=3&token=bad"), Answer::Again);
    assert!(matches!(bed.ask(SECURE, "token=bad&msisdn=15550100002"), Answer::Wait { send: Some(_), .. }));
    let mut mute = Bed::new(ExchangeConfig { can_send: false, ..ExchangeConfig::default() });
    assert_eq!(mute.ask(SECURE, "msisdn=15550100002"), Answer::Forbidden);
}

#[test]
fn what_is_kept_is_bounded() {
    let mut bed = Bed::new(ExchangeConfig { capacity: 2, ..ExchangeConfig::default() });
    for number in ["+100000", "+100001"] {
        assert!(matches!(bed.ask(SECURE, &format!("msisdn={number}")), Answer::Wait { .. }));
    }
    assert_eq!(bed.ask(SECURE, "msisdn=%2B100002"), Answer::TooMany { retry_after: 3600 });
    assert_eq!(bed.ask(Arrival { enriched: Some("+15550100002"), ..PLAIN }, ""), Answer::Busy { retry_after: 900 });
    bed.now += 3600;
    bed.exchange.expire(bed.now);
    assert_eq!(bed.exchange.len(), 0);
    assert!(matches!(bed.ask(SECURE, "msisdn=%2B100002"), Answer::Wait { .. }));
}

#[test]
fn session_names_are_read_as_written() {
    let id = SessionId([0xab; 16]);
    assert_eq!(id.to_string().parse(), Ok(id));
    for wrong in ["", "x", "+bababababababababababababababab", "é"] {
        assert_eq!(wrong.parse::<SessionId>(), Err(()), "{wrong}");
    }
}
