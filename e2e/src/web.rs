//! The web client that the server brings, in headless Chromium: each page is a browser of its own.

use serde_json::{Value, json};

use crate::script::Script;
use crate::{DOMAIN, Server};

/// Browsers that end with this value.
#[derive(Debug)]
pub struct WebClients(Script);

impl WebClients {
    /// Starts Chromium; `None` with a word where there is none, or the server was built without the client.
    ///
    /// # Panics
    /// When it is there and does not start.
    pub fn start(server: &Server) -> Option<WebClients> {
        let index = concat!(env!("CARGO_MANIFEST_DIR"), "/../web/dist/app/index.html");
        if !std::path::Path::new(index).exists() {
            println!("SKIPPED: the web client was not built");
            return None;
        }
        Script::start(server, "web.mjs").map(WebClients)
    }

    /// Opens the client in a new browser.
    pub fn open(&mut self, server: &Server, page: usize, how: Value) {
        let mut with = json!({ "url": format!("http://{}/", server.addr("http")) });
        for (key, value) in how.as_object().into_iter().flatten() {
            with[key] = value.clone();
        }
        self.run(page, "open", with);
    }

    /// Opens the client and signs user N in, in page N.
    ///
    /// # Panics
    /// When that fails.
    pub fn sign_in(&mut self, server: &Server, user: usize, name: &str, how: Value) {
        self.open(server, user, how);
        assert_eq!(self.try_sign_in(user, &format!("pass{user}"), name), "");
    }

    /// Signs user N in; what the page finds fault with.
    pub fn try_sign_in(&mut self, user: usize, password: &str, name: &str) -> String {
        let with = json!({ "user": format!("user{user}@{DOMAIN}"), "password": password, "name": name });
        self.run(user, "signIn", with).as_str().unwrap_or_default().to_owned()
    }

    /// Has a page do something, and gives what it answers.
    ///
    /// # Panics
    /// When the page fails, or takes too long.
    pub fn run(&mut self, page: usize, action: &str, with: Value) -> Value {
        self.0.run(page, action, with)
    }

    /// Waits for a mark at a message of the user's own: `sent`, `delivered`, `displayed`.
    pub fn wait_mark(&mut self, page: usize, text: &str, mark: &str) {
        self.run(page, "mark", json!({ "text": text, "mark": mark }));
    }
}
