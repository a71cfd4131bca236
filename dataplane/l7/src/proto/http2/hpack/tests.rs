//! The examples of RFC 7541, appendix C.

use super::*;

fn bytes(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> = digits
        .chars()
        .filter_map(|digit| digit.to_digit(16))
        .map(|digit| digit as u8)
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

struct Peer {
    table: Table,
    memory: Vec<u8>,
}

impl Peer {
    fn new() -> Self {
        Self {
            table: Table::default(),
            memory: vec![0; 4_096],
        }
    }

    fn read(&mut self, block: &str) -> Result<Vec<(String, String)>, &'static str> {
        let mut fields = Vec::new();
        let text = |text: Text<'_>| match text {
            Text::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            other => format!("{other:?}"),
        };
        decode(
            &bytes(block),
            &mut self.table,
            &mut self.memory,
            &mut |name, value| {
                fields.push((text(name), text(value)));
                Ok(())
            },
        )?;
        Ok(fields)
    }

    fn expect(&mut self, block: &str, fields: &[(&str, &str)]) {
        let read = self.read(block).expect("a block of the appendix");
        let read: Vec<_> = read
            .iter()
            .map(|(name, value)| (&name[..], &value[..]))
            .collect();
        assert_eq!(read, fields);
    }

    fn entries(&self) -> Vec<(String, String)> {
        (0..)
            .map_while(|index| self.table.get(&self.memory, index))
            .map(|(name, value)| {
                (
                    String::from_utf8_lossy(name).into_owned(),
                    String::from_utf8_lossy(value).into_owned(),
                )
            })
            .collect()
    }
}

#[test]
fn single_fields() {
    Peer::new().expect(
        "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
        &[("custom-key", "custom-header")],
    );
    Peer::new().expect(
        "040c 2f73 616d 706c 652f 7061 7468",
        &[(":path", "/sample/path")],
    );
    Peer::new().expect(
        "1008 7061 7373 776f 7264 0673 6563 7265 74",
        &[("password", "secret")],
    );
    Peer::new().expect("82", &[(":method", "GET")]);
}

const REQUESTS: [&[(&str, &str)]; 3] = [
    &[
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "www.example.com"),
    ],
    &[
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "www.example.com"),
        ("cache-control", "no-cache"),
    ],
    &[
        (":method", "GET"),
        (":scheme", "https"),
        (":path", "/index.html"),
        (":authority", "www.example.com"),
        ("custom-key", "custom-value"),
    ],
];

#[test]
fn requests_plain_and_coded() {
    let plain = [
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
    ];
    let coded = [
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        "8286 84be 5886 a8eb 1064 9cbf",
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
    ];
    for blocks in [plain, coded] {
        let mut peer = Peer::new();
        for (block, fields) in blocks.into_iter().zip(REQUESTS) {
            peer.expect(block, fields);
        }
        assert_eq!(
            peer.entries(),
            [
                ("custom-key", "custom-value"),
                ("cache-control", "no-cache"),
                (":authority", "www.example.com"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
    }
}

const RESPONSES: [&[(&str, &str)]; 3] = [
    &[
        (":status", "302"),
        ("cache-control", "private"),
        ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
        ("location", "https://www.example.com"),
    ],
    &[
        (":status", "307"),
        ("cache-control", "private"),
        ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
        ("location", "https://www.example.com"),
    ],
    &[
        (":status", "200"),
        ("cache-control", "private"),
        ("date", "Mon, 21 Oct 2013 20:13:22 GMT"),
        ("location", "https://www.example.com"),
        ("content-encoding", "gzip"),
        (
            "set-cookie",
            "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
        ),
    ],
];

#[test]
fn responses_with_a_table_of_256() {
    let plain = [
        "3fe1 01
         4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133
         2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70
         6c65 2e63 6f6d",
        "4803 3330 37c1 c0bf",
        "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d
         54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049
         5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e
         3d31",
    ];
    let coded = [
        "3fe1 01
         4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6
         2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
        "4883 640e ffc1 c0bf",
        "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab
         77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f
         9587 3160 65c0 03ed 4ee5 b106 3d50 07",
    ];
    for blocks in [plain, coded] {
        let mut peer = Peer::new();
        for (block, fields) in blocks.into_iter().zip(RESPONSES) {
            peer.expect(block, fields);
        }
        let names: Vec<_> = peer.entries().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["set-cookie", "content-encoding", "date"]);
    }
}

#[test]
fn what_no_decoder_could_read() {
    for block in [
        "80",                   // index 0
        "be",                   // an index beyond both tables
        "82 20",                // a new size behind a field
        "ff ff ff ff ff 7f",    // a number beyond 32 bits
        "ff",                   // a number without end
        "00 05 61",             // a string beyond the block
        "00 81 fe 00",          // padding that is not all ones
        "00 84 ff ff ff ff 00", // the end of string within one
    ] {
        assert!(Peer::new().read(block).is_err(), "{block}");
    }
}

#[test]
fn what_was_not_seen_is_lost_not_wrong() {
    let mut peer = Peer::new();
    peer.table.forget();
    peer.expect("be", &[("Lost", "Lost")]);
    peer.expect("4103 612e 62", &[(":authority", "a.b")]);
    peer.expect("be bf", &[(":authority", "a.b"), ("Lost", "Lost")]);
}

#[test]
fn a_bomb_is_refused() {
    assert!(Peer::new().read(&"82".repeat(FIELDS_MAX)).is_ok());
    assert!(Peer::new().read(&"82".repeat(FIELDS_MAX + 1)).is_err());
}
