//! The messages of RFC 4475 and RFC 5118, octet for octet from the archives in their appendices, and what a server
//! should do with each.
//!
//! The archive of RFC 5118 has bare line feeds and lacks two final empty lines; here they are as they go on the wire,
//! with Content-Length made to fit where the published value does not.

/// What is expected of a server that need not serve the domains the messages name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    /// Well-formed: whatever the answer, it must not call the message malformed. Silence means forwarded.
    Accept,
    /// Malformed in a way a server may repair: any refusal, or silence.
    Lenient,
    /// Malformed or unserviceable: no success, and one of these is the answer to give.
    Refuse(&'static [u16]),
    /// One of these codes and no other.
    Must(&'static [u16]),
    /// A response that belongs to nobody: nothing is sent.
    Drop,
}

/// One message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Vector {
    pub(crate) name: &'static str,
    pub(crate) section: &'static str,
    pub(crate) want: Want,
    pub(crate) rule: &'static str,
    pub(crate) bytes: &'static [u8],
}

macro_rules! vectors {
    ($folder:literal; $($name:literal $section:literal $want:expr, $rule:literal;)+) => {
        &[$(Vector {
            name: $name,
            section: $section,
            want: $want,
            rule: $rule,
            bytes: include_bytes!(concat!("../vectors/", $folder, "/", $name, ".dat")),
        }),+]
    };
}

use Want::{Accept, Drop, Lenient, Must, Refuse};

pub(crate) const RFC4475: &[Vector] = vectors! { "rfc4475";
    "wsinv" "3.1.1.1" Accept, "Folding, odd spacing, compact names and an unknown header are well-formed";
    "intmeth" "3.1.1.2" Accept, "Every character the grammar allows in methods, tags and header names is accepted";
    "esc01" "3.1.1.3" Accept, "Escapes in a user part do not make another scheme of the Request-URI";
    "escnull" "3.1.1.4" Accept, "Escaped NULs in user parts are legal";
    "esc02" "3.1.1.5" Accept, "Percent signs in method and header names are no escapes";
    "lwsdisp" "3.1.1.6" Accept, "No space is needed between display name and bracket";
    "longreq" "3.1.1.7" Accept, "Very long values and more than thirty Via entries are no reason to refuse";
    "dblreq" "3.1.1.8" Accept, "Octets after Content-Length in a datagram are dropped";
    "semiuri" "3.1.1.9" Accept, "A semicolon in the user part starts no URI parameter";
    "transports" "3.1.1.10" Accept, "Unknown transports below the top Via are accepted";
    "mpart01" "3.1.1.11" Accept, "A binary multipart body is carried as it is";
    "unreason" "3.1.1.12" Drop, "A reason phrase may hold UTF-8; the stray response is dropped";
    "noreason" "3.1.1.13" Drop, "A reason phrase may be empty; the stray response is dropped";
    "badinv01" "3.1.2.1" Refuse(&[400]), "Stray separators in Via and Contact are refused";
    "clerr" "3.1.2.2" Refuse(&[400]), "A body shorter than Content-Length says is refused";
    "ncl" "3.1.2.3" Refuse(&[400]), "A negative Content-Length is refused";
    "scalar02" "3.1.2.4" Refuse(&[400]), "A CSeq beyond its range is refused";
    "scalarlg" "3.1.2.5" Drop, "A response with overlarge numbers is dropped";
    "quotbal" "3.1.2.6" Refuse(&[400]), "A quoted string that is never closed is refused";
    "ltgtruri" "3.1.2.7" Lenient, "A Request-URI in angle brackets is refused, or repaired before it is sent on";
    "lwsruri" "3.1.2.8" Lenient, "White space in the Request-URI is refused, or repaired before it is sent on";
    "lwsstart" "3.1.2.9" Lenient, "Several spaces in the request line are refused, or repaired before it is sent on";
    "trws" "3.1.2.10" Lenient, "Spaces that end the request line are refused, or taken off before it is sent on";
    "escruri" "3.1.2.11" Lenient, "Headers in the Request-URI are refused or left out of account";
    "baddate" "3.1.2.12" Lenient, "A Date in another zone than GMT does no harm";
    "regbadct" "3.1.2.13" Lenient, "A Contact with URI headers but no brackets is refused, or the brackets inferred";
    "badaspec" "3.1.2.14" Lenient, "Spaces inside the brackets of To are refused or passed over";
    "baddn" "3.1.2.15" Refuse(&[400]), "Display names that are neither tokens nor quoted are refused";
    "badvers" "3.1.2.16" Refuse(&[505]), "Another SIP version is answered 505";
    "mismatch01" "3.1.2.17" Refuse(&[400]), "A CSeq method that is not the request's is refused";
    "mismatch02" "3.1.2.18" Refuse(&[501, 400]), "An unknown method with another CSeq method is refused";
    "bigcode" "3.1.2.19" Drop, "A status beyond three digits is dropped";
    "badbranch" "3.2.1" Lenient, "A branch of the cookie alone is refused or matched by the old rules";
    "insuf" "3.3.1" Refuse(&[400]), "A request without To, From and Call-ID is refused without harm";
    "unkscm" "3.3.2" Refuse(&[416]), "A Request-URI of an unknown scheme is answered 416";
    "novelsc" "3.3.3" Refuse(&[416, 404]), "A Request-URI of a scheme that SIP does not route is answered 416";
    "unksm2" "3.3.4" Lenient, "Unknown schemes in To, From and Contact do no harm";
    "bext01" "3.3.5" Must(&[420]), "An unknown Proxy-Require is answered 420";
    "invut" "3.3.6" Accept, "An INVITE with an unknown body type is forwarded or answered 415";
    "regaut01" "3.3.7" Accept, "An unknown authorization scheme is no syntax error";
    "multi01" "3.3.8" Refuse(&[400]), "Single-valued headers given twice are refused";
    "mcl01" "3.3.9" Refuse(&[400]), "Two Content-Length values that differ are refused";
    "bcast" "3.3.10" Drop, "A response on its way to the broadcast address is dropped";
    "zeromf" "3.3.11" Must(&[483, 200]), "Max-Forwards 0 goes no further";
    "cparam01" "3.3.12" Accept, "A parameter behind a bare Contact URI is legal";
    "cparam02" "3.3.13" Accept, "An unknown parameter of a Contact URI is legal";
    "regescrt" "3.3.14" Accept, "A Contact URI may carry an escaped Route";
    "sdp01" "3.3.15" Lenient, "An INVITE that accepts no known type is forwarded, or answered 406 or 400";
    "inv2543" "3.4.1" Accept, "A request in the style of RFC 2543 is accepted";
    "test" "A" Lenient, "A message of the archive without version and with a line without a colon does no harm";
};

