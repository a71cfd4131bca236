//! Path traversal: does a path leave what it is meant to stay in, or name what nobody asks for?
//!
//! A target of a request leaves where it climbs above its root. A value is judged by how far it climbs
//! and by what it reaches: `../logo.png` is how pages name their pictures. Reads what decoding gave:
//! percent signs, overlong UTF-8 and full-width characters are gone by then.
//!
//! Trusts nothing. Time: linear. Memory: none.

use memchr::memmem;

use super::sighting::Sighting;

/// Files that servers keep to themselves, as the end of a path.
const SENSITIVE: &[&[u8]] = &[
    b"etc/passwd",
    b"etc/shadow",
    b"etc/group",
    b"etc/hosts",
    b"etc/hostname",
    b"etc/issue",
    b"etc/fstab",
    b"etc/crontab",
    b"etc/sudoers",
    b"etc/my.cnf",
    b"etc/ssh/sshd_config",
    b"etc/nginx/nginx.conf",
    b"etc/apache2/apache2.conf",
    b"etc/httpd/conf/httpd.conf",
    b"proc/self/environ",
    b"proc/self/cmdline",
    b"proc/self/maps",
    b"proc/self/status",
    b"proc/version",
    b"proc/self/fd/",
    b"windows/win.ini",
    b"winnt/win.ini",
    b"windows/system.ini",
    b"boot.ini",
    b"windows/system32/",
    b"windows/repair/sam",
    b"windows/debug/netsetup.log",
    b"web-inf/web.xml",
    b"web-inf/classes/",
    b"meta-inf/manifest.mf",
    b".ssh/id_rsa",
    b".ssh/authorized_keys",
    b".bash_history",
    b".aws/credentials",
    b".kube/config",
    b".htpasswd",
    b"var/log/auth.log",
    b"var/log/apache2/access.log",
    b"var/log/httpd/access_log",
    b"var/log/nginx/access.log",
    b"var/run/secrets/kubernetes.io/serviceaccount",
    b"run/secrets/kubernetes.io/serviceaccount",
    b"autoexec.bat",
    b"inetpub/wwwroot/web.config",
];

/// Wrappers of PHP that read or run what is behind them.
const WRAPPERS: &[&[u8]] = &[
    b"php://filter",
    b"php://input",
    b"php://fd",
    b"phar://",
    b"expect://",
    b"zip://",
    b"compress.zlib://",
    b"glob://",
    b"data://text/plain",
    b"data:text/plain;base64,pd9",
    b"php:filter",
];

/// What a path does.
#[derive(Default)]
struct Climb {
    depth: i32,
    /// Steps up in all.
    up: u32,
    lowest: i32,
    /// A step up that only some server takes for one: `..;`, `....`, `.. `.
    odd: bool,
    /// Where the first step up is.
    first: Option<usize>,
}

/// Judges the path of a request's target. Without a dot (`climbs`) it leads nowhere but down.
pub(super) fn look_target(path: &[u8], climbs: bool) -> Option<Sighting> {
    let climb = match climbs {
        true => climb(path),
        false => Climb::default(),
    };
    let from = climb.first.unwrap_or(0);
    if climb.lowest < 0 {
        return Some(Sighting::new("path above the root", from, path.len()));
    }
    if climb.odd {
        return Some(Sighting::new("step up in disguise", from, path.len()));
    }
    if climb.up > 0
        && let Some(to) = reaches_sensitive(path)
    {
        return Some(Sighting::new("path to a system's file", from, to));
    }
    if begins_sensitive(path) {
        return Some(Sighting::new("path to a system's file", 0, path.len()));
    }
    None
}

