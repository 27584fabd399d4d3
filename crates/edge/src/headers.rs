//! Headers between the two sides: what is about one connection stays there, and what says who a client
//! is never comes from outside.

use std::net::IpAddr;

use http::header::{
    CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION,
    TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};

/// The group of targets that a client wishes, or was served by.
pub(crate) const GROUP: HeaderName = HeaderName::from_static("everopen-group");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Headers by which proxies tell a verified client certificate.
fn names_a_client(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("x-amzn-mtls-") || name == "x-forwarded-client-cert"
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

/// Takes away what is about the connection that a message came over (RFC 9110, 7.6.1).
pub(crate) fn strip_hop(headers: &mut HeaderMap) {
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
    for name in [
        CONNECTION,
        KEEP_ALIVE,
        PROXY_CONNECTION,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ] {
        headers.remove(name);
    }
}

/// Makes a request's headers those that a target is to see.
pub(crate) fn towards_target(headers: &mut HeaderMap, client: IpAddr, scheme: &'static str) {
    strip_hop(headers);
    let foreign: Vec<HeaderName> = headers
        .keys()
        .filter(|name| names_a_client(name))
        .cloned()
        .collect();
    for name in foreign {
        headers.remove(name);
    }
    headers.remove(GROUP);
    // Who came over which hops before is somebody else's word; the last address is ours.
    let before: Vec<&str> = headers
        .get_all(FORWARDED_FOR)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    let chain = match before.is_empty() {
        true => client.to_string(),
        false => format!("{}, {client}", before.join(", ")),
    };
    if let Ok(chain) = HeaderValue::from_str(&chain) {
        headers.insert(FORWARDED_FOR, chain);
    }
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(scheme));
    if let Some(host) = headers.get(HOST).cloned() {
        headers.insert(FORWARDED_HOST, host);
    }
}

/// The value of a cookie.
pub(crate) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let values = headers.get_all(http::header::COOKIE).iter();
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

    #[test]
    fn who_a_client_is_never_comes_from_outside() {
        let mut seen = headers(&[
            ("X-Amzn-Mtls-Clientcert-Subject", "CN=somebody"),
            ("x-amzn-mtls-clientcert", "…".trim_matches('…')),
            ("X-Forwarded-Client-Cert", "Subject=\"CN=somebody\""),
            ("X-Forwarded-For", "10.0.0.1"),
            ("X-Forwarded-For", "10.0.0.2"),
            ("X-Forwarded-Proto", "https"),
            ("Host", "api.example"),
            ("Everopen-Group", "green"),
            ("Authorization", "Bearer kept"),
        ]);
        towards_target(&mut seen, "192.0.2.7".parse().unwrap(), "http");
        let mut names: Vec<&str> = seen.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "authorization",
                "host",
                "x-forwarded-for",
                "x-forwarded-host",
                "x-forwarded-proto"
            ]
        );
        assert_eq!(seen[FORWARDED_FOR], "10.0.0.1, 10.0.0.2, 192.0.2.7");
        assert_eq!(seen[FORWARDED_PROTO], "http");
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
