//! Why a client's certificate is not taken.

use std::fmt;

/// Why a client's certificate is not taken. The codes are those of the connection logs of AWS's
/// application load balancer where that has one; the last four are ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// No authority of the store vouches for it.
    Untrusted,
    /// A certificate of the chain is not valid any more.
    Expired,
    /// A certificate of the chain is not valid yet.
    NotYetValid,
    /// A revocation list names a certificate of the chain.
    Revoked,
    /// A revocation list of the chain's authorities can't be used: its signature is wrong, or it is stale
    /// and the store refuses stale ones.
    ListUnusable,
    /// The chain has more authorities than the store allows.
    TooDeep,
    /// The chain is too long to be looked at.
    TooLong,
    /// The certificate is not for clients (extended key usage, RFC 5280 4.2.1.12).
    Purpose,
    /// Its kind of key or signature is not supported.
    Type,
    /// It is malformed, or its contents are not allowed.
    Invalid,
    /// None was shown where one is needed.
    Missing,
    /// No revocation list speaks for an authority of the chain, and the store asks for one.
    StatusUnknown,
    /// The client does not have the certificate's key.
    Key,
}

impl Refusal {
    /// The code in logs.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Untrusted => "ClientCertUntrusted",
            Self::Expired => "ClientCertExpired",
            Self::NotYetValid => "ClientCertNotYetValid",
            Self::Revoked => "ClientCertCrlHit",
            Self::ListUnusable => "ClientCertCrlProcessingError",
            Self::TooDeep => "ClientCertMaxChainDepthExceeded",
            Self::TooLong => "ClientCertMaxSizeExceeded",
            Self::Purpose => "ClientCertPurposeInvalid",
            Self::Type => "ClientCertTypeUnsupported",
            Self::Invalid => "ClientCertInvalid",
            Self::Missing => "ClientCertMissing",
            Self::StatusUnknown => "ClientCertStatusUnknown",
            Self::Key => "ClientCertKeyMismatch",
        }
    }

    /// What the check of a chain said.
    pub(super) fn of(error: &webpki::Error) -> Self {
        use webpki::Error;
        match error {
            Error::CertExpired { .. } => Self::Expired,
            Error::CertNotValidYet { .. } => Self::NotYetValid,
            Error::UnknownIssuer | Error::InvalidSignatureForPublicKey => Self::Untrusted,
            Error::RequiredEkuNotFoundContext(_) => Self::Purpose,
            Error::MaximumPathDepthExceeded => Self::TooDeep,
            Error::UnsupportedCertVersion
            | Error::UnsupportedSignatureAlgorithmContext(_)
            | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => Self::Type,
            _ => Self::Invalid,
        }
    }

    /// What the client is told in the handshake (RFC 8446, 6.2).
    pub(super) fn alert(self) -> rustls::Error {
        use rustls::CertificateError;
        let of_certificate = match self {
            Self::Expired => CertificateError::Expired,
            Self::NotYetValid => CertificateError::NotValidYet,
            Self::Revoked => CertificateError::Revoked,
            Self::Untrusted => CertificateError::UnknownIssuer,
            Self::Purpose => CertificateError::InvalidPurpose,
            Self::StatusUnknown | Self::ListUnusable => CertificateError::UnknownRevocationStatus,
            Self::Key => CertificateError::BadSignature,
            Self::Missing => return rustls::Error::NoCertificatesPresented,
            Self::TooDeep | Self::TooLong | Self::Type | Self::Invalid => {
                CertificateError::ApplicationVerificationFailure
            }
        };
        rustls::Error::InvalidCertificate(of_certificate)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}
