//! The operator's console in headless Chromium.

use serde_json::{Value, json};

use crate::Server;
use crate::script::Script;

/// Browsers that end with this value.
#[derive(Debug)]
pub struct Consoles(Script);

impl Consoles {
    /// Starts Chromium; `None` with a word where there is none, or the server was built without the console.
    ///
    /// # Panics
    /// When it is there and does not start.
    pub fn start(server: &Server) -> Option<Consoles> {
        let index = concat!(env!("CARGO_MANIFEST_DIR"), "/../web/dist/app/admin/index.html");
        if !std::path::Path::new(index).exists() {
            println!("SKIPPED: the console was not built");
            return None;
        }
        Script::start(server, "console.mjs").map(Consoles)
    }

    /// Opens the console in a new browser, signed in by the address that `chappe console` prints.
    pub fn open(&mut self, server: &Server, page: usize, how: Value) {
        let mut with = json!({ "url": server.ask(&["console"])["url"] });
        for (key, value) in how.as_object().into_iter().flatten() {
            with[key] = value.clone();
        }
        self.run(page, "open", with);
    }

    /// Has a page do something, and gives what it answers.
    ///
    /// # Panics
    /// When the page fails, or takes too long.
    pub fn run(&mut self, page: usize, action: &str, with: Value) -> Value {
        self.0.run(page, action, with)
    }

    /// Waits until a row of a table says something.
    pub fn row(&mut self, table: &str, of: &str, says: &str) -> String {
        let row = self.run(0, "row", json!({ "table": table, "of": of, "says": says }));
        row.as_str().unwrap_or_default().to_owned()
    }
}
