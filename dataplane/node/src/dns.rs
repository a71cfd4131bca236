//! The addresses in a DNS answer, out of the fields that the parser emitted.

use std::sync::LazyLock;

use weir_l7::{AppId, Field, Value, registry};

/// Where the fields of a DNS response stand in the application's table.
struct Places {
    application: Option<AppId>,
    name: Option<u8>,
    address: Option<u8>,
    ttl: Option<u8>,
}

static PLACES: LazyLock<Places> = LazyLock::new(|| {
    let index = |name: &str| registry::field(name).map(|field| field.index);
    Places {
        application: registry::by_name("dns"),
        name: index("dns.name"),
        address: index("dns.address"),
        ttl: index("dns.ttl"),
    }
});

/// The fields of one DNS response.
pub struct DnsAnswers<'a> {
    fields: &'a [Field<'a>],
}

impl<'a> DnsAnswers<'a> {
    /// The application that these are fields of.
    pub fn application() -> Option<AppId> {
        PLACES.application
    }

    /// Reads them.
    pub fn of(fields: &'a [Field<'a>]) -> Self {
        Self { fields }
    }

    /// The name that was asked for.
    pub fn question(&self) -> Option<&'a [u8]> {
        self.fields
            .iter()
            .find(|field| Some(field.index) == PLACES.name)
            .and_then(|field| match field.value {
                Value::Bytes(name) => Some(name),
                _ => None,
            })
    }

    /// Address (IPv4 mapped into IPv6) and time to live in seconds, of every address record.
    pub fn addresses(&self) -> impl Iterator<Item = (u128, u64)> + '_ {
        let ttl_behind = |position: usize| {
            self.fields[position..]
                .iter()
                .find(|field| Some(field.index) == PLACES.ttl)
                .and_then(|field| match field.value {
                    Value::Number(seconds) => Some(seconds),
                    _ => None,
                })
        };
        self.fields
            .iter()
            .enumerate()
            .filter(|(_, field)| Some(field.index) == PLACES.address)
            .filter_map(move |(position, field)| match field.value {
                Value::Address(address) => {
                    Some((weir_wire::from_ip_address(address), ttl_behind(position)?))
                }
                _ => None,
            })
    }
}
