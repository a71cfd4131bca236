//! The four-letter words and how their answers begin (ZooKeeper Administrator's Guide).

const WORDS: &[&str] = &[
    "conf", "cons", "crst", "dirs", "dump", "envi", "gtmk", "hash", "isro", "lead", "lsnp", "mntr",
    "obsr", "ruok", "srst", "srvr", "stat", "stmk", "sysp", "wchc", "wchp", "wchs",
];

const ANSWERS: &[&[u8]] = &[
    b"imok",
    b"Zookeeper version: ",
    b"This ZooKeeper instance is not currently serving requests",
    b"zk_version\t",
    b"clientPort=",
    b"secureClientPort=",
    b"Environment:\n",
    b"SessionTracker dump:",
    b"Server stats reset.",
    b"Connection stats reset.",
];

/// Behind the word in the answer of a server that does not allow it.
const REFUSED: &[u8] = b" is not executed because it is not in the whitelist.";

pub(super) fn known(word: &[u8; 4]) -> Option<&'static str> {
    WORDS.iter().copied().find(|known| known.as_bytes() == word)
}

/// What `input` is as the client's part: a word, the beginning of one, or none. netcat adds a
/// line end.
pub(super) fn begins(input: &[u8]) -> Option<bool> {
    let word = input.get(..4).unwrap_or(input);
    let known = WORDS.iter().any(|known| known.as_bytes().starts_with(word));
    let ends = matches!(input.get(4..), None | Some([] | b"\n" | b"\r" | b"\r\n"));
    (known && ends).then_some(input.len() >= 4)
}

/// Whether `input` begins as the answer to a word does.
pub(super) fn answers(input: &[u8]) -> bool {
    input.first().is_some_and(u8::is_ascii_alphabetic)
}

/// Whether it can be nothing else; none: too short to tell.
pub(super) fn certain(input: &[u8]) -> Option<bool> {
    let mut partial = false;
    for answer in ANSWERS {
        if input.starts_with(answer) {
            return Some(true);
        }
        partial |= answer.starts_with(input);
    }
    let refused = input.get(4..).unwrap_or_default();
    let front = input.get(..4).unwrap_or(input);
    let word = WORDS
        .iter()
        .any(|known| known.as_bytes().starts_with(front));
    if word && refused.starts_with(REFUSED) {
        return Some(true);
    }
    partial |= word && REFUSED.starts_with(refused);
    if partial { None } else { Some(false) }
}
