//! What is told of a client's certificate, in the forms that its readers know.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use x509_parser::der_parser::asn1_rs::Tag;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
use x509_parser::time::ASN1Time;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// Attributes that have a short name in RFC 2253 (2.3), and e-mail, which everybody writes so.
const SHORT: [(&str, &str); 10] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.6", "C"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

/// A client's certificate as it is told in headers and logs. Every text is printable ASCII: what else a
/// name holds is escaped, so that no certificate can add a line to a header or a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The serial number, upper-case hexadecimal.
    pub serial: String,
    /// Whom it is for (RFC 2253).
    pub subject: String,
    /// Who vouches for it (RFC 2253).
    pub issuer: String,
    /// From when it is valid, ISO 8601 in UTC.
    pub not_before: String,
    /// Until when, ISO 8601 in UTC.
    pub not_after: String,
    /// Until when; seconds since 1970.
    pub expires: i64,
    /// SHA-256 over the whole of it, lower-case hexadecimal.
    pub fingerprint: String,
    /// The URIs that it names.
    pub uris: Vec<String>,
    /// The host names that it names.
    pub dns: Vec<String>,
}

impl ClientCertificate {
    /// Reads it; none if it is malformed.
    pub fn read(der: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(der).ok()?;
        let names = parsed.subject_alternative_name().ok().flatten();
        let names = names.map_or(&[][..], |names| &names.value.general_names);
        let all = |of: fn(&GeneralName<'_>) -> Option<String>| -> Vec<String> {
            names
                .iter()
                .filter_map(of)
                .map(|text| printable(&text))
                .collect()
        };
        let serial = parsed.raw_serial();
        let zeros = serial.iter().take_while(|byte| **byte == 0).count();
        let serial = hex(&serial[zeros.min(serial.len().saturating_sub(1))..]);
        Some(Self {
            serial: serial.to_uppercase(),
            subject: distinguished_name(parsed.subject()),
            issuer: distinguished_name(parsed.issuer()),
            not_before: iso(parsed.validity().not_before),
            not_after: iso(parsed.validity().not_after),
            expires: parsed.validity().not_after.timestamp(),
            fingerprint: hex(&Sha256::digest(der)),
            uris: all(|name| match name {
                GeneralName::URI(uri) => Some((*uri).to_string()),
                _ => None,
            }),
            dns: all(|name| match name {
                GeneralName::DNSName(host) => Some((*host).to_string()),
                _ => None,
            }),
        })
    }

    /// `NotBefore=…;NotAfter=…`, as `X-Amzn-Mtls-Clientcert-Validity` has it.
    pub fn validity(&self) -> String {
        format!("NotBefore={};NotAfter={}", self.not_before, self.not_after)
    }

    /// The element of `X-Forwarded-Client-Cert` as Envoy writes it.
    pub fn forwarded(&self) -> String {
        let subject = self.subject.replace('\\', "\\\\").replace('"', "\\\"");
        let mut element = format!("Hash={};Subject=\"{subject}\"", self.fingerprint);
        for (key, values) in [("URI", &self.uris), ("DNS", &self.dns)] {
            for value in values {
                let is_plain = !value.contains([',', ';', '=', '"', '\\', ' ']);
                let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
                let _ = match is_plain {
                    true => write!(element, ";{key}={value}"),
                    false => write!(element, ";{key}=\"{quoted}\""),
                };
            }
        }
        element
    }

