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
    /// The recipient as the sender is told of it.
    pub recipient: Option<&'a str>,
    /// Whom the message was sent to, where a list server rewrote its `To`.
    pub original_to: Option<&'a str>,
    /// `IMDN-Record-Route` of the message, in its order.
    pub routes: Vec<&'a str>,
    pub disposition: Disposition,
    pub status: Status,
}

impl<'a> Receipt<'a> {
    /// Any receipt; `None` for a status that does not go with the disposition.
    pub fn new(
        from: &'a str,
        to: &'a str,
        message_id: &'a str,
        sent: &'a str,
        (disposition, status): (Disposition, Status),
    ) -> Option<Self> {
        let receipt = Self::delivered(from, to, message_id, sent);
        status.fits(disposition).then_some(Self { disposition, status, ..receipt })
    }

    /// The message reached the recipient.
    pub fn delivered(from: &'a str, to: &'a str, message_id: &'a str, sent: &'a str) -> Self {
        let (disposition, status) = (Disposition::Delivery, Status::Delivered);
        let recipient = Some(from);
        Self { from, to, message_id, sent, recipient, original_to: None, routes: Vec::new(), disposition, status }
    }

    /// The message will not reach the recipient: refused, or expired while it waited. RFC 5438 has one word for both.
    pub fn failed(from: &'a str, to: &'a str, message_id: &'a str, sent: &'a str) -> Self {
        Self { status: Status::Failed, ..Self::delivered(from, to, message_id, sent) }
    }

    /// The message was shown to the recipient.
    pub fn displayed(from: &'a str, to: &'a str, message_id: &'a str, sent: &'a str) -> Self {
        let (disposition, status) = (Disposition::Display, Status::Displayed);
        Self { disposition, status, ..Self::delivered(from, to, message_id, sent) }
    }

    /// The message went on; only intermediaries say so (RFC 5438 §8.1).
    pub fn processed(from: &'a str, to: &'a str, message_id: &'a str, sent: &'a str) -> Self {
        let (disposition, status) = (Disposition::Processing, Status::Processed);
        Self { disposition, status, ..Self::delivered(from, to, message_id, sent) }
    }

    /// The message waits for the recipient to come back; only intermediaries say so (RFC 5438 §8.1).
    pub fn stored(from: &'a str, to: &'a str, message_id: &'a str, sent: &'a str) -> Self {
        Self { status: Status::Stored, ..Self::processed(from, to, message_id, sent) }
    }

    /// The recipient by another address than that of the envelope, which may be anonymous; `None` for members of a
    /// list that the sender may not see (RFC 5438 §8).
    #[must_use]
    pub fn naming(self, recipient: Option<&'a str>) -> Self {
        Self { recipient, ..self }
    }

    /// Takes from the message what its receipts have to carry back: the routes and the original recipient.
    #[must_use]
    pub fn about(mut self, message: &'a Cpim<'_>) -> Self {
        self.routes = message.record_routes().into_iter().map(|address| address.uri).collect();
        self.original_to = message.original_to().map(|address| address.uri);
        self
    }

    /// Where it is to be sent: to the nearest intermediary, or else to the sender (RFC 5438 §7.2.1).
    pub fn target(&self) -> &'a str {
        self.routes.first().copied().unwrap_or(self.to)
    }

    /// The body of type `message/cpim`. `id` is the receipt's own Message-ID, `now` in milliseconds since the epoch.
    pub fn to_cpim(&self, id: &str, now: u64) -> Vec<u8> {
        let more = [("Content-Disposition", "notification")];
        let envelope = envelope((self.from, self.to), &self.routes, id, now);
        envelope.content(IMDN_TYPE, &more, self.notification().to_xml().as_bytes())
    }

    /// The notification alone, of type `message/imdn+xml`.
    pub fn notification(&self) -> Notification {
        Notification {
            message_id: self.message_id.to_owned(),
            date_time: self.sent.to_owned(),
            recipient: self.recipient.map(str::to_owned),
            // Whoever hides the one hides the other.
            original_recipient: self.original_to.filter(|_| self.recipient.is_some()).map(str::to_owned),
            subject: None,
            disposition: self.disposition,
            status: self.status,
        }
    }
}

/// The headers of a receipt.
pub(crate) fn envelope((from, to): (&str, &str), routes: &[&str], id: &str, now: u64) -> Envelope {
    let envelope = Envelope::new(from, to)
        .namespace("imdn", IMDN_NAMESPACE)
        .header("imdn.Message-ID", id)
        .header("DateTime", &date_time(now));
    routes.iter().fold(envelope, |envelope, route| envelope.address("imdn.IMDN-Route", None, route))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Content, classify};

    #[test]
    fn of_every_kind() {
        let kinds = [Disposition::Delivery, Disposition::Display, Disposition::Processing, Disposition::Interworking];
        for (disposition, status) in kinds.into_iter().flat_map(|kind| Status::ALL.map(|status| (kind, status))) {
            let receipt = Receipt::new("sip:r@b", "sip:s@b", "M", "d", (disposition, status));
            assert_eq!(receipt.is_some(), status.fits(disposition), "{disposition:?} {status:?}");
            let Some(receipt) = receipt else { continue };
            let body = receipt.to_cpim("N", 0);
            let seen = Cpim::parse(&body).unwrap().notifications().remove(0).unwrap();
            assert_eq!((seen.disposition, seen.status), (disposition, status));
        }
        let args = ("sip:r@b", "sip:s@b", "M", "d");
        let displayed = Receipt::displayed(args.0, args.1, args.2, args.3);
        assert_eq!((displayed.disposition, displayed.status), (Disposition::Display, Status::Displayed));
        let processed = Receipt::processed(args.0, args.1, args.2, args.3);
        assert_eq!((processed.disposition, processed.status), (Disposition::Processing, Status::Processed));
    }

    #[test]
    fn names_the_recipient_as_told() {
        let receipt = Receipt::delivered("sip:anonymous@anonymous.invalid", "sip:s@b", "M", "d");
        let named = receipt.clone().naming(Some("tel:+15550100002")).notification();
        assert_eq!(named.recipient.as_deref(), Some("tel:+15550100002"));
        let hidden = Receipt { original_to: Some("sip:list@b"), ..receipt }.naming(None).notification();
        assert_eq!((&hidden.recipient, &hidden.original_recipient), (&None, &None));
        assert!(!hidden.to_xml().contains("uri>"));
    }

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
            let receipt = receipt.about(&message);
            assert_eq!(receipt.target(), "sip:near@b");
            let body = receipt.to_cpim("N", 0);
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