/// Judges a value that may be used as a path.
pub(super) fn look(value: &[u8]) -> Option<Sighting> {
    let trimmed = value.trim_ascii();
    if let Some(wrapper) = wrapper(trimmed) {
        return Some(wrapper);
    }
    // A path is a word; what stands in a sentence is talked about.
    let word = first_word(trimmed);
    let whole = word.len() == trimmed.len();
    let climb = climb(word);
    let from = climb.first.unwrap_or(0);
    let hidden = memchr::memchr(0, word).is_some();
    if climb.up > 0 {
        let sensitive = reaches_sensitive(word);
        if let Some(to) = sensitive {
            return Some(Sighting::new("path to a system's file", from, to));
        }
        let climbs = climb.lowest <= -3 || (climb.lowest < 0 && climb.up >= 3);
        if whole && (climbs || hidden || (climb.odd && climb.lowest < 0)) {
            return Some(Sighting::new("path that climbs", from, word.len()));
        }
    }
    let absolute = matches!(word, [b'/' | b'\\', ..] | [_, b':', b'/' | b'\\', ..])
        || starts_with(word, b"file:");
    if whole && absolute && (begins_sensitive(word) || (hidden && is_absolute_file(word))) {
        return Some(Sighting::new("path to a system's file", 0, word.len()));
    }
    None
}

fn starts_with(value: &[u8], start: &[u8]) -> bool {
    value
        .get(..start.len())
        .is_some_and(|front| front.eq_ignore_ascii_case(start))
}

fn first_word(value: &[u8]) -> &[u8] {
    let end = value.iter().position(|byte| {
        matches!(
            byte,
            b' ' | b'\t' | b'\n' | b'\r' | b'"' | b'\'' | b'<' | b'>' | b'`'
        )
    });
    &value[..end.unwrap_or(value.len())]
}

fn wrapper(value: &[u8]) -> Option<Sighting> {
    WRAPPERS
        .iter()
        .find(|wrapper| starts_with(value, wrapper))
        .map(|wrapper| Sighting::new("wrapper of PHP", 0, wrapper.len()))
}

fn is_slash(byte: u8) -> bool {
    matches!(byte, b'/' | b'\\')
}

/// Follows the steps of a path; a query ends it.
fn climb(path: &[u8]) -> Climb {
    let mut climb = Climb::default();
    let mut at = 0;
    while at <= path.len() {
        let rest = &path[at..];
        let end = rest
            .iter()
            .position(|byte| is_slash(*byte) || matches!(byte, b'?' | b'#'))
            .unwrap_or(rest.len());
        let next_is_dot = matches!(rest.get(end + 1..), Some([b'.', next, ..]) if is_slash(*next));
        climb.step(&rest[..end], at, end < rest.len(), next_is_dot);
        if end == rest.len() || !is_slash(rest[end]) {
            break;
        }
        at += end + 1;
    }
    climb
}

impl Climb {
    fn step(&mut self, step: &[u8], at: usize, followed: bool, next_is_dot: bool) {
        // Parameters of a step, blanks and zero bytes behind it: not every server sees them.
        let plain = step
            .iter()
            .position(|byte| matches!(byte, b';' | 0))
            .map_or(step, |end| &step[..end]);
        let plain = plain.trim_ascii();
        let dots = plain.iter().filter(|byte| **byte == b'.').count();
        let only_dots = !plain.is_empty() && dots == plain.len();
        match plain {
            [] | [b'.'] => {}
            [b'.', b'.'] => {
                self.up += 1;
                self.depth -= 1;
                self.odd |= plain.len() != step.len() && followed;
                self.first.get_or_insert(at);
            }
            // `....//` and `..././` are `../` to who removes `../` once.
            _ if only_dots && followed && (dots == 4 || (dots == 3 && next_is_dot)) => {
                self.up += 1;
                self.depth -= 1;
                self.odd = true;
                self.first.get_or_insert(at);
            }
            // The name of a file, or of a drive, before the first slash.
            _ => self.depth += i32::from(at > 0 || followed),
        }
        self.lowest = self.lowest.min(self.depth);
    }
}

/// Compares as Windows does: slashes either way, any case, several for one.
fn matches_path(path: &[u8], wanted: &[u8]) -> Option<usize> {
    let mut at = 0;
    for &byte in wanted {
        if byte == b'/' {
            if !path.get(at).is_some_and(|byte| is_slash(*byte)) {
                return None;
            }
            while path.get(at).is_some_and(|byte| is_slash(*byte))
                || (path.get(at) == Some(&b'.')
                    && path.get(at + 1).is_some_and(|byte| is_slash(*byte)))
            {
                at += 1;
            }
        } else {
            if path.get(at).map(u8::to_ascii_lowercase) != Some(byte) {
                return None;
            }
            at += 1;
        }
    }
    Some(at)
}

