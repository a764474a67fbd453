//! JsSIP in headless Chromium, a page for each phone.

use serde_json::{Value, json};

use crate::script::Script;
use crate::{DOMAIN, Server};

/// A browser that ends with this value.
#[derive(Debug)]
pub struct Browser(Script);

/// Which WebSocket of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Socket {
    Ws,
    Wss,
}

impl Browser {
    /// Starts one; `None` with a word where there is no Chromium, Node or JsSIP.
    ///
    /// # Panics
    /// When it is there and does not start.
    pub fn start(server: &Server) -> Option<Browser> {
        Script::start(server, "browser.mjs").map(Browser)
    }

    /// Has a page do something, and gives what it answers.
    ///
    /// # Panics
    /// When the page fails, or takes too long.
    pub fn run(&mut self, page: usize, action: &str, with: Value) -> Value {
        self.0.run(page, action, with)
    }

    /// Registers user N in page N.
    pub fn register(&mut self, server: &Server, user: usize, socket: Socket) {
        let url = match socket {
            Socket::Ws => format!("ws://{}/ws", server.addr("http")),
            Socket::Wss => format!("wss://{}/ws", server.addr("https")),
        };
        let with = json!({ "url": url, "uri": format!("sip:user{user}@{DOMAIN}"), "password": format!("pass{user}") });
        self.run(user, "register", with);
    }

    /// Sends a text from one user to another, and gives the code of the response.
    pub fn send(&mut self, from: usize, to: usize, text: &str) -> Value {
        self.run(from, "send", json!({ "to": format!("sip:user{to}@{DOMAIN}"), "text": text }))
    }

    /// The next text that comes to a user.
    pub fn text(&mut self, user: usize) -> String {
        let message = self.run(user, "message", Value::Null);
        message["text"].as_str().unwrap_or_else(|| panic!("no text in {message}")).to_owned()
    }

    /// Begins to call somebody.
    pub fn call(&mut self, from: usize, to: usize) {
        self.run(from, "call", json!({ "to": format!("sip:user{to}@{DOMAIN}") }));
    }

    /// Has a page say a tone of so many Hz from now on.
    pub fn voice(&mut self, user: usize, hz: u32) {
        self.run(user, "voice", json!({ "hz": hz }));
    }

    /// Waits until a page hears a tone of about so many Hz.
    ///
    /// # Panics
    /// When it hears another one.
    pub fn expect_tone(&mut self, user: usize, hz: u32) {
        let heard = self.act(user, "hears");
        let near = heard.as_f64().is_some_and(|heard| (heard - f64::from(hz)).abs() < 15.0);
        assert!(near, "user{user} hears {heard} Hz, not {hz}");
    }

    /// Has a page do something that needs nothing more.
    pub fn act(&mut self, user: usize, action: &str) -> Value {
        self.run(user, action, Value::Null)
    }
}
