//! An imagined connection, judged by a snapshot: what the controller answers to `what-if` and
//! `explain`, and what `weir policy test` runs without a controller.

use std::net::IpAddr;

use weir_l7::{AppId, Field, FieldKind, Transport, Value, registry};
use weir_policy::spec::UNKNOWN_IDENTITY;
use weir_policy::{Application, Question, Snapshot, WireAction};
use weir_wire::{from_ip_address, protocol};

use crate::{FieldError, action_message, mode_message, v1};

/// Names that are proposed for one that nobody has.
const PROPOSALS_MAX: usize = 5;

/// What the policy says of this connection, and why. Errors name the field of the request.
pub fn what_if(
    snapshot: &Snapshot,
    request: &v1::WhatIfRequest,
) -> Result<v1::Explanation, FieldError> {
    let client = identity(snapshot, &request.client, "client")?;
    let server = identity(snapshot, &request.server, "server")?;
    let protocol = match request.protocol {
        // What a question without a protocol is about.
        0 => protocol::TCP,
        number => u8::try_from(number).map_err(|_| {
            FieldError::new("protocol", format!("{number} is no IP protocol number"))
        })?,
    };
    let server_port = u16::try_from(request.port)
        .map_err(|_| FieldError::new("port", format!("{} is no port", request.port)))?;
    if server_port > 0 && !has_ports(protocol) {
        let why = format!("only TCP, UDP and SCTP have ports; IP protocol {protocol} has none");
        return Err(FieldError::new("port", why));
    }
    let application = application(&request.application, protocol)?;
    let mut fields = Vec::with_capacity(request.fields.len());
    for (name, value) in &request.fields {
        fields.push(field(name, value, &request.application)?);
    }
    let fields = (!fields.is_empty()).then_some(fields.as_slice());
    let question = Question {
        client,
        server,
        protocol,
        server_port,
        application,
        request: fields,
    };
    let explained = snapshot.explain(&question);
    let step = |step: weir_policy::ExplainStep| v1::ExplainStep {
        rule: step.rule,
        matched: step.matched,
        because: step.because,
    };
    Ok(v1::Explanation {
        client: snapshot.identity_name(client).to_owned(),
        server: snapshot.identity_name(server).to_owned(),
        application: request.application.clone(),
        port: server_port.into(),
        protocol: protocol.into(),
        rule_action: action_message(explained.decision.rule_action).into(),
        mode: mode_message(explained.decision.mode).into(),
        wire_action: wire_action_message(explained.decision.wire_action).into(),
        decider: explained.decider,
        nearest: explained.nearest_sentence,
        steps: explained.steps.into_iter().map(step).collect(),
        seen: None,
    })
}

const fn has_ports(number: u8) -> bool {
    matches!(number, protocol::TCP | protocol::UDP | protocol::SCTP)
}

/// The message's word for what the wire gets.
pub fn wire_action_message(action: WireAction) -> v1::WireAction {
    match action {
        WireAction::Forward => v1::WireAction::Forward,
        WireAction::Drop => v1::WireAction::Drop,
        WireAction::Reset => v1::WireAction::Reset,
    }
}

/// The identity of "namespace/workload", of "workload" where only one namespace has it, of an
/// address, or of "unknown".
fn identity(snapshot: &Snapshot, text: &str, field: &str) -> Result<u32, FieldError> {
    if text == "unknown" {
        return Ok(UNKNOWN_IDENTITY);
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(snapshot.identity_of(0, from_ip_address(address)));
    }
    if let Some(id) = snapshot.identity_by_name(text) {
        return Ok(id);
    }
    let short = |name: &str| {
        name.rsplit_once('/')
            .is_some_and(|(_, short)| short == text)
    };
    let names = || {
        snapshot
            .spec()
            .identities
            .iter()
            .map(|identity| identity.name.as_str())
    };
    let mut candidates: Vec<&str> = names().filter(|name| short(name)).collect();
    candidates.sort_unstable();
    candidates.dedup();
    match candidates.as_slice() {
        [name] => Ok(snapshot.identity_by_name(name).unwrap_or(UNKNOWN_IDENTITY)),
        [] => {
            let mut known: Vec<&str> = names().filter(|name| !name.starts_with('[')).collect();
            known.sort_unstable();
            known.dedup();
            let more = if known.len() > PROPOSALS_MAX {
                ", …"
            } else {
                ""
            };
            known.truncate(PROPOSALS_MAX);
            let known = match known.as_slice() {
                [] => "there are no workloads yet".to_owned(),
                known => format!("workloads are {}{more}", known.join(", ")),
            };
            Err(FieldError::new(
                field,
                format!(
                    "nobody is named {text:?}; give a workload, an address or unknown ({known})"
                ),
            ))
        }
        several => Err(FieldError::new(
            field,
            format!(
                "{text:?} is in several namespaces; write one of {}",
                several.join(", ")
            ),
        )),
    }
}

/// What is known of an application by its registry name. Of none: what a node supposes while it
/// looks at the first bytes of a connection of this protocol. `None`: the name is not in the
/// registry.
pub fn application_of(name: &str, number: u8) -> Option<Application> {
    if !name.is_empty() {
        return registry::by_name(name).map(Application::Known);
    }
    Some(match Transport::of(number) {
        Some(transport) => Application::Candidates(registry::carried_by(transport)),
        None => Application::Known(AppId::UNKNOWN),
    })
}

fn application(name: &str, protocol: u8) -> Result<Application, FieldError> {
    application_of(name, protocol).ok_or_else(|| {
        let mut known: Vec<_> = registry::applications()
            .iter()
            .map(|info| info.name)
            .collect();
        known.sort_unstable();
        let known = known.join(", ");
        FieldError::new(
            "application",
            format!("{name:?} is not known; known are {known}, unknown"),
        )
    })
}

/// The fields of a request as a record carries them; those that policy cannot ask for, or that are not of
/// the application, are left out.
pub fn request_fields<'a>(
    fields: impl IntoIterator<Item = (&'a String, &'a String)>,
    application: &str,
) -> Vec<Field<'a>> {
    let fields = fields.into_iter();
    fields
        .filter_map(|(name, value)| field(name, value, application).ok())
        .collect()
}

fn field<'a>(name: &str, value: &'a str, application: &str) -> Result<Field<'a>, FieldError> {
    let error = |why: String| FieldError::new(format!("fields.{name}"), why);
    let found = registry::field(name).and_then(|found| Some((found, found.spec()?)));
    let (found, spec) = found.ok_or_else(|| {
        error("no application has this field; `weir apps` lists the fields".to_owned())
    })?;
    if registry::by_name(application) != Some(found.app) {
        let needed = found.app.name();
        return Err(error(format!(
            "is a field of {needed}; ask with application {needed}"
        )));
    }
    let value = match spec.kind {
        FieldKind::Text => Value::Bytes(value.as_bytes()),
        FieldKind::Number => Value::Number(
            value
                .parse()
                .map_err(|_| error(format!("{value:?} is no number")))?,
        ),
        FieldKind::Address => Value::Address(
            value
                .parse()
                .map_err(|_| error(format!("{value:?} is no address")))?,
        ),
    };
    Ok(Field {
        index: found.index,
        value,
    })
}
