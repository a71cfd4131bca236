//! Names of headers that somebody asks for, in any case: looked up once a header line.
//!
//! Trusts nothing. Memory: none.

/// What a header is, as far as anybody asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Name {
    /// Nobody asks for it by name.
    #[default]
    Other,
    Accept,
    AcceptEncoding,
    AcceptLanguage,
    AllowHeaders,
    AllowMethods,
    Connection,
    /// One of the headers that Consul answers with.
    Consul,
    ConsulToken,
    ContentEncoding,
    ContentLength,
    ContentType,
    Cookie,
    CouchRequest,
    Date,
    ElasticClient,
    ElasticProduct,
    /// One of the headers that etcd answers with.
    Etcd,
    Host,
    KeepAlive,
    Link,
    Location,
    Pingback,
    PoweredBy,
    RedirectBy,
    Referer,
    Server,
    SetCookie,
    TransferEncoding,
    Upgrade,
    UserAgent,
}

use Name::*;

/// A name in lower case, as two overlapping words with a bit for each letter's case.
struct Known {
    text: &'static [u8],
    name: Name,
    words: [u64; 2],
    letters: [u64; 2],
}

/// By length.
static KNOWN: [Known; 35] = [
    known("date", Date),
    known("host", Host),
    known("link", Link),
    known("accept", Accept),
    known("cookie", Cookie),
    known("server", Server),
    known("referer", Referer),
    known("upgrade", Upgrade),
    known("location", Location),
    known("connection", Connection),
    known("keep-alive", KeepAlive),
    known("set-cookie", SetCookie),
    known("user-agent", UserAgent),
    known("x-pingback", Pingback),
    known("content-type", ContentType),
    known("x-powered-by", PoweredBy),
    known("x-etcd-index", Etcd),
    known("x-raft-index", Etcd),
    known("x-redirect-by", RedirectBy),
    known("content-length", ContentLength),
    known("x-consul-token", ConsulToken),
    known("x-consul-index", Consul),
    known("accept-encoding", AcceptEncoding),
    known("accept-language", AcceptLanguage),
    known("content-encoding", ContentEncoding),
    known("transfer-encoding", TransferEncoding),
    known("x-elastic-product", ElasticProduct),
    known("x-etcd-cluster-id", Etcd),
    known("x-couch-request-id", CouchRequest),
    known("x-consul-knownleader", Consul),
    known("x-consul-lastcontact", Consul),
    known("x-elastic-client-meta", ElasticClient),
    known("x-consul-default-acl-policy", Consul),
    known("access-control-allow-headers", AllowHeaders),
    known("access-control-allow-methods", AllowMethods),
];

const LENGTH_MAX: usize = 28;

/// Where the names of each length begin in [`KNOWN`].
static OF_LENGTH: [u8; LENGTH_MAX + 2] = of_length();

const fn of_length() -> [u8; LENGTH_MAX + 2] {
    let mut begins = [0; LENGTH_MAX + 2];
    let mut length = 0;
    while length < begins.len() {
        let mut place = 0;
        while place < KNOWN.len() && KNOWN[place].text.len() < length {
            place += 1;
        }
        begins[length] = place as u8;
        length += 1;
    }
    begins
}

const fn known(text: &'static str, name: Name) -> Known {
    let text = text.as_bytes();
    let words = match words(text) {
        Some(words) => words,
        None => panic!("a name shorter than four bytes"),
    };
    let mut letters = [0; 2];
    let mut bit = 0;
    while bit < 64 {
        let mut word = 0;
        while word < 2 {
            if ((words[word] >> bit) as u8).is_ascii_lowercase() {
                letters[word] |= 0x20 << bit;
            }
            word += 1;
        }
        bit += 8;
    }
    Known {
        text,
        name,
        words,
        letters,
    }
}

/// The first and the last eight bytes, or four; they tell names of up to sixteen bytes apart.
const fn words(text: &[u8]) -> Option<[u64; 2]> {
    if let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) {
        return Some([u64::from_le_bytes(*first), u64::from_le_bytes(*last)]);
    }
    match (text.first_chunk(), text.last_chunk()) {
        (Some(first), Some(last)) => Some([
            u32::from_le_bytes(*first) as u64,
            u32::from_le_bytes(*last) as u64,
        ]),
        _ => None,
    }
}

impl Known {
    #[inline]
    fn is(&self, text: &[u8], words: [u64; 2]) -> bool {
        let [first, last] = words;
        first | self.letters[0] == self.words[0]
            && last | self.letters[1] == self.words[1]
            && (text.len() <= 16 || text.eq_ignore_ascii_case(self.text))
    }
}

impl Name {
    /// What the header of this name is.
    #[inline]
    pub(crate) fn of(text: &[u8]) -> Self {
        let (Some(&[begins, ends]), Some(words)) = (
            OF_LENGTH
                .get(text.len()..)
                .and_then(|rest| rest.first_chunk()),
            words(text),
        ) else {
            return Other;
        };
        let known = &KNOWN[usize::from(begins)..usize::from(ends)];
        let found = known.iter().find(|known| known.is(text, words));
        found.map_or(Other, |known| known.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_in_any_case_and_no_others() {
        for known in &KNOWN {
            let mut text = known.text.to_vec();
            assert_eq!(Name::of(&text), known.name);
            assert_eq!(Name::of(&text.to_ascii_uppercase()), known.name);
            for at in 0..text.len() {
                let byte = text[at];
                for other in 0..=255 {
                    text[at] = other;
                    let same = other.eq_ignore_ascii_case(&byte);
                    let is = Name::of(&text) == known.name;
                    // Two names of one meaning may differ by a byte.
                    assert!(
                        is == same || known.name == Consul || known.name == Etcd,
                        "{:?}",
                        text
                    );
                }
                text[at] = byte;
            }
            assert_eq!(Name::of(&text[1..]), Other);
            text.push(b'x');
            assert_eq!(Name::of(&text), Other);
        }
        assert_eq!(Name::of(b""), Other);
        assert_eq!(Name::of(&[b'a'; 300]), Other);
    }
}
