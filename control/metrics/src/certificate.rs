//! When a certificate ends.

use std::path::Path;
use std::time::{Duration, SystemTime};

use x509_parser::prelude::{FromDer, Pem, X509Certificate};

/// When the first certificate of a PEM file ends; None where there is none that can be read.
pub fn certificate_ends(file: &Path) -> Option<SystemTime> {
    let text = std::fs::read(file).ok()?;
    let pem = Pem::iter_from_buffer(&text).flatten();
    let pem = pem.into_iter().find(|block| block.label == "CERTIFICATE")?;
    let (_, certificate) = X509Certificate::from_der(&pem.contents).ok()?;
    let ends = certificate.validity().not_after.timestamp();
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(ends).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_has_no_end() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("x.pem");
        assert_eq!(certificate_ends(&file), None);
        let wrong = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for text in ["", "x", wrong] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(certificate_ends(&file), None, "{text}");
        }
    }
}
