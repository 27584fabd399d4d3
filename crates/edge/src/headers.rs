//! Headers between the two sides: what is about one connection stays there, and what says who a client
//! is never comes from outside.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use http::Uri;
use http::header::{
    CONNECTION, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};

/// The group of targets that a client wishes, or was served by.
pub(crate) const GROUP: HeaderName = HeaderName::from_static("everopen-group");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

pub(crate) const CLIENT_SERIAL: HeaderName =
    HeaderName::from_static("x-amzn-mtls-clientcert-serial-number");
pub(crate) const CLIENT_ISSUER: HeaderName =
    HeaderName::from_static("x-amzn-mtls-clientcert-issuer");
pub(crate) const CLIENT_SUBJECT: HeaderName =
    HeaderName::from_static("x-amzn-mtls-clientcert-subject");
pub(crate) const CLIENT_VALIDITY: HeaderName =
    HeaderName::from_static("x-amzn-mtls-clientcert-validity");
pub(crate) const CLIENT_LEAF: HeaderName = HeaderName::from_static("x-amzn-mtls-clientcert-leaf");
/// A whole chain that nobody has checked.
pub(crate) const CLIENT_CHAIN: HeaderName = HeaderName::from_static("x-amzn-mtls-clientcert");
pub(crate) const FORWARDED_CERT: HeaderName = HeaderName::from_static("x-forwarded-client-cert");

/// The number of a client's connection, for targets that must tell one from another.
const CONNECTION_NUMBER: HeaderName = HeaderName::from_static("everopen-connection");

/// What the edge itself says of a client's certificate.
pub(crate) type Vouched = Arc<[(HeaderName, HeaderValue)]>;

/// Says to a target that nobody waits for its answer. Clients can't say it.
pub(crate) const SHADOW: HeaderName = HeaderName::from_static("everopen-shadow");

/// Who a request comes from.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub address: IpAddr,
    /// The address as a header has it.
    pub forwarded: HeaderValue,
    pub scheme: &'static str,
    /// Its connection's number.
    pub connection: HeaderValue,
    pub vouched: Vouched,
}

/// Headers that say who a client is. Many servers hand `_` and `-` to their programs as the same sign
/// (CGI, RFC 3875 4.1.18, and WSGI after it): what is spelled otherwise and read alike counts as well.
fn names_a_client(name: &HeaderName) -> bool {
    let plain = name.as_str();
    let read = match plain.contains('_') {
        true => Cow::Owned(plain.replace('_', "-")),
        false => Cow::Borrowed(plain),
    };
    let is_certificate = read.starts_with("x-amzn-mtls-") || read == FORWARDED_CERT.as_str();
    let is_ours = [
        &FORWARDED_FOR,
        &FORWARDED_PROTO,
        &FORWARDED_HOST,
        &CONNECTION_NUMBER,
    ];
    is_certificate || (plain != read && is_ours.iter().any(|ours| read == ours.as_str()))
}

/// Whether a header's list of tokens has this one.
fn lists(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let mut tokens = values.flat_map(|value| value.split(','));
    tokens.any(|listed| listed.trim().eq_ignore_ascii_case(token))
}

/// What a request wants the connection to become, if it wants it to be something else.
pub(crate) fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let to = headers.get(UPGRADE)?;
    lists(headers, &CONNECTION, "upgrade").then(|| to.clone())
}

/// What is about one connection, beside what `Connection` names.
static HOP: [HeaderName; 9] = [
    CONNECTION,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Takes away what is about the connection that a message came over (RFC 9110, 7.6.1).
pub(crate) fn strip_hop(headers: &mut HeaderMap) {
    // Most messages have none, and names are compared faster than looked up.
    if !headers.keys().any(|name| HOP.contains(name)) {
        return;
    }
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in &HOP {
        headers.remove(name);
    }
}

/// Makes a request's headers those that a target is to see.
pub(crate) fn towards_target(headers: &mut HeaderMap, uri: &Uri, client: &Peer) {
    strip_hop(headers);
    // HTTP/2 names the host beside the headers; so does the absolute form, and it counts (RFC 9112, 3.2.2).
    let host = uri.authority().map(|authority| {
        let host = authority.as_str();
        host.rsplit_once('@').map_or(host, |(_, host)| host)
    });
    if let Some(Ok(host)) = host.map(HeaderValue::from_str) {
        headers.insert(HOST, host);
    }
    one_cookie_header(headers);
    let is_foreign = |name: &HeaderName| *name == GROUP || *name == SHADOW || names_a_client(name);
    let foreign: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_foreign(name))
        .cloned()
        .collect();
    for name in foreign {
        headers.remove(name);
    }
    // Who came over which hops before is somebody else's word; the last address is ours.
    let before: Vec<&str> = headers
        .get_all(FORWARDED_FOR)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    let chain = match before.is_empty() {
        true => Ok(client.forwarded.clone()),
        false => HeaderValue::from_str(&format!("{}, {}", before.join(", "), client.address)),
    };
    if let Ok(chain) = chain {
        headers.insert(FORWARDED_FOR, chain);
    }
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(client.scheme));
    headers.insert(CONNECTION_NUMBER, client.connection.clone());
    for (name, value) in client.vouched.iter() {
        headers.insert(name.clone(), value.clone());
    }
    if let Some(host) = headers.get(HOST).cloned() {
        headers.insert(FORWARDED_HOST, host);
    }
}

