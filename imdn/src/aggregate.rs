//! Several notifications in one receipt (RFC 5438 §8.3).

use crate::media::{IMDN_TYPE, MIXED_TYPE, is_imdn};
use crate::multipart::{MultipartError, leaves};
use crate::notification::Notification;
use crate::receipt::envelope;
use crate::xml::XmlError;

/// Notifications about one message, ready for the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aggregate<'a> {
    /// Who collected them.
    pub from: &'a str,
    /// The sender of the message.
    pub to: &'a str,
    /// `IMDN-Record-Route` of the message as the collector got it, in its order.
    pub routes: Vec<&'a str>,
    /// Documents of type `message/imdn+xml`.
    pub documents: Vec<Vec<u8>>,
}

impl Aggregate<'_> {
    /// The body of type `message/cpim`, a plain receipt if there is one document only. `id` is the receipt's own
    /// Message-ID, `now` in milliseconds since the epoch.
    pub fn to_cpim(&self, id: &str, now: u64) -> Vec<u8> {
        let envelope = envelope((self.from, self.to), &self.routes, id, now);
        let more = [("Content-Disposition", "notification")];
        if let [only] = self.documents.as_slice() {
            return envelope.content(IMDN_TYPE, &more, only);
        }
        let (content_type, body) = self.to_multipart(id);
        envelope.content(&content_type, &more, &body)
    }

    /// The multipart/mixed alone: its `Content-Type` value and its body. The boundary is made from `seed`.
    pub fn to_multipart(&self, seed: &str) -> (String, Vec<u8>) {
        let boundary = boundary(&self.documents, seed);
        let mut body = Vec::with_capacity(self.documents.iter().map(|document| document.len() + 120).sum());
        for document in &self.documents {
            body.extend_from_slice(format!("--{boundary}\r\nContent-Type: {IMDN_TYPE}\r\n\r\n").as_bytes());
            body.extend_from_slice(document);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        (format!("{MIXED_TYPE}; boundary=\"{boundary}\""), body)
    }
}

/// Whether a multipart holds notifications.
pub(crate) fn is_aggregate(content_type: &str, body: &[u8]) -> bool {
    leaves(content_type, body).is_ok_and(|parts| parts.iter().any(|part| is_imdn(part.content_type())))
}

/// The notifications in a multipart, in order; other parts are passed over. An error stands for one that cannot be
/// read, and harms no other.
pub fn notifications(content_type: &str, body: &[u8]) -> Result<Vec<Result<Notification, XmlError>>, MultipartError> {
    let parts = leaves(content_type, body)?;
    let documents = parts.iter().filter(|part| is_imdn(part.content_type()));
    let read =
        documents.map(|part| part.decoded_body().map_or(Err(XmlError::Encoding), |body| Notification::parse(&body)));
    Ok(read.collect())
}

