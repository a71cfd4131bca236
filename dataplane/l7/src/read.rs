//! What several parsers read alike: only they use it.
//!
//! Binary messages: [`cursor`] (nearly all), [`framing`] (lengths in a head: the industrial ones,
//! Memcached), [`tpkt`] (S7), [`ber`] (SNMP, LDAP, Kerberos), [`unpack`] (compressed fronts: MongoDB,
//! Cassandra). Text: [`lines`] (mail, FTP, chat, brokers), [`head`] (SIP, RTSP), [`sdp`] (SIP). Who logs
//! in: [`sasl`] (mail, LDAP), [`ntlmssp`] (SMB, DCE/RPC). Probes: [`sides`] (what each side says),
//! [`weigh`] (weak marks that add up: brokers, chat). What is looked into: [`content`] (all that hand
//! something on).

pub(crate) mod ber;
pub(crate) mod content;
pub(crate) mod cursor;
pub(crate) mod framing;
pub(crate) mod head;
pub(crate) mod lines;
pub(crate) mod ntlmssp;
pub(crate) mod sasl;
pub(crate) mod sdp;
pub(crate) mod sides;
pub(crate) mod tpkt;
pub(crate) mod unpack;
pub(crate) mod weigh;
