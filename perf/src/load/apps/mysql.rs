//! MySQL: greeting, login, then statements and result sets of one column and ten rows.

use crate::load::Sender;
use crate::load::dialogue::Dialogue;
use crate::load::mix;

/// A session each flow.
pub(in crate::load) struct Mysql;

impl Dialogue for Mysql {
    fn server_port(&self, _flow: u64) -> u16 {
        3306
    }

    fn turns(&self) -> Option<u32> {
        None
    }

    fn opening_turns(&self) -> u32 {
        5
    }

    fn say(&self, flow: u64, turn: u32, said: &mut Vec<u8>) -> Sender {
        match turn {
            0 => packet(0, &greeting(flow), said),
            1 => packet(1, &login(), said),
            2 => packet(2, &[0, 0, 0, 2, 0, 0, 0], said),
            _ if turn % 2 == 1 => {
                let number = mix(flow << 32 ^ u64::from(turn));
                let (shelf, above) = (number % 400, number / 400 % 90);
                let select = format!(
                    "\x03SELECT name FROM items WHERE shelf = {shelf} AND price > {above} LIMIT 10"
                );
                let insert =
                    format!("\x03INSERT INTO visits (item, seen) VALUES ({shelf}, {above})");
                let statement = if number.is_multiple_of(5) {
                    insert
                } else {
                    select
                };
                packet(0, statement.as_bytes(), said);
            }
            // An answer goes with its statement.
            _ if mix(flow << 32 ^ u64::from(turn - 1)).is_multiple_of(5) => {
                packet(1, &[0, 1, 0, 2, 0, 0, 0], said)
            }
            _ => result_set(flow, said),
        }
        [Sender::Server, Sender::Client][turn as usize % 2]
    }
}

fn packet(sequence: u8, body: &[u8], said: &mut Vec<u8>) {
    let [low, middle, high, _] = (body.len() as u32).to_le_bytes();
    said.extend([low, middle, high, sequence]);
    said.extend(body);
}

fn greeting(flow: u64) -> Vec<u8> {
    let mut body = b"\x0a8.0.36\0".to_vec();
    body.extend((flow as u32).to_le_bytes());
    body.extend(b"abcdefgh\0");
    // Capabilities: protocol 4.1, secure connection, a database at login, plugins.
    body.extend([0x08, 0x82, 0x21, 0x02, 0x00, 0x08, 0x00, 21]);
    body.extend([0; 10]);
    body.extend(b"ijklmnopqrst\0mysql_native_password\0");
    body
}

fn login() -> Vec<u8> {
    let mut body = vec![0x08, 0x82, 0x08, 0x00, 0, 0, 0, 1, 33];
    body.extend([0; 23]);
    body.extend(b"shop\0\x14");
    body.extend([0x5a; 20]);
    body.extend(b"shop\0mysql_native_password\0");
    body
}

fn result_set(flow: u64, said: &mut Vec<u8>) {
    packet(1, &[1], said);
    let mut column = Vec::new();
    for text in ["def", "shop", "items", "items", "name", "name"] {
        column.push(text.len() as u8);
        column.extend(text.as_bytes());
    }
    column.extend([12, 33, 0, 255, 0, 0, 0, 253, 0, 0, 0, 0, 0]);
    packet(2, &column, said);
    packet(3, &[0xfe, 0, 0, 2, 0], said);
    for row in 0..10 {
        let name = format!("item {} of {flow}", u32::from(row) * 37);
        let mut body = vec![name.len() as u8];
        body.extend(name.as_bytes());
        packet(4 + row, &body, said);
    }
    packet(14, &[0xfe, 0, 0, 2, 0], said);
}