/// A boundary that no document has.
fn boundary(documents: &[Vec<u8>], seed: &str) -> String {
    let seed: String = seed.chars().filter(char::is_ascii_alphanumeric).take(40).collect();
    let mut boundary = format!("imdn-{seed}");
    let mut tries = 0_u32;
    while documents.iter().any(|document| document.windows(boundary.len()).any(|part| part == boundary.as_bytes())) {
        tries += 1;
        boundary = format!("imdn-{seed}-{tries}");
    }
    boundary
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Content, Cpim, Receipt, Status, classify};
    use proptest::prelude::*;

    fn document(recipient: &str) -> Vec<u8> {
        Receipt::delivered(recipient, "sip:s@b", "M", "d").notification().to_xml().into_bytes()
    }

    fn aggregate(documents: Vec<Vec<u8>>) -> Aggregate<'static> {
        Aggregate { from: "sip:list@b", to: "sip:s@b", routes: vec!["sip:as@b"], documents }
    }

    #[test]
    fn the_whole_body() {
        let body = aggregate(vec![b"<a/>".to_vec(), b"<b/>\n".to_vec()]).to_cpim("N1", 1_772_619_331_002);
        assert_eq!(
            String::from_utf8(body).unwrap(),
            "From: <sip:list@b>\r\nTo: <sip:s@b>\r\nNS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: N1\r\n\
             DateTime: 2026-03-04T10:15:31.002Z\r\nimdn.IMDN-Route: <sip:as@b>\r\n\r\n\
             Content-Type: multipart/mixed; boundary=\"imdn-N1\"\r\nContent-Disposition: notification\r\n\
             Content-Length: 116\r\n\r\n\
             --imdn-N1\r\nContent-Type: message/imdn+xml\r\n\r\n<a/>\r\n\
             --imdn-N1\r\nContent-Type: message/imdn+xml\r\n\r\n<b/>\n\r\n--imdn-N1--\r\n"
        );
    }

    #[test]
    fn one_alone_is_a_plain_receipt() {
        let body = aggregate(vec![document("sip:r@b")]).to_cpim("N", 0);
        let Ok(Content::Receipt { notification: Ok(seen), .. }) = classify("message/cpim", &body) else { panic!() };
        assert_eq!(seen.recipient.as_deref(), Some("sip:r@b"));
    }

    #[test]
    fn the_boundary_is_in_no_document() {
        let documents = vec![b"imdn-N".to_vec(), b"\r\n--imdn-N-1--\r\nimdn-N-2".to_vec()];
        assert_eq!(boundary(&documents, "N\r\n\""), "imdn-N-3");
        let (content_type, body) = aggregate(documents.clone()).to_multipart("N");
        let seen: Vec<_> = leaves(&content_type, &body).unwrap().iter().map(|part| part.body().to_vec()).collect();
        assert_eq!(seen, documents);
    }

    /// The example of RFC 5438 §8.3 has no empty line before the content headers, a folded type and no closing boundary.
    #[test]
    fn read_leniently() {
        let xml = |id: &str| {
            format!(
                "<imdn><message-id>{id}</message-id><delivery-notification><status><failed/></status></delivery-notification></imdn>"
            )
        };
        for disposition in ["Content-Disposition: notification\r\n", ""] {
            let body = format!(
                "From: Bob <im:bob@example.com>\r\nContent-type: multipart/mixed;\r\n    boundary=\"b\"\r\n{disposition}\r\n\
                 --b\r\nContent-type: message/imdn+xml\r\n\r\n{}\r\n--b\r\n\r\nprose\r\n--b\r\nContent-type: message/imdn\r\n\r\n{}\r\n\
                 --b\r\nContent-type: message/imdn+xml\r\n\r\n<imdn/>\r\n--b",
                xml("M1"),
                xml("M2")
            );
            let Ok(Content::Receipt { envelope: Some(envelope), notification }) =
                classify("message/cpim", body.as_bytes())
            else {
                panic!("no receipt")
            };
            assert_eq!(notification, Err(XmlError::Several));
            let seen: Vec<_> =
                envelope.notifications().into_iter().map(|one| one.map(|n| (n.message_id, n.status))).collect();
            let failed = |id: &str| Ok((id.to_owned(), Status::Failed));
            assert_eq!(seen, [failed("M1"), failed("M2"), Err(XmlError::Missing("message-id"))]);
        }
    }

    #[test]
    fn what_is_no_aggregate() {
        let mixed = |inner: &str| format!("A: b\r\n\r\nContent-Type: multipart/mixed;boundary=b\r\n\r\n{inner}");
        let message = mixed("--b\r\n\r\nhi\r\n--b--");
        let message = Cpim::parse(message.as_bytes()).unwrap();
        assert!(!message.is_receipt() && message.notifications().is_empty());
        let broken = "A: b\r\n\r\nContent-Type: multipart/mixed\r\nContent-Disposition: notification\r\n\r\nx";
        let broken = Cpim::parse(broken.as_bytes()).unwrap().notifications();
        assert_eq!(broken, [Err(XmlError::Multipart(MultipartError::Boundary))]);
    }

    proptest! {
        #[test]
        fn round_trip(recipients in proptest::collection::vec("[a-z]{1,8}", 2..20), id in "[a-zA-Z0-9_-]{1,30}") {
            let documents: Vec<_> = recipients.iter().map(|name| document(&format!("sip:{name}@b"))).collect();
            let body = aggregate(documents).to_cpim(&id, 0);
            let seen = Cpim::parse(&body).unwrap();
            prop_assert_eq!(seen.message_id(), Some(id.as_str()));
            let names: Vec<_> = seen.notifications().into_iter().map(|one| one.unwrap().recipient.unwrap()).collect();
            prop_assert_eq!(names, recipients.iter().map(|name| format!("sip:{name}@b")).collect::<Vec<_>>());
        }
    }
}
