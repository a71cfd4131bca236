//! Decoding a message in any pieces, with the rules of parts checked on the way.

use std::cell::RefCell;

use weir_content::{Decoders, Form, Limits, Outcome, Part, PartKind};

/// A part put together again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whole {
    pub kind: PartKind,
    pub name: String,
    pub bytes: Vec<u8>,
}

/// A part that is expected.
pub fn part(kind: PartKind, name: &str, bytes: impl AsRef<[u8]>) -> Whole {
    Whole {
        kind,
        name: name.to_owned(),
        bytes: bytes.as_ref().to_vec(),
    }
}

thread_local! {
    static DECODERS: RefCell<Decoders> = RefCell::new(Decoders::new(Limits {
        messages: 1,
        inflate: 1,
        brotli: 0,
        zstd: 0,
        ..Limits::default()
    }));
}

/// All parts of a message that comes cut at each of `cuts`, the body first.
pub fn parts(media_type: &str, content: &[u8], cuts: &[usize]) -> Vec<Whole> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (content.len() + 1)).collect();
    cuts.extend([0, content.len()]);
    cuts.sort_unstable();
    let (mut body, mut parts): (Option<Whole>, Vec<Whole>) = (None, Vec::new());
    let (mut body_ended, mut open) = (false, false);
    let mut sink = |part: &Part<'_>| {
        assert!(!body_ended, "nothing follows the end of the body");
        let name = String::from_utf8_lossy(part.name).into_owned();
        let begun = Whole {
            kind: part.kind,
            name: name.clone(),
            bytes: Vec::new(),
        };
        let whole = if part.kind == PartKind::Body {
            assert_eq!(part.begins, body.is_none());
            body_ended = part.ends;
            body.get_or_insert(begun)
        } else {
            assert_eq!(part.begins, !open, "one part at a time");
            open = !part.ends;
            if part.begins {
                parts.push(begun);
            }
            parts.last_mut().expect("a part begins before it goes on")
        };
        assert_eq!((whole.kind, &whole.name), (part.kind, &name));
        whole.bytes.extend_from_slice(part.bytes);
    };
    DECODERS.with_borrow_mut(|decoders| {
        let form = Form {
            coding: b"",
            media_type: media_type.as_bytes(),
        };
        let id = decoders.begin(&form).expect("there is a slot");
        for pair in cuts.windows(2) {
            decoders.piece(id, &content[pair[0]..pair[1]], false, &mut sink);
        }
        let last = decoders.piece(id, b"", true, &mut sink);
        assert_eq!(last, Outcome::Whole);
        decoders.close(id);
    });
    assert!(body_ended && !open, "everything ends");
    let body = body.expect("a body is told");
    assert_eq!(body.bytes, content);
    parts
}
