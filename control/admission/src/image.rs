//! The name of an image, as container runtimes read it: `registry/repository:tag@digest`.

use std::fmt;

/// A reference to an image, with what is left out filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// "docker.io".
    pub registry: String,
    /// "library/nginx".
    pub repository: String,
    /// As written; None where none is.
    pub tag: Option<String>,
    /// "sha256:…"; None where none is written.
    pub digest: Option<String>,
}

/// Why a text names no image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no name of an image")]
pub struct ImageError;

/// Longer names are no names of images.
const CHARS_MAX: usize = 512;

impl Image {
    /// Reads a reference.
    pub fn read(text: &str) -> Result<Self, ImageError> {
        let printable = text.bytes().all(|byte| byte.is_ascii_graphic());
        if text.is_empty() || text.len() > CHARS_MAX || !printable {
            return Err(ImageError);
        }
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (text, None),
        };
        let valid = |digest: &str| {
            digest.split_once(':').is_some_and(|(algorithm, hex)| {
                !algorithm.is_empty()
                    && hex.len() >= 32
                    && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
            })
        };
        if digest.is_some_and(|digest| !valid(digest)) {
            return Err(ImageError);
        }
        // A colon before the last slash is a port.
        let path_from = name.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match name[path_from..].rfind(':') {
            Some(colon) => (
                &name[..path_from + colon],
                Some(&name[path_from + colon + 1..]),
            ),
            None => (name, None),
        };
        let tag_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        if tag.is_some_and(|tag| tag.is_empty() || !tag.bytes().all(tag_letter)) {
            return Err(ImageError);
        }
        let (registry, repository) = split_registry(name);
        let path_letter = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.-/".contains(&byte)
        };
        let filled = !repository.split('/').any(str::is_empty);
        if !filled || !repository.bytes().all(path_letter) {
            return Err(ImageError);
        }
        Ok(Self {
            registry,
            repository,
            tag: tag.map(str::to_owned),
            digest: digest.map(str::to_owned),
        })
    }

    /// The tag that is pulled; None where the digest alone says which.
    pub fn effective_tag(&self) -> Option<&str> {
        match (&self.tag, &self.digest) {
            (Some(tag), _) => Some(tag),
            (None, None) => Some("latest"),
            (None, Some(_)) => None,
        }
    }

    /// Whether it comes from there: `registry.example.com`, `ghcr.io/team`, `*.example.com`.
    pub fn comes_from(&self, place: &str) -> bool {
        let place = place.trim_end_matches('/');
        let (registry, path) = match place.split_once('/') {
            Some((registry, path)) => (registry, path),
            None => (place, ""),
        };
        let registry = match alias(registry).strip_prefix("*.") {
            Some(domain) => {
                let host = self.registry.strip_suffix(domain);
                host.is_some_and(|host| host.len() > 1 && host.ends_with('.'))
            }
            None => alias(registry).eq_ignore_ascii_case(&self.registry),
        };
        let rest = self.repository.strip_prefix(path);
        registry
            && rest.is_some_and(|rest| path.is_empty() || rest.is_empty() || rest.starts_with('/'))
    }

    /// "docker.io/library/nginx": without tag and digest.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }
}

impl fmt::Display for Image {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(formatter, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(formatter, "@{digest}")?;
        }
        Ok(())
    }
}

/// Only a first part that looks like a host is one; without a host it is Docker's, and there without
/// an owner the library's.
pub(crate) fn split_registry(name: &str) -> (String, String) {
    let host = |part: &str| {
        part.contains('.')
            || part.contains(':')
            || part == "localhost"
            || part.bytes().any(|byte| byte.is_ascii_uppercase())
    };
    match name.split_once('/') {
        Some((first, rest)) if host(first) => {
            let registry = alias(first).to_ascii_lowercase();
            if registry == "docker.io" && !rest.contains('/') {
                return (registry, format!("library/{rest}"));
            }
            (registry, rest.to_owned())
        }
        Some(_) => ("docker.io".to_owned(), name.to_owned()),
        None => ("docker.io".to_owned(), format!("library/{name}")),
    }
}

fn alias(registry: &str) -> &str {
    match registry {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:9b7cc10a375078764c26a25ba9a0aa1d5f1d3aa3e2ba4d5a09ba8fdd1f3a5a4c";

    #[test]
    fn references_are_read_as_runtimes_read_them() {
        let read = |text: &str| Image::read(text).map(|image| image.to_string());
        for (text, full) in [
            ("nginx", "docker.io/library/nginx"),
            ("nginx:1.27", "docker.io/library/nginx:1.27"),
            ("team/app", "docker.io/team/app"),
            ("index.docker.io/nginx", "docker.io/library/nginx"),
            ("localhost:5000/a/b:x", "localhost:5000/a/b:x"),
            (
                "registry.example.com:443/app",
                "registry.example.com:443/app",
            ),
            ("GHCR.io/team/app", "ghcr.io/team/app"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(full), "{text}");
        }
        let pinned = format!("ghcr.io/a/b:1@{DIGEST}");
        assert_eq!(read(&pinned).as_deref(), Ok(pinned.as_str()));
        for wrong in [
            "",
            "a b",
            "Nginx",
            "a//b",
            "nginx:",
            "nginx@",
            "nginx@sha256:zz",
            "a:b:c",
            "ghcr.io/",
        ] {
            assert_eq!(Image::read(wrong), Err(ImageError), "{wrong}");
        }
    }

    #[test]
    fn an_image_comes_from_its_registry_and_from_no_other() {
        let from = |image: &str, place: &str| Image::read(image).unwrap().comes_from(place);
        assert!(from("ghcr.io/team/app", "ghcr.io"));
        assert!(from("ghcr.io/team/app", "ghcr.io/team/"));
        assert!(!from("ghcr.io/teams/app", "ghcr.io/team"));
        assert!(!from("ghcr.io.evil.com/team/app", "ghcr.io"));
        assert!(from("a.example.com/x", "*.example.com"));
        assert!(!from("example.com/x", "*.example.com"));
        assert!(!from("evilexample.com/x", "*.example.com"));
        assert!(from("nginx", "docker.io/library"));
        assert!(!from("team/nginx", "docker.io/library"));
        assert!(!from("localhost:5000/x", "localhost"));
    }

    #[test]
    fn without_tag_and_digest_it_is_the_latest() {
        let tag = |text: &str| {
            Image::read(text)
                .unwrap()
                .effective_tag()
                .map(str::to_owned)
        };
        assert_eq!(tag("nginx").as_deref(), Some("latest"));
        assert_eq!(tag(&format!("nginx@{DIGEST}")), None);
        assert_eq!(tag("nginx:2").as_deref(), Some("2"));
    }
}