    /// Certificates as PEM, percent-encoded but for `+`, `=` and `/`, as AWS's load balancer writes them.
    pub fn pem(chain: &[CertificateDer<'_>]) -> String {
        let mut encoded = String::new();
        for certificate in chain {
            encoded.push_str("-----BEGIN%20CERTIFICATE-----%0A");
            let text = STANDARD.encode(certificate);
            let mut left = text.as_str();
            while !left.is_empty() {
                let (line, rest) = left.split_at(left.len().min(64));
                encoded.push_str(line);
                encoded.push_str("%0A");
                left = rest;
            }
            encoded.push_str("-----END%20CERTIFICATE-----%0A");
        }
        encoded
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn iso(time: ASN1Time) -> String {
    let at = time.to_datetime();
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second()
    )
}

/// Text with what is not printable ASCII percent-encoded.
fn printable(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        let _ = match byte {
            0x20..=0x7e => write!(out, "{}", char::from(byte)),
            _ => write!(out, "%{byte:02X}"),
        };
    }
    out
}

/// A name as RFC 2253 writes it: the last part first.
pub(super) fn distinguished_name(name: &X509Name<'_>) -> String {
    let mut parts: Vec<String> = name
        .iter_rdn()
        .map(|part| part.iter().map(attribute).collect::<Vec<_>>().join("+"))
        .collect();
    parts.reverse();
    parts.join(",")
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type().to_id_string();
    let short = SHORT.iter().find(|(known, _)| *known == oid);
    let value = attribute.attr_value();
    let is_text = [
        Tag::Utf8String,
        Tag::PrintableString,
        Tag::Ia5String,
        Tag::TeletexString,
        Tag::NumericString,
    ]
    .contains(&value.tag());
    match short {
        Some((_, short)) if is_text => format!("{short}={}", escaped(value.data)),
        // 2.4: what has no known form is shown as it is encoded.
        _ => format!("{oid}=#{}", hex(value.data)),
    }
}

/// A value with what RFC 2253 (2.4) wants escaped, and all that is not printable ASCII.
fn escaped(value: &[u8]) -> String {
    let mut text = String::new();
    for (at, byte) in value.iter().enumerate() {
        let at_edge = at == 0 || at + 1 == value.len();
        let _ = match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => {
                write!(text, "\\{}", char::from(*byte))
            }
            b'#' if at == 0 => write!(text, "\\#"),
            b' ' if at_edge => write!(text, "\\ "),
            0x20..=0x7e => write!(text, "{}", char::from(*byte)),
            _ => write!(text, "\\{byte:02X}"),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, DnValue, KeyPair, SanType, SerialNumber};

    use super::*;

    fn certificate(change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.not_before = rcgen::date_time_ymd(2026, 1, 2);
        params.not_after = rcgen::date_time_ymd(2027, 3, 4);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().into()
    }

    #[test]
    fn a_certificate_is_told_as_its_readers_know_it() {
        let der = certificate(|params| {
            let name = &mut params.distinguished_name;
            *name = rcgen::DistinguishedName::new();
            name.push(DnType::CountryName, "CH");
            name.push(DnType::OrganizationName, "Bank, \"A\" + Söhne");
            name.push(DnType::CommonName, "#1 trader ");
            params.serial_number = Some(SerialNumber::from(vec![0x0a, 0xbc]));
            let uri = "spiffe://bank/desk".try_into().unwrap();
            let host = "desk.bank.example".try_into().unwrap();
            params.subject_alt_names = vec![SanType::URI(uri), SanType::DnsName(host)];
        });
        let read = ClientCertificate::read(&der).unwrap();
        assert_eq!(
            read.subject,
            "CN=\\#1 trader\\ ,O=Bank\\, \\\"A\\\" \\+ S\\C3\\B6hne,C=CH"
        );
        assert_eq!(read.issuer, read.subject);
        assert_eq!(read.serial, "0ABC");
        assert_eq!(
            read.validity(),
            "NotBefore=2026-01-02T00:00:00Z;NotAfter=2027-03-04T00:00:00Z"
        );
        assert_eq!(read.fingerprint.len(), 64);
        let forwarded = read.forwarded();
        assert!(
            forwarded.ends_with(";URI=spiffe://bank/desk;DNS=desk.bank.example"),
            "{forwarded}"
        );
        assert!(forwarded.starts_with(&format!("Hash={};Subject=\"CN=", read.fingerprint)));
    }

    #[test]
    fn no_name_can_add_a_line() {
        let der = certificate(|params| {
            let name = &mut params.distinguished_name;
            *name = rcgen::DistinguishedName::new();
            let value = DnValue::Utf8String("a\r\nX-Role: admin\0".into());
            name.push(DnType::CommonName, value);
        });
        let read = ClientCertificate::read(&der).unwrap();
        assert_eq!(read.subject, "CN=a\\0D\\0AX-Role: admin\\00");
        assert!(
            read.forwarded()
                .bytes()
                .all(|byte| (0x20..0x7f).contains(&byte))
        );
    }

    #[test]
    fn pem_is_encoded_but_for_three_signs() {
        let der = certificate(|_| {});
        let encoded = ClientCertificate::pem(std::slice::from_ref(&der));
        assert!(encoded.starts_with("-----BEGIN%20CERTIFICATE-----%0AMII"));
        assert!(encoded.ends_with("-----END%20CERTIFICATE-----%0A"));
        let plain = encoded.replace("%20", " ").replace("%0A", "\n");
        assert!(!plain.contains('%'));
        use rustls::pki_types::pem::PemObject;
        assert_eq!(
            CertificateDer::from_pem_slice(plain.as_bytes()).unwrap(),
            der
        );
        assert!(plain.lines().all(|line| line.len() <= 64));
    }
}
