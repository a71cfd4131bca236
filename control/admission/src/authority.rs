//! The webhook's own certificate: made, renewed and told apart, with the time as an argument.
//!
//! The API server believes the authorities of the `caBundle`. An authority lives for a year; long
//! before its end a new one is put beside it, and signs only when every API server has had
//! [`SETTLE_SECS`] to learn of it: at no moment is a certificate served that is not believed. The
//! serving certificate lives for thirty days and is made anew after twenty.
//!
//! Distrusts what was stored: what cannot be read, does not fit together or has run out is made anew.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};

const DAY_SECS: u64 = 24 * 60 * 60;
/// How long an authority lives.
pub const AUTHORITY_SECS: u64 = 365 * DAY_SECS;
/// A new authority is made when the newest one lives no longer than this.
pub const AUTHORITY_RENEW_SECS: u64 = 60 * DAY_SECS;
/// How long a serving certificate lives.
pub const SERVING_SECS: u64 = 30 * DAY_SECS;
/// A serving certificate is made anew when it lives no longer than this.
pub const SERVING_RENEW_SECS: u64 = 10 * DAY_SECS;
/// A new authority signs only after this, where an older one still can.
pub const SETTLE_SECS: u64 = 60 * 60;
/// Certificates are valid from so much before they are made: clocks differ.
pub const BACKDATE_SECS: u64 = 60 * 60;
/// No more authorities than these are kept.
const AUTHORITIES_MAX: usize = 4;
const NAME: &str = "Weir webhook authority";

/// Everything that replicas share, as PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// The authorities' certificates, the newest first: the `caBundle`.
    pub authorities: String,
    /// Their keys, in the same order.
    pub authority_keys: String,
    /// The serving certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

/// Why no certificate could be made.
#[derive(Debug, thiserror::Error)]
#[error("the webhook's certificate cannot be made: {0}")]
pub struct AuthorityError(String);

/// An authority, read.
struct Authority {
    certificate: String,
    key: String,
    der: CertificateDer<'static>,
    made: u64,
    ends: u64,
}

impl Keys {
    /// What is to be stored instead; None where these will do. `names` are the DNS names and
    /// addresses by which the API server calls.
    pub fn renewed(
        current: Option<&Self>,
        names: &[String],
        now_unix_secs: u64,
    ) -> Result<Option<Self>, AuthorityError> {
        let now = now_unix_secs;
        let stored = current.map_or_else(Vec::new, Self::read_authorities);
        let before = stored.len();
        // One from the future is kept as well: a clock that was wrong may be this one.
        let mut authorities: Vec<Authority> =
            stored.into_iter().filter(|it| it.ends > now).collect();
        let lives = |it: &Authority| it.ends > now + AUTHORITY_RENEW_SECS;
        let mut changed = authorities.len() != before;
        if !authorities.iter().any(lives) {
            authorities.insert(0, Authority::make(now)?);
            authorities.truncate(AUTHORITIES_MAX);
            changed = true;
        }
        let settled = |it: &&Authority| it.made + SETTLE_SECS <= now;
        let signer = authorities.iter().find(settled).or(authorities.last());
        let signer = signer.ok_or_else(|| AuthorityError("there is no authority".to_owned()))?;
        let kept = current.filter(|keys| keys.serves(&authorities, signer, names, now));
        let (certificate, key) = match kept {
            Some(keys) => (keys.certificate.clone(), keys.key.clone()),
            None => {
                changed = true;
                signer.sign(names, now)?
            }
        };
        let join =
            |part: fn(&Authority) -> &str| -> String { authorities.iter().map(part).collect() };
        Ok(changed.then(|| Self {
            authorities: join(|it| &it.certificate),
            authority_keys: join(|it| &it.key),
            certificate,
            key,
        }))
    }

    /// The chain and the key, for a server.
    pub fn serving(
        &self,
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), AuthorityError> {
        let chain = certificates(&self.certificate);
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes())
            .map_err(|error| AuthorityError(format!("its key cannot be read: {error}")))?;
        if chain.is_empty() {
            return Err(AuthorityError("nothing is stored".to_owned()));
        }
        Ok((chain, key))
    }

    /// When the serving certificate ends; None where it cannot be read.
    pub fn ends(&self) -> Option<Duration> {
        let chain = certificates(&self.certificate);
        let (_, ends) = validity(chain.first()?)?;
        Some(Duration::from_secs(ends))
    }

    /// The authorities whose certificate and key can be read and belong together.
    fn read_authorities(&self) -> Vec<Authority> {
        let keys = self
            .authority_keys
            .split_inclusive("-----END PRIVATE KEY-----\n");
        let read = |(der, key): (CertificateDer<'static>, &str)| {
            let pair = KeyPair::from_pem(key).ok()?;
            let (_, parsed) = X509Certificate::from_der(&der).ok()?;
            let fits = parsed.public_key().subject_public_key.data == pair.public_key_raw();
            let (begins, ends) = validity(&der)?;
            fits.then(|| Authority {
                certificate: pem(&der),
                key: key.to_owned(),
                der: der.clone(),
                made: begins + BACKDATE_SECS,
                ends,
            })
        };
        let all = certificates(&self.authorities);
        let all = all.into_iter().take(AUTHORITIES_MAX);
        all.zip(keys).filter_map(read).collect()
    }

    /// Whether the serving certificate is good for a while, for these names, and signed by whoever is
    /// to sign now.
    fn serves(
        &self,
        authorities: &[Authority],
        signer: &Authority,
        names: &[String],
        now: u64,
    ) -> bool {
        let Ok((chain, key)) = self.serving() else {
            return false;
        };
        let Some((_, parsed)) = chain
            .first()
            .and_then(|der| X509Certificate::from_der(der).ok())
        else {
            return false;
        };
        let Some((begins, ends)) = chain.first().and_then(validity) else {
            return false;
        };
        let pair = KeyPair::try_from(&key).ok();
        let fits = pair.is_some_and(|pair| {
            parsed.public_key().subject_public_key.data == pair.public_key_raw()
        });
        let signed_by = |authority: &Authority| {
            let ca = X509Certificate::from_der(&authority.der).ok();
            ca.is_some_and(|(_, ca)| parsed.verify_signature(Some(ca.public_key())).is_ok())
        };
        // An older certificate than the signer's own is of another.
        let right = signed_by(signer) && authorities.iter().any(|it| it.der == signer.der);
        fits && right
            && begins <= now
            && ends > now + SERVING_RENEW_SECS
            && sorted(names_of(&parsed)) == sorted(names.to_vec())
    }
}