/// A sensitive file behind steps up.
fn reaches_sensitive(path: &[u8]) -> Option<usize> {
    for at in memchr::memchr2_iter(b'/', b'\\', path) {
        let rest = &path[at + 1..];
        if let Some(length) = SENSITIVE.iter().find_map(|file| matches_path(rest, file)) {
            return Some(at + 1 + length);
        }
    }
    None
}

/// Those that end a path at its root.
const ANYWHERE: &[&[u8]] = &[
    b"web-inf/web.xml",
    b"etc/passwd",
    b"etc/shadow",
    b"windows/win.ini",
    b"boot.ini",
];

/// The bytes that sensitive files begin with, of those that [`begins_sensitive`] looks for.
static BEGINNINGS: [bool; 256] = beginnings();

const fn beginnings() -> [bool; 256] {
    let mut set = [false; 256];
    let lists = [SENSITIVE, ANYWHERE];
    let mut list = 0;
    while list < lists.len() {
        let mut file = 0;
        while file < lists[list].len() {
            let name = lists[list][file];
            if list == 1 || is_below_root(name) {
                set[name[0] as usize] = true;
            }
            file += 1;
        }
        list += 1;
    }
    set
}

/// Whether the file has a folder, and one that does not hide.
const fn is_below_root(name: &[u8]) -> bool {
    let mut at = 0;
    while at < name.len() {
        if name[at] == b'/' {
            return name[0] != b'.';
        }
        at += 1;
    }
    false
}

/// `/etc/passwd`, `c:\windows\win.ini`, `file:///etc/passwd`
fn begins_sensitive(path: &[u8]) -> bool {
    let path = if starts_with(path, b"file:") {
        &path[5..]
    } else {
        path
    };
    let path = match path {
        [_, b':', rest @ ..] => rest,
        path => path,
    };
    let mut slashes = path.iter().take_while(|byte| is_slash(**byte)).count();
    let mut path = &path[slashes..];
    while let [b'.', slash, rest @ ..] = path
        && is_slash(*slash)
    {
        path = rest;
        slashes += 1;
    }
    // Most paths begin as none of the files does: 7 % of the instructions of HTTP.
    let first = path.first().map_or(0, u8::to_ascii_lowercase);
    BEGINNINGS[usize::from(first)]
        && slashes > 0
        && (SENSITIVE
            .iter()
            .filter(|file| file[0] == first && is_below_root(file))
            .any(|file| matches_path(path, file).is_some())
            || ANYWHERE
                .iter()
                .any(|file| matches_path(path, file).is_some_and(|length| length == path.len())))
}

/// `/etc/x\0.png`
fn is_absolute_file(path: &[u8]) -> bool {
    let root: &[&[u8]] = &[
        b"/etc/", b"/var/", b"/proc/", b"/home/", b"/usr/", b"/root/", b"c:\\", b"c:/",
    ];
    root.iter().any(|root| starts_with(path, root))
}

/// Entities of XML that read files or addresses (XXE).
pub(super) fn look_xml(body: &[u8]) -> Option<Sighting> {
    let start = memmem::find(body, b"<!ENTITY")?;
    let rest = &body[start..];
    let rest = rest.get(..512).unwrap_or(rest);
    let external = [b"SYSTEM".as_slice(), b"PUBLIC"]
        .into_iter()
        .find_map(|word| memmem::find(rest, word))?;
    let target = &rest[external..];
    let reads: &[&[u8]] = &[
        b"file:", b"php:", b"expect:", b"gopher:", b"netdoc:", b"jar:", b"http:", b"https:",
        b"ftp:", b"\"/", b"'/",
    ];
    reads
        .iter()
        .any(|scheme| memmem::find(target, scheme).is_some())
        .then(|| Sighting::new("entity that reads a file", start, start + rest.len()))
}
