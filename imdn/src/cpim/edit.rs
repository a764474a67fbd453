//! What an intermediary may change in an envelope; every other byte stays.

use super::Cpim;
use crate::address::push_address;
use crate::date::date_time;
use crate::header::{CORE_NAMESPACE, Header, IMDN_NAMESPACE};

impl<'a> Cpim<'a> {
    /// Puts our address on top of the intermediaries through which receipts go back (RFC 5438 §8).
    pub fn add_record_route(&mut self, uri: &str) {
        let (prefix, declared) = self.imdn_prefix();
        let top = self.resolved().position(|(namespace, name, _)| {
            namespace == IMDN_NAMESPACE && name.eq_ignore_ascii_case("IMDN-Record-Route")
        });
        // Never above the declaration of the prefix (RFC 3862 §3.4).
        let at = top.map_or(self.headers.len(), |top| top.max(declared + 1));
        self.insert(at, address_header(&format!("{prefix}.IMDN-Record-Route"), uri));
    }

    /// Notes whom the message was sent to, unless that is noted already (RFC 5438 §6.4).
    pub fn set_original_to(&mut self, uri: &str) {
        if self.first(IMDN_NAMESPACE, "Original-To").is_none() {
            let (prefix, _) = self.imdn_prefix();
            self.insert(self.headers.len(), address_header(&format!("{prefix}.Original-To"), uri));
        }
    }

    /// Sends a copy to one recipient of a list (RFC 5438 §8). Where the message went first is kept in `Original-To`
    /// unless `disclose` is false, for operators that do not tell.
    pub fn redirect(&mut self, uri: &str, disclose: bool) {
        let original = self.to().first().map(|address| address.uri.to_owned());
        if let Some(original) = original.filter(|_| disclose) {
            self.set_original_to(&original);
        }
        let mut places = self.places(CORE_NAMESPACE, "To").into_iter();
        match places.next() {
            Some(first) => {
                places.rev().for_each(|at| drop(self.headers.remove(at)));
                self.headers[first] = address_header("To", uri);
            }
            None => self.push(address_header("To", uri)),
        }
    }

    /// Dates a message whose sender has not, in milliseconds since the epoch, and returns whether it had to be. A date
    /// that is there belongs to the sender.
    pub fn set_date_time(&mut self, millis: u64) -> bool {
        let missing = self.first(CORE_NAMESPACE, "DateTime").is_none();
        if missing {
            self.push(Header::written("DateTime", &date_time(millis)));
        }
        missing
    }

    /// Adds a header behind the others.
    pub fn push(&mut self, header: Header<'static>) {
        self.insert(self.headers.len(), header);
    }

    /// Takes all headers of this name out, and returns how many there were.
    pub fn remove(&mut self, namespace: &str, name: &str) -> usize {
        let places = self.places(namespace, name);
        places.iter().rev().for_each(|at| drop(self.headers.remove(*at)));
        places.len()
    }

    /// Takes the top intermediary off a receipt, once it is us, and returns whether there was one (RFC 5438 §8).
    pub fn pop_route(&mut self) -> bool {
        let top = self.places(IMDN_NAMESPACE, "IMDN-Route").into_iter().next();
        top.map(|at| self.headers.remove(at)).is_some()
    }

    /// Takes us off the top of a receipt's intermediaries, and returns where it goes from here: to the next of them,
    /// or else to its recipient (RFC 5438 §8).
    pub fn pass_receipt(&mut self, is_us: impl Fn(&str) -> bool) -> Option<String> {
        loop {
            match self.routes().first() {
                Some(top) if !is_us(top.uri) => return Some(top.uri.to_owned()),
                Some(_) => {}
                None => return self.to().first().map(|address| address.uri.to_owned()),
            }
            // Headers that hold no address go as well, since nothing can be routed by them.
            self.pop_route();
        }
    }

    /// Where the headers are that [`Cpim::all`] finds.
    fn places(&self, namespace: &str, name: &str) -> Vec<usize> {
        let wanted = self.all(namespace, name);
        let found = |header: &Header<'a>| wanted.iter().any(|one| std::ptr::eq(*one, header));
        (0..self.headers.len()).filter(|at| found(&self.headers[*at])).collect()
    }

    /// The prefix of the IMDN namespace and where it is declared; declares one if there is none.
    fn imdn_prefix(&mut self) -> (String, usize) {
        // The last declaration of each prefix holds at the end of the headers.
        let mut declared: Vec<(&str, &str, usize)> = Vec::new();
        for (at, header) in self.headers.iter().enumerate() {
            if let Some((Some(prefix), uri)) = header.declaration() {
                declared.retain(|(known, ..)| *known != prefix);
                declared.push((prefix, uri, at));
            }
        }
        let usable = |prefix: &str| Header::new(&format!("{prefix}.X"), "").name() == format!("{prefix}.X");
        let found = declared.iter().find(|(prefix, uri, _)| *uri == IMDN_NAMESPACE && usable(prefix));
        if let Some((prefix, _, at)) = found.filter(|(prefix, ..)| !prefix.contains('.')) {
            return ((*prefix).to_owned(), *at);
        }
        let free = |prefix: &String| !declared.iter().any(|(known, ..)| known == prefix);
        let prefix = std::iter::once("imdn".to_owned()).chain((1..).map(|n| format!("imdn{n}"))).find(free);
        let prefix = prefix.expect("the names are endless");
        self.insert(0, Header::written("NS", &format!("{prefix} <{IMDN_NAMESPACE}>")));
        (prefix, 0)
    }

    fn insert(&mut self, at: usize, header: Header<'a>) {
        // An envelope that ends within its headers may lack the last line end.
        if let Some(last) = self.headers.last_mut() {
            last.end_line();
        }
        self.headers.insert(at, header);
    }
}

fn address_header(name: &str, uri: &str) -> Header<'static> {
    let mut value = String::with_capacity(uri.len() + 2);
    push_address(&mut value, None, uri);
    Header::written(name, &value)
}
