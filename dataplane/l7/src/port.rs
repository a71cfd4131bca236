//! Whether an application is where one would look for it.

use crate::registry::{carried_by, info, on_port, refines};
use crate::{AppId, Transport};

/// What a server's port says of the application that was recognised there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortUse {
    /// It is one of its customary ports.
    Usual,
    /// It is not: the right protocol on the wrong port, or the wrong one on the right port.
    Unusual {
        /// Whose customary port it is.
        expected: Option<AppId>,
    },
}

impl PortUse {
    /// In a word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Usual => "usual",
            Self::Unusual { .. } => "unusual",
        }
    }

    /// Whose customary port it is, where that is another's.
    pub const fn expected(self) -> Option<AppId> {
        match self {
            Self::Usual => None,
            Self::Unusual { expected } => expected,
        }
    }
}

/// Judges an application by the port it was found on. None where there is nothing to say: the
/// transport has no ports, or neither the application nor the port has a custom.
pub fn port_use(app: AppId, transport: Transport, port: u16) -> Option<PortUse> {
    if !matches!(transport, Transport::Tcp | Transport::Udp) {
        return None;
    }
    let customary = on_port(port).intersection(carried_by(transport));
    // Special cases are at home wherever the general one is, and the other way round.
    if customary
        .iter()
        .any(|home| refines(app, home) || refines(home, app))
    {
        return Some(PortUse::Usual);
    }
    let expected = customary.iter().next();
    let has_custom = info(app).is_some_and(|row| !row.ports.is_empty());
    (expected.is_some() || has_custom).then_some(PortUse::Unusual { expected })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::by_name;

    fn judged(app: &str, transport: Transport, port: u16) -> Option<(&'static str, &'static str)> {
        let app = by_name(app).expect("an application");
        let judgement = port_use(app, transport, port)?;
        let expected = judgement.expected().map_or("", |app| app.name());
        Some((judgement.name(), expected))
    }

    #[test]
    fn an_application_on_its_port_is_usual() {
        assert_eq!(judged("redis", Transport::Tcp, 6379), Some(("usual", "")));
        assert_eq!(judged("dns", Transport::Udp, 53), Some(("usual", "")));
        assert_eq!(judged("http", Transport::Tcp, 80), Some(("usual", "")));
    }

    #[test]
    fn the_right_protocol_on_a_wrong_port_is_told() {
        assert_eq!(judged("ssh", Transport::Tcp, 2), Some(("unusual", "")));
    }

    #[test]
    fn the_wrong_protocol_on_a_right_port_is_told_with_the_right_one() {
        let mysql = Some(("unusual", "mysql"));
        assert_eq!(judged("redis", Transport::Tcp, 3306), mysql);
        assert_eq!(judged("unknown", Transport::Tcp, 3306), mysql);
        // Nobody expects MySQL over UDP.
        assert_eq!(judged("unknown", Transport::Udp, 3306), None);
    }

    #[test]
    fn without_a_custom_there_is_nothing_to_say() {
        assert_eq!(judged("unknown", Transport::Tcp, 2), None);
        assert_eq!(judged("icmp", Transport::Icmp, 0), None);
    }
}
