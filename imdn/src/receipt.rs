//! A receipt ready for the wire: the notification in its envelope (RFC 5438 §7.2.1).

use crate::compose::Envelope;
use crate::cpim::Cpim;
use crate::date::date_time;
use crate::disposition::{Disposition, Status};
use crate::header::IMDN_NAMESPACE;
use crate::media::IMDN_TYPE;
use crate::notification::Notification;

/// What a receipt says, and to whom it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt<'a> {
    /// Whose receipt it is: the recipient of the message.
    pub from: &'a str,
    /// The sender of the message.
    pub to: &'a str,
    /// The message's own id.
    pub message_id: &'a str,
    /// The message's own `DateTime`, or when it was accepted if it had none.
    pub sent: &'a str,
    /// Whom the message was sent to, where a list server rewrote its `To`.
    pub original_to: Option<&'a str>,
    /// `IMDN-Record-Route` of the message, in its order.
    pub routes: Vec<&'a str>,
    pub disposition: Disposition,
    pub status: Status,
}

impl<'a> Receipt<'a> {
    /// The message reached the recipient.
    pub fn delivered(from: &'a str, to: &'a str, message_id: &'a str, sent: &'a str) -> Self {
        let (disposition, status) = (Disposition::Delivery, Status::Delivered);
        Self { from, to, message_id, sent, original_to: None, routes: Vec::new(), disposition, status }
    }

    /// The message will not reach the recipient: refused, or expired while it waited. RFC 5438 has one word for both.
    pub fn failed(from: &'a str, to: &'a str, message_id: &'a str, sent: &'a str) -> Self {
        Self { status: Status::Failed, ..Self::delivered(from, to, message_id, sent) }
    }

    /// The message waits for the recipient to come back; only intermediaries say so (RFC 5438 §8.1).
    pub fn stored(from: &'a str, to: &'a str, message_id: &'a str, sent: &'a str) -> Self {
        let (disposition, status) = (Disposition::Processing, Status::Stored);
        Self { disposition, status, ..Self::delivered(from, to, message_id, sent) }
    }

    /// Takes from the message what its receipts have to carry back: the routes and the original recipient.
    #[must_use]
    pub fn about(mut self, message: &'a Cpim<'_>) -> Self {
        self.routes = message.record_routes().into_iter().map(|address| address.uri).collect();
        self.original_to = message.original_to().map(|address| address.uri);
        self
    }

    /// The body of type `message/cpim`. `id` is the receipt's own Message-ID, `now` in milliseconds since the epoch.
    pub fn to_cpim(&self, id: &str, now: u64) -> Vec<u8> {
        let mut envelope = Envelope::new(self.from, self.to)
            .namespace("imdn", IMDN_NAMESPACE)
            .header("imdn.Message-ID", id)
            .header("DateTime", &date_time(now));
        for route in &self.routes {
            envelope = envelope.address("imdn.IMDN-Route", None, route);
        }
        let more = [("Content-Disposition", "notification")];
        envelope.content(IMDN_TYPE, &more, self.notification().to_xml().as_bytes())
    }

    /// The notification alone, of type `message/imdn+xml`.
    pub fn notification(&self) -> Notification {
        Notification {
            message_id: self.message_id.to_owned(),
            date_time: self.sent.to_owned(),
            recipient: Some(self.from.to_owned()),
            original_recipient: self.original_to.map(str::to_owned),
            subject: None,
            disposition: self.disposition,
            status: self.status,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Content, classify};

    #[test]
    fn the_whole_body() {
        let receipt = Receipt::delivered("sip:bob@example.com", "sip:alice@example.com", "M1", "2026-03-04T10:15:30Z");
        let expected = "From: <sip:bob@example.com>\r\n\
             To: <sip:alice@example.com>\r\n\
             NS: imdn <urn:ietf:params:imdn>\r\n\
             imdn.Message-ID: N1\r\n\
             DateTime: 2026-03-04T10:15:31.002Z\r\n\
             \r\n\
             Content-Type: message/imdn+xml\r\n\
             Content-Disposition: notification\r\n\
             Content-Length: 375\r\n\
             \r\n\
             <?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n\
             <imdn xmlns=\"urn:ietf:params:xml:ns:imdn\">\r\n\
             \u{20} <message-id>M1</message-id>\r\n\
             \u{20} <datetime>2026-03-04T10:15:30Z</datetime>\r\n\
             \u{20} <recipient-uri>sip:bob@example.com</recipient-uri>\r\n\
             \u{20} <original-recipient-uri>sip:bob@example.com</original-recipient-uri>\r\n\
             \u{20} <delivery-notification><status><delivered/></status></delivery-notification>\r\n\
             </imdn>\r\n";
        assert_eq!(String::from_utf8(receipt.to_cpim("N1", 1_772_619_331_002)).unwrap(), expected);
    }

    #[test]
    fn takes_routes_and_original_recipient_along() {
        let message = Cpim::parse(
            b"NS: imdn <urn:ietf:params:imdn>\r\nimdn.IMDN-Record-Route: <sip:near@b>\r\n\
              imdn.IMDN-Record-Route: <sip:far@b>\r\nimdn.Original-To: <sip:list@b>\r\n\r\n\r\n",
        )
        .unwrap();
        for (receipt, disposition, status) in [
            (Receipt::failed("sip:r@b", "sip:s@b", "M", "d"), Disposition::Delivery, Status::Failed),
            (Receipt::stored("sip:r@b", "sip:s@b", "M", "d"), Disposition::Processing, Status::Stored),
        ] {
            let body = receipt.about(&message).to_cpim("N", 0);
            let Ok(Content::Receipt { envelope: Some(envelope), notification: Ok(seen) }) =
                classify("message/cpim", &body)
            else {
                panic!("{}", String::from_utf8_lossy(&body))
            };
            let routes: Vec<_> = envelope.routes().into_iter().map(|address| address.uri).collect();
            assert_eq!(routes, ["sip:near@b", "sip:far@b"]);
            assert!(envelope.record_routes().is_empty());
            assert_eq!(envelope.message_id(), Some("N"));
            assert_eq!(seen.original_recipient.as_deref(), Some("sip:list@b"));
            assert_eq!((seen.message_id.as_str(), seen.disposition, seen.status), ("M", disposition, status));
        }
    }
}