impl Authority {
    fn make(now: u64) -> Result<Self, AuthorityError> {
        let key = KeyPair::generate().map_err(failed)?;
        let ends = now + AUTHORITY_SECS;
        let certificate = params(now, ends)?.self_signed(&key).map_err(failed)?;
        Ok(Self {
            certificate: pem(certificate.der()),
            key: key.serialize_pem(),
            der: certificate.der().clone(),
            made: now,
            ends,
        })
    }

    fn sign(&self, names: &[String], now: u64) -> Result<(String, String), AuthorityError> {
        let key = KeyPair::from_pem(&self.key).map_err(failed)?;
        let issuer = Issuer::new(params(self.made, self.ends)?, key);
        let mut params = CertificateParams::new(names.to_vec()).map_err(failed)?;
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, "weir-webhook");
        params.not_before = at(now.saturating_sub(BACKDATE_SECS))?;
        params.not_after = at((now + SERVING_SECS).min(self.ends))?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let own = KeyPair::generate().map_err(failed)?;
        let certificate = params.signed_by(&own, &issuer).map_err(failed)?;
        Ok((pem(certificate.der()), own.serialize_pem()))
    }
}

/// An authority's certificate follows from its times, so that it need not be read to sign with it.
fn params(made: u64, ends: u64) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let name = format!("{NAME} {made}");
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = at(made.saturating_sub(BACKDATE_SECS))?;
    params.not_after = at(ends)?;
    Ok(params)
}

fn at(unix_secs: u64) -> Result<OffsetDateTime, AuthorityError> {
    let secs = i64::try_from(unix_secs).map_err(|error| AuthorityError(error.to_string()))?;
    OffsetDateTime::from_unix_timestamp(secs)
        .map_err(|error| AuthorityError(format!("the clock is wrong: {error}")))
}

fn failed(error: rcgen::Error) -> AuthorityError {
    AuthorityError(error.to_string())
}

fn certificates(text: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(text.as_bytes())
        .filter_map(Result::ok)
        .collect()
}

fn validity(der: &CertificateDer<'_>) -> Option<(u64, u64)> {
    let (_, parsed) = X509Certificate::from_der(der).ok()?;
    let validity = parsed.validity();
    let begins = u64::try_from(validity.not_before.timestamp()).ok()?;
    let ends = u64::try_from(validity.not_after.timestamp()).ok()?;
    Some((begins, ends))
}

fn names_of(certificate: &X509Certificate<'_>) -> Vec<String> {
    let extension = certificate.subject_alternative_name().ok().flatten();
    let names = extension.map(|it| it.value.general_names.clone());
    let text = |name: &x509_parser::extensions::GeneralName<'_>| match name {
        x509_parser::extensions::GeneralName::DNSName(name) => Some((*name).to_owned()),
        x509_parser::extensions::GeneralName::IPAddress(bytes) => {
            if let Ok(bytes) = <[u8; 4]>::try_from(*bytes) {
                Some(std::net::IpAddr::from(bytes).to_string())
            } else {
                let bytes = <[u8; 16]>::try_from(*bytes).ok()?;
                Some(std::net::IpAddr::from(bytes).to_string())
            }
        }
        _ => None,
    };
    names.iter().flatten().filter_map(text).collect()
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names.dedup();
    names
}

fn pem(der: &CertificateDer<'_>) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .filter_map(|line| std::str::from_utf8(line).ok())
        .collect();
    format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        lines.join("\n")
    )
}

/// The names by which the API server calls a service of a cluster.
pub fn service_names(namespace: &str, service: &str) -> Vec<String> {
    [
        format!("{service}.{namespace}.svc"),
        format!("{service}.{namespace}.svc.cluster.local"),
        format!("{service}.{namespace}"),
    ]
    .into()
}

/// Whether a text can stand in a certificate as a name.
pub fn is_name(text: &str) -> bool {
    matches!(
        CertificateParams::new(vec![text.to_owned()]).map(|it| it.subject_alt_names),
        Ok(names) if matches!(names[..], [SanType::DnsName(_) | SanType::IpAddress(_)])
    )
}
