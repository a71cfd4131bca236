//! The schemas of values that are written as text, or as text or a number.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::{
    DomainPattern, Entropy, EtherType, HostPort, Network, Parameters, PortRange, Protocol,
    Reference, SensorMatch, Span, ThreatName, Timestamp, WebhookUrl,
};

macro_rules! schemas {
    ($($type:ident $schema:tt)*) => {
        $(
            impl JsonSchema for $type {
                fn inline_schema() -> bool {
                    true
                }

                fn schema_name() -> Cow<'static, str> {
                    stringify!($type).into()
                }

                fn json_schema(_: &mut SchemaGenerator) -> Schema {
                    json_schema!($schema)
                }
            }
        )*
    };
}

schemas! {
    Network {
        "type": "string", "minLength": 2, "maxLength": 43,
        "pattern": "^[0-9a-fA-F:.]+(/[0-9]{1,3})?$",
    }
    PortRange {
        "x-kubernetes-int-or-string": true,
        "minimum": 0, "maximum": 65535,
        "pattern": "^[0-9]{1,5}( *- *[0-9]{1,5})?$",
    }
    Protocol {
        "x-kubernetes-int-or-string": true,
        "minimum": 0, "maximum": 255,
        "pattern": "^([A-Za-z][A-Za-z0-9]{0,15}|[0-9]{1,3})$",
    }
    EtherType {
        "x-kubernetes-int-or-string": true,
        "minimum": 1536, "maximum": 65535,
        "pattern": "^(0[xX][0-9a-fA-F]{1,4}|[0-9]{1,5})$",
    }
    Reference {
        "type": "string", "minLength": 1, "maxLength": 317,
        "pattern": "^([a-z0-9]([-a-z0-9]*[a-z0-9])?/)?[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
    }
    DomainPattern {
        "type": "string", "minLength": 1, "maxLength": 256,
        "pattern": "^(\\*\\.)?[A-Za-z0-9_]([-A-Za-z0-9_.]*)$",
    }
    Entropy {
        "type": "number", "minimum": 0.001, "maximum": 8,
    }
    ThreatName {
        "x-kubernetes-int-or-string": true,
        "minimum": 0, "maximum": 65535,
        "pattern": "^(\\*|[a-z0-9][a-z0-9-]{0,63})$",
    }
    Span {
        "type": "string", "minLength": 2, "maxLength": 32,
        "pattern": "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$",
    }
    Timestamp {
        "type": "string", "format": "date-time", "maxLength": 64, "pattern": "Z$",
    }
    WebhookUrl {
        "type": "string", "maxLength": 2048,
        "pattern": "^https?://[^/@?# ]+([/?][^# ]*)?$",
    }
    HostPort {
        "type": "string", "maxLength": 260,
        "pattern": "^([A-Za-z0-9.-]+|\\[[0-9a-fA-F:.]+\\]):[0-9]{1,5}$",
    }
    // A name or a combination, which may hold further ones: a schema cannot refer to itself.
    SensorMatch {
        "x-kubernetes-preserve-unknown-fields": true,
    }
    Parameters {
        "x-kubernetes-preserve-unknown-fields": true,
    }
}