/// HTTP/2 lets a client send its cookies apart; HTTP/1.1 does not (RFC 9113, 8.2.3).
fn one_cookie_header(headers: &mut HeaderMap) {
    let mut all = headers.get_all(COOKIE).iter();
    if all.next().is_none() || all.next().is_none() {
        return;
    }
    let all: Vec<&[u8]> = headers
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if let Ok(joined) = HeaderValue::from_bytes(&all.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

/// The value of a cookie.
pub(crate) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let values = headers.get_all(COOKIE).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    fn peer(vouched: &[(HeaderName, &'static str)]) -> Peer {
        let vouched = vouched.iter();
        Peer {
            address: "192.0.2.7".parse().unwrap(),
            forwarded: HeaderValue::from_static("192.0.2.7"),
            scheme: "http",
            connection: HeaderValue::from_static("7"),
            vouched: vouched
                .map(|(name, value)| (name.clone(), HeaderValue::from_static(value)))
                .collect(),
        }
    }

    #[test]
    fn what_the_edge_says_takes_the_place_of_what_a_client_says() {
        let mut seen = headers(&[
            ("X-Amzn-Mtls-Clientcert-Subject", "CN=somebody"),
            ("X-Amzn-Mtls-Clientcert-Subject", "CN=somebody else"),
            ("X-Amzn-Mtls-Clientcert", "a chain"),
        ]);
        let peer = peer(&[(CLIENT_SUBJECT, "CN=desk")]);
        towards_target(&mut seen, &Uri::from_static("/"), &peer);
        let all: Vec<_> = seen.get_all(CLIENT_SUBJECT).iter().collect();
        assert_eq!(all, ["CN=desk"]);
        assert!(!seen.contains_key(CLIENT_CHAIN));
    }

    #[test]
    fn what_http_2_says_otherwise_is_said_as_http_1_1_does() {
        let mut seen = headers(&[("Cookie", "a=1"), ("Cookie", "b=2"), ("Host", "other")]);
        let uri = Uri::from_static("https://user@api.example:8443/path");
        towards_target(&mut seen, &uri, &peer(&[]));
        assert_eq!(seen.get_all(COOKIE).iter().count(), 1);
        assert_eq!(seen[COOKIE], "a=1; b=2");
        assert_eq!(seen[HOST], "api.example:8443");
        assert_eq!(seen[FORWARDED_HOST], "api.example:8443");
    }

    #[test]
    fn who_a_client_is_never_comes_from_outside() {
        let mut seen = headers(&[
            ("X-Amzn-Mtls-Clientcert-Subject", "CN=somebody"),
            ("x-amzn-mtls-clientcert", "…".trim_matches('…')),
            ("X-Forwarded-Client-Cert", "Subject=\"CN=somebody\""),
            ("X_Amzn_Mtls_Clientcert_Subject", "CN=somebody"),
            ("X-Forwarded_Client-Cert", "Subject=\"CN=somebody\""),
            ("X_Forwarded_For", "10.0.0.9"),
            ("Everopen_Connection", "8"),
            ("X-Forwarded-For", "10.0.0.1"),
            ("X-Forwarded-For", "10.0.0.2"),
            ("X-Forwarded-Proto", "https"),
            ("Host", "api.example"),
            ("Everopen-Group", "green"),
            ("Everopen-Connection", "somebody's"),
            ("Authorization", "Bearer kept"),
        ]);
        let peer = peer(&[]);
        towards_target(&mut seen, &Uri::from_static("/"), &peer);
        let mut names: Vec<&str> = seen.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "authorization",
                "everopen-connection",
                "host",
                "x-forwarded-for",
                "x-forwarded-host",
                "x-forwarded-proto"
            ]
        );
        assert_eq!(seen[FORWARDED_FOR], "10.0.0.1, 10.0.0.2, 192.0.2.7");
        assert_eq!(seen[FORWARDED_PROTO], "http");
        assert_eq!(seen[CONNECTION_NUMBER], "7");
    }

    #[test]
    fn what_is_about_one_connection_stays_there() {
        let mut seen = headers(&[
            ("Connection", "close, X-Private"),
            ("X-Private", "1"),
            ("Keep-Alive", "timeout=5"),
            ("Transfer-Encoding", "chunked"),
            ("Te", "trailers"),
            ("Content-Type", "text/plain"),
        ]);
        strip_hop(&mut seen);
        assert_eq!(
            seen.keys().map(HeaderName::as_str).collect::<Vec<_>>(),
            ["content-type"]
        );
    }

    #[test]
    fn an_upgrade_is_one_only_when_the_connection_says_so() {
        let wished = headers(&[
            ("Connection", "keep-alive, Upgrade"),
            ("Upgrade", "websocket"),
        ]);
        assert_eq!(upgrade(&wished).unwrap(), "websocket");
        assert!(upgrade(&headers(&[("Upgrade", "websocket")])).is_none());
        assert!(upgrade(&headers(&[("Connection", "upgrade")])).is_none());
    }

    #[test]
    fn cookies_are_found_among_others() {
        let seen = headers(&[("Cookie", "a=1; everopen-group=green"), ("Cookie", "b=2")]);
        assert_eq!(cookie(&seen, "everopen-group"), Some("green"));
        assert_eq!(cookie(&seen, "b"), Some("2"));
        assert_eq!(cookie(&seen, "c"), None);
    }
}
