//! Where messages are sent to: addresses of web servers and of log servers, checked when they are read.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{ScalarError, name};

/// "https://hooks.example.com/services/T0/B0".
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WebhookUrl(String);

/// A host name or address with a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostPort(String);

/// What is written as text and checked.
macro_rules! checked_text {
    ($($type:ident)*) => {
        $(
            impl $type {
                /// As text.
                pub fn as_str(&self) -> &str {
                    &self.0
                }
            }

            impl TryFrom<String> for $type {
                type Error = ScalarError;

                fn try_from(text: String) -> Result<Self, ScalarError> {
                    text.parse()
                }
            }

            impl From<$type> for String {
                fn from(text: $type) -> Self {
                    text.0
                }
            }

            impl fmt::Display for $type {
                fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                    formatter.write_str(&self.0)
                }
            }
        )*
    };
}

checked_text!(WebhookUrl HostPort);

impl FromStr for WebhookUrl {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        let refuse = |wrong: &str| {
            Err(ScalarError::new(format!(
                "{:?} cannot be posted to: {wrong}",
                name::Shortened(text)
            )))
        };
        let Some(rest) = text
            .strip_prefix("https://")
            .or_else(|| text.strip_prefix("http://"))
        else {
            return refuse("it does not begin with https:// or http://");
        };
        if text.len() > 2048 {
            return refuse("it is longer than 2048 characters");
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) || text.contains('#') {
            return refuse("it has spaces, # or characters that a URL encodes");
        }
        let authority = rest.split(['/', '?']).next().unwrap_or("");
        if authority.contains('@') {
            return refuse("a password does not belong into a URL; use headers with secretFile");
        }
        let with_port = match authority.rfind(':') {
            Some(colon) if !authority.ends_with(']') && colon > 0 => authority.to_owned(),
            _ => format!("{authority}:443"),
        };
        match with_port.parse::<HostPort>() {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(_) => refuse("it names no host"),
        }
    }
}

impl FromStr for HostPort {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        let host_port = text.rsplit_once(':').filter(|(host, port)| {
            let address = host
                .strip_prefix('[')
                .and_then(|rest| rest.strip_suffix(']'));
            let host = match address {
                Some(address) => matches!(address.parse(), Ok(IpAddr::V6(_))),
                None => name::check_name(&host.to_ascii_lowercase()).is_ok(),
            };
            let digits = port.bytes().all(|byte| byte.is_ascii_digit());
            host && digits && port.parse::<u16>().is_ok_and(|port| port > 0)
        });
        match host_port {
            Some(_) => Ok(Self(text.to_owned())),
            None => Err(ScalarError::new(format!(
                "{:?} is no host with a port; write it like logs.example.com:514 or [fd91::1]:6514",
                name::Shortened(text)
            ))),
        }
    }
}
