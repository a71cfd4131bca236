//! DNS answers for the controller, which learns from them under which name a client looked a server up.
//!
//! Memory bound: [`TOLD_MAX`] answers are remembered, so that an answer is told once in a while only.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use weir_api::v1::FlowRecord;

use crate::event::Detail;

/// Answers that are remembered; when there are more all are forgotten, and told once more.
const TOLD_MAX: usize = 16_384;
/// The same answer to the same client is told again after this.
const AGAIN_US: u64 = 10 * 60 * 1_000_000;

const APPLICATION: &str = "dns";
const NAME: &str = "dns.name";
const ADDRESS: &str = "dns.address";

/// Which answers were told, and when.
#[derive(Debug, Default)]
pub struct Answers {
    told_us: HashMap<u64, u64>,
}

impl Answers {
    /// Whether the controller is to hear of this message: a DNS answer with addresses that it was not
    /// told lately. All of its addresses are then in the record, separated by commas.
    pub fn is_news(&mut self, detail: &Detail, record: &mut FlowRecord) -> bool {
        if record.application != APPLICATION || !record.fields.contains_key(NAME) {
            return false;
        }
        let fields = detail.fields();
        let addresses: Vec<&str> = fields
            .filter(|(name, _)| Some(*name) == ADDRESS.strip_prefix("dns."))
            .map(|(_, address)| address)
            .collect();
        if addresses.is_empty() {
            return false;
        }
        record
            .fields
            .insert(ADDRESS.to_owned(), addresses.join(","));
        let mut hasher = DefaultHasher::new();
        (&record.client_address, &record.fields[NAME], addresses).hash(&mut hasher);
        let now_us = record.time_unix_us;
        if self.told_us.len() >= TOLD_MAX {
            self.told_us.clear();
        }
        let told = self.told_us.insert(hasher.finish(), now_us);
        if let Some(before) = told.filter(|before| now_us.saturating_sub(*before) < AGAIN_US) {
            self.told_us.insert(hasher.finish(), before);
            return false;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;
    use weir_l7::{Event as Message, EventKind as MessageKind, Field, Value, registry};

    /// An answer for a name with these addresses, as a worker tells it.
    fn told(answers: &mut Answers, addresses: &[[u8; 4]], time_unix_us: u64) -> Option<FlowRecord> {
        let field = |name: &str, value| Field {
            index: registry::field(name).unwrap().index,
            value,
        };
        let mut fields = vec![field("dns.name", Value::Bytes(b"api.example.com"))];
        for address in addresses {
            fields.push(field("dns.address", Value::Address(IpAddr::from(*address))));
        }
        let message = Message {
            kind: MessageKind::Response,
            fields: &fields,
        };
        let detail = Detail::of(registry::by_name("dns").unwrap(), &message);
        let mut record = FlowRecord {
            application: "dns".into(),
            time_unix_us,
            fields: [("dns.name".to_owned(), "api.example.com".to_owned())].into(),
            ..FlowRecord::default()
        };
        answers.is_news(&detail, &mut record).then_some(record)
    }

    #[test]
    fn an_answer_is_told_with_all_its_addresses_and_once_in_a_while() {
        let mut answers = Answers::default();
        let both = [[192, 0, 2, 1], [192, 0, 2, 2]];
        let record = told(&mut answers, &both, 1).unwrap();
        assert_eq!(record.fields["dns.address"], "192.0.2.1,192.0.2.2");
        assert!(told(&mut answers, &both, 2).is_none());
        assert!(
            told(&mut answers, &both[..1], 3).is_some(),
            "another answer"
        );
        assert!(told(&mut answers, &both, 1 + AGAIN_US).is_some());
        assert!(told(&mut answers, &[], 4).is_none(), "no addresses");
    }

    #[test]
    fn memory_is_bounded() {
        let mut answers = Answers::default();
        for number in 0..2 * TOLD_MAX as u32 {
            told(&mut answers, &[number.to_be_bytes()], 1);
        }
        assert!(answers.told_us.len() <= TOLD_MAX);
    }
}