pub(crate) const RFC5118: &[Vector] = vectors! { "rfc5118";
    "ipv6-good" "4.1" Accept, "IPv6 references in brackets are accepted";
    "ipv6-bad" "4.2" Refuse(&[400]), "An IPv6 address without brackets in the Request-URI is refused";
    "port-ambiguous" "4.3" Accept, "What looks like a port inside the brackets belongs to the address";
    "port-unambiguous" "4.4" Accept, "A port after the bracket is a port";
    "via-received-param-with-delim" "4.5" Accept, "A received parameter with brackets is tolerated";
    "via-received-param-no-delim" "4.5" Accept, "A received parameter without brackets is accepted";
    "ipv6-in-sdp" "4.6" Accept, "IPv6 in the session description does no harm";
    "mult-ip-in-header" "4.7" Accept, "Via entries of both families may be mixed";
    "mult-ip-in-sdp" "4.8" Accept, "Media lines of both families may be mixed";
    "ipv4-mapped-ipv6" "4.9" Accept, "IPv4-mapped IPv6 addresses are accepted";
    "ipv6-bug-abnf-3-colons" "4.10" Lenient, "Three colons before the IPv4 tail are refused or tolerated";
    "ipv6-correct-abnf-2-colons" "4.10" Accept, "Two colons before the IPv4 tail are accepted";
};

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the odd octets against editors and line-end conversion: sums over the decoded archives.
    #[test]
    fn octets_are_those_of_the_archives() {
        for (vectors, count, octets, sum) in
            [(RFC4475, 50, 24974, 0x6ab528657a4aeecf), (RFC5118, 12, 4556, 0xe5cd60b329563f75)]
        {
            let bytes = || vectors.iter().flat_map(|vector| vector.bytes);
            assert_eq!(vectors.len(), count);
            assert_eq!((bytes().count(), fnv(bytes())), (octets, sum));
        }
    }

    fn fnv<'a>(bytes: impl Iterator<Item = &'a u8>) -> u64 {
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
    }
}
