//! The cluster's own authority: makes certificates out of a key that only it has.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use rustls::pki_types::UnixTime;

use crate::error::Error;
use crate::files::{self, Access, Files};
use crate::load::Identity;
use crate::name::Name;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Rotation is a later step; until then a certificate must outlive its cluster.
const VALID: Duration = Duration::from_secs(3652 * DAY.as_secs());
/// A certificate that ends within this time is made anew when it is asked for.
const SPARE: Duration = Duration::from_secs(30 * DAY.as_secs());
const KEY: &str = "authority.key";
const CERTIFICATE: &str = "ca.crt";

/// Whoever has its directory can be every process of the cluster.
pub struct Authority {
    dir: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes an authority in a directory, which is made, too.
    ///
    /// # Errors
    /// When there is one already, or on a fault of the file system.
    pub fn create(dir: &Path) -> Result<Self, Error> {
        files::create_dir(dir)?;
        let key = KeyPair::generate()?;
        let created = files::create(
            &dir.join(KEY),
            key.serialize_pem().as_bytes(),
            Access::Owner,
        )?;
        if !created {
            return Err(Error::Exists {
                dir: dir.to_owned(),
            });
        }
        Self::finish(dir, key)
    }

    /// Opens the authority that is in a directory.
    ///
    /// # Errors
    /// When there is none or it is damaged.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(KEY);
        let pem = String::from_utf8(files::read_private(&path)?)
            .map_err(|_| Error::malformed(&path, "it is no text"))?;
        let key = KeyPair::from_pem(&pem).map_err(|error| Error::malformed(&path, error))?;
        Self::finish(dir, key)
    }

    /// Opens the authority in a directory, or makes one.
    ///
    /// # Errors
    /// When the one that is there is damaged, or on a fault of the file system.
    pub fn open_or_create(dir: &Path) -> Result<Self, Error> {
        if !dir.join(KEY).exists() {
            match Self::create(dir) {
                // Another process was faster.
                Err(Error::Exists { .. }) => {}
                made => return made,
            }
        }
        Self::open(dir)
    }

    /// The key is what makes the authority. Its certificate holds nothing else, so that one made
    /// again after a crash between the two files is as good as the first.
    fn finish(dir: &Path, key: KeyPair) -> Result<Self, Error> {
        let params = authority_params()?;
        let path = dir.join(CERTIFICATE);
        if !path.exists() {
            let certificate = params.self_signed(&key)?;
            files::create(&path, certificate.pem().as_bytes(), Access::Everyone)?;
        }
        Ok(Self {
            dir: dir.to_owned(),
            issuer: Issuer::new(params, key),
        })
    }

    /// Writes a certificate and key for `name` and the authority's own certificate into `out_dir`.
    /// Files of an earlier call that are still good stay as they are.
    ///
    /// # Errors
    /// On a fault of the file system.
    pub fn issue(&self, name: &Name, out_dir: &Path) -> Result<Files, Error> {
        let wanted = Files::within(out_dir, *name);
        files::create_dir(out_dir)?;
        let ca = files::read(&self.dir.join(CERTIFICATE))?;
        let same_ca = files::read(&wanted.ca).is_ok_and(|there| there == ca);
        if same_ca && self.still_good(&wanted, *name) {
            return Ok(wanted);
        }
        let key = KeyPair::generate()?;
        let certificate = process_params(*name)?.signed_by(&key, &self.issuer)?;
        if !same_ca {
            files::replace(&wanted.ca, &ca, Access::Everyone)?;
        }
        files::replace(&wanted.cert, certificate.pem().as_bytes(), Access::Everyone)?;
        files::replace(&wanted.key, key.serialize_pem().as_bytes(), Access::Owner)?;
        Ok(wanted)
    }

    fn still_good(&self, files: &Files, name: Name) -> bool {
        let soon = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
            + SPARE;
        Identity::load_as_of(files, UnixTime::since_unix_epoch(soon))
            .is_ok_and(|identity| *identity.name() == name)
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

fn authority_params() -> Result<CertificateParams, Error> {
    let mut params = params("Everopen cluster authority");
    // It signs processes and no further authorities.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn process_params(name: Name) -> Result<CertificateParams, Error> {
    let mut params = params(&name.to_string());
    params.subject_alt_names = vec![
        SanType::DnsName(name.host().try_into()?),
        SanType::URI(name.spiffe_id().try_into()?),
    ];
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    // Each process dials and accepts.
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    Ok(params)
}

fn params(common_name: &str) -> CertificateParams {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    // A day back: the clocks of a cluster's machines differ.
    params.not_before = date_time_ymd(1970, 1, 1) + now.saturating_sub(DAY);
    params.not_after = date_time_ymd(1970, 1, 1) + now + VALID;
    params
}
