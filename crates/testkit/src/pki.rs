//! Certificates of every kind for tests: authorities, those below them, clients, revocation lists.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SanType, SerialNumber, date_time_ymd,
};

pub use rcgen;

/// From when certificates are valid that say nothing else: the first of January 2026. They are for 24
/// years, so that no test fails on a day to come.
const FROM: (i32, u8, u8) = (2026, 1, 1);
const UNTIL: (i32, u8, u8) = (2050, 1, 1);

/// An authority of certificates.
pub struct Pki(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
pub struct Issued {
    /// The certificate, DER.
    pub der: Vec<u8>,
    /// The certificate, PEM.
    pub pem: String,
    /// Its key, PEM.
    pub key: String,
}

fn key() -> KeyPair {
    KeyPair::generate().expect("the system has random numbers")
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(FROM.0, FROM.1, FROM.2);
    params.not_after = date_time_ymd(UNTIL.0, UNTIL.1, UNTIL.2);
    params
}

fn authority(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

impl Pki {
    /// One that nobody stands above.
    pub fn root(name: &str) -> Self {
        Self::root_with(name, |_| {})
    }

    /// One that nobody stands above, with a difference.
    pub fn root_with(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = authority(name);
        change(&mut params);
        Self(CertifiedIssuer::self_signed(params, key()).expect("these can be signed"))
    }

    /// One below this.
    pub fn below(&self, name: &str) -> Self {
        self.below_with(name, |_| {})
    }

    /// One below this, with a difference.
    pub fn below_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = authority(name);
        change(&mut params);
        Self(CertifiedIssuer::signed_by(params, key(), &self.0).expect("these can be signed"))
    }

    /// Its own certificate, DER.
    pub fn der(&self) -> Vec<u8> {
        self.0.der().to_vec()
    }

    /// Its own certificate, PEM.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Its key, PEM.
    pub fn key_pem(&self) -> String {
        self.0.key().serialize_pem()
    }

    fn issue(&self, params: CertificateParams) -> Issued {
        let key = key();
        let made = params
            .signed_by(&key, &self.0)
            .expect("these can be signed");
        Issued {
            der: made.der().to_vec(),
            pem: made.pem(),
            key: key.serialize_pem(),
        }
    }

    /// A client's, with a serial number and a difference.
    pub fn client(&self, serial: u64, change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let mut params = params("client");
        params.serial_number = Some(SerialNumber::from(serial));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        self.issue(params)
    }

    /// A server's, for these host names or addresses.
    pub fn server(&self, hosts: &[&str]) -> Issued {
        let mut params = params(hosts.first().copied().unwrap_or("server"));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.subject_alt_names = hosts
            .iter()
            .map(|host| match host.parse() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName((*host).try_into().expect("an ASCII name")),
            })
            .collect();
        self.issue(params)
    }

    /// A revocation list, PEM; its successor is due on the first of February of that year.
    pub fn list(&self, serials: impl IntoIterator<Item = u64>, next: i32) -> String {
        let revoked = serials.into_iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(serial),
            revocation_time: date_time_ymd(2026, 1, 10),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 1, 15),
            next_update: date_time_ymd(next, 2, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.0).expect("these can be signed");
        list.pem().expect("it can be written as text")
    }
}
