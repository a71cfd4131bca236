//! Where a content is cut makes no difference, and neither does what came before an attack.

use proptest::prelude::*;
use weir_l7::Buffer;
use weir_threat::injection::{Piece, Source, WINDOW_BYTES};
use weir_threat::{Found, Threat};

use crate::{Bench, has};

impl Bench {
    /// The findings of a content in these pieces.
    fn cut(
        &mut self,
        buffer: Buffer,
        media_type: &str,
        content: &[u8],
        cuts: &[usize],
    ) -> Vec<String> {
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut % (content.len() + 1)).collect();
        places.extend([0, content.len()]);
        places.sort_unstable();
        let mut found = Found::new();
        let last = places.len() - 2;
        for (index, ends) in places.windows(2).enumerate() {
            let piece = Piece {
                source: Source {
                    connection: 7,
                    stream: 3,
                    buffer,
                },
                begins: (index == 0).then_some(media_type.as_bytes()),
                bytes: &content[ends[0]..ends[1]],
                ends: index == last,
            };
            self.injection.content(&self.config, &piece, &mut found);
        }
        let mut told: Vec<_> = found
            .drain()
            .map(|finding| format!("{} {}", finding.threat, finding.evidence.sign))
            .collect();
        told.sort();
        told
    }
}

fn attack() -> impl Strategy<Value = &'static str> {
    prop::sample::select(
        &[
            "&q=x%27+or+1%3D1--+&",
            "&q=1;cat%20/etc/passwd&",
            "&q=${jndi:ldap://10.0.0.1/a}&",
            "&q=<svg onload=alert(1)>&",
            "&q=../../../../etc/passwd&",
            "&q=rock+%26+roll&",
            "",
        ][..],
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn cuts_make_no_difference(
        before in 0usize..3 * WINDOW_BYTES,
        after in 0usize..WINDOW_BYTES,
        attack in attack(),
        cuts in prop::collection::vec(0usize..usize::MAX, 0..12),
    ) {
        let mut bench = Bench::new();
        let mut content = b"a=".to_vec();
        content.extend((0..before).map(|place| b"abcdefghi&jk=lmno"[place % 17]));
        content.extend(attack.as_bytes());
        content.extend((0..after).map(|place| b"pqrst&uv=wxyz"[place % 13]));
        let media = "application/x-www-form-urlencoded";
        let whole = bench.cut(Buffer::HttpRequestBody, media, &content, &[]);
        let cut = bench.cut(Buffer::HttpRequestBody, media, &content, &cuts);
        prop_assert_eq!(&whole, &cut);
        prop_assert_eq!(whole.is_empty(), attack.is_empty() || attack.contains("roll"));
    }
}

#[test]
fn a_statement_in_pieces() {
    let mut bench = Bench::new();
    let statement = b"SELECT * FROM users WHERE name = '' or '1'='1' -- '";
    for cut in 0..statement.len() {
        let told = bench.cut(Buffer::Statement, "", statement, &[cut]);
        assert_eq!(
            told,
            ["sql-injection condition of literals"],
            "cut at {cut}"
        );
    }
}

/// Contents of several messages at once do not mix.
#[test]
fn contents_are_kept_apart() {
    let mut bench = Bench::new();
    let mut found = Found::new();
    let mut piece = |connection, begins, bytes: &[u8], ends| {
        let piece = Piece {
            source: Source {
                connection,
                stream: 0,
                buffer: Buffer::Form,
            },
            begins,
            bytes,
            ends,
        };
        bench.injection.content(&bench.config, &piece, &mut found);
    };
    for connection in 0..20 {
        piece(connection, Some(b"".as_slice()), b"1 or ", false);
    }
    for connection in 0..19 {
        piece(connection, None, b"2 apples", true);
    }
    piece(19, None, b"1=1", true);
    assert!(has(&found, Threat::SqlInjection));
}
