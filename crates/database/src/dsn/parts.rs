//! What a connection string is made of.

/// What is read here, since the client's library reads less.
const OURS: [&str; 8] = [
    "keepalives_count",
    "tcp_user_timeout",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "ssl_min_protocol_version",
    "gssencmode",
];

/// A value as it stands in a string.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// How long to hear nothing before a connection is given up, as libpq reads it: 20 s. By the system's own settings
/// it is hours, and some waits of a server end only with their connection.
pub(super) const PATIENCE: [(&str, &str); 4] = [
    ("keepalives_idle", "5"),
    ("keepalives_interval", "5"),
    ("keepalives_count", "3"),
    // Milliseconds.
    ("tcp_user_timeout", "20000"),
];

/// Some keys can't be honoured, and must not be passed over.
fn is_ours(key: &str) -> Result<bool, String> {
    match key {
        "sslcrl" | "sslcrldir" => Err(format!("{key}: this program looks at no revocation lists")),
        "sslpassword" => Err("sslpassword: the key must have no passphrase".into()),
        key => Ok(OURS.contains(&key)),
    }
}

/// What the client's library reads, and what is read here.
type Parts = (String, Vec<(String, String)>);

/// `key=value` pairs; values may be in quotes.
pub(super) fn of_pairs(text: &str) -> Result<Parts, String> {
    let (mut rest, mut tls) = (Vec::new(), Vec::new());
    let mut signs = text.chars().peekable();
    loop {
        while signs.next_if(|sign| sign.is_whitespace()).is_some() {}
        let mut key = String::new();
        while let Some(sign) = signs.next_if(|sign| *sign != '=' && !sign.is_whitespace()) {
            key.push(sign);
        }
        if key.is_empty() && signs.peek().is_none() {
            return Ok((rest.join(" "), tls));
        }
        while signs.next_if(|sign| sign.is_whitespace()).is_some() {}
        if signs.next() != Some('=') {
            return Err(format!("there is no `=` after {key:?}"));
        }
        while signs.next_if(|sign| sign.is_whitespace()).is_some() {}
        let is_quoted = signs.next_if_eq(&'\'').is_some();
        let mut value = String::new();
        loop {
            match signs.peek().copied() {
                Some('\'') if is_quoted => {
                    signs.next();
                    break;
                }
                None if is_quoted => return Err(format!("the quote of {key} does not end")),
                None => break,
                Some(sign) if sign.is_whitespace() && !is_quoted => break,
                Some('\\') => {
                    signs.next();
                    value.extend(signs.next());
                }
                Some(sign) => {
                    signs.next();
                    value.push(sign);
                }
            }
        }
        match is_ours(&key)? {
            true => tls.push((key, value)),
            false => rest.push(format!("{key}={}", quoted(&value))),
        }
    }
}

/// Where the query of a URL begins; `rest` is what follows its scheme.
pub(super) fn query(text: &str, rest: &str) -> Option<usize> {
    // A `?` of the user's password is not that of the query.
    let user = rest
        .find(['@', '/'])
        .filter(|at| rest[*at..].starts_with('@'));
    let from = text.len() - rest.len() + user.unwrap_or(0);
    text[from..].find('?').map(|at| from + at)
}

/// A URL; `rest` is what follows its scheme.
pub(super) fn of_url(text: &str, rest: &str) -> Result<Parts, String> {
    let Some(query) = query(text, rest) else {
        return Ok((text.to_string(), Vec::new()));
    };
    let (mut left, mut tls) = (Vec::new(), Vec::new());
    for pair in text[query + 1..].split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let key = decoded(key)?;
        if key == "ssl" && value == "true" {
            tls.push(("sslmode".to_string(), "require".to_string()));
        } else if is_ours(&key)? {
            tls.push((key, decoded(value)?));
        } else {
            left.push(pair);
        }
    }
    let left = match left.is_empty() {
        true => String::new(),
        false => format!("?{}", left.join("&")),
    };
    Ok((format!("{}{left}", &text[..query]), tls))
}

fn decoded(text: &str) -> Result<String, String> {
    let wrong = || format!("{text:?}: a `%` must be followed by two hexadecimal digits");
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let byte = digits.and_then(|two| u8::from_str_radix(two, 16).ok());
        bytes.push(byte.ok_or_else(wrong)?);
        rest = &after[2..];
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}
