//! Packets that nodes keep.

use std::sync::Arc;

use tokio::sync::mpsc;
use tonic::Status;
use weir_api::v1;
use weir_model::{Capture as Limits, Kind, Span};
use weir_respond::{FlowPlace, Subject, capture::OPERATOR};

use crate::flows::{FlowName, has_ports, ip_address};
use crate::state::State;

/// All captures that nodes tell of.
pub fn list(state: &State) -> v1::CaptureReply {
    let (captures, nodes) = state.capturing.views();
    v1::CaptureReply {
        captures,
        nodes,
        refused: state.capturing.refused(),
    }
}

/// Starts one.
pub fn start(
    state: &Arc<State>,
    request: v1::CaptureStartRequest,
) -> Result<v1::CaptureReply, Status> {
    let given = |number: u32| (number > 0).then_some(number);
    let duration = match request.duration_s {
        0 => None,
        seconds => Some(Span::from_seconds(seconds).ok_or_else(|| {
            Status::invalid_argument("a capture lasts at most 1h; write it like 60s or 10m")
        })?),
    };
    let limits = Limits {
        packets: given(request.packets),
        bytes: given(request.bytes),
        duration,
        ..Limits::default()
    };
    if let Some((_, told, next_step)) = limits.mistakes().into_iter().next() {
        return Err(Status::invalid_argument(format!("{told}; {next_step}")));
    }
    let subject = match (request.flow.as_str(), request.workload.as_str()) {
        (flow, "") if !flow.is_empty() => flow_of(state, flow)?,
        ("", workload) if !workload.is_empty() => workload_of(state, workload)?,
        _ => return Err(Status::invalid_argument("give either a flow or a workload")),
    };
    let started = state.start_capture(OPERATOR, request.because, subject, &limits);
    let started = started.map_err(|refusal| {
        Status::resource_exhausted(format!("{}; weir capture list shows them", refusal.why()))
    })?;
    let mut reply = list(state);
    let is = |view: &v1::CaptureView| view.status.as_ref().is_some_and(|it| it.id == started.id);
    reply.captures.retain(is);
    if !reply.captures.iter().any(|view| view.connected) {
        let _ = state.capturing.end(&started.id);
        return Err(Status::failed_precondition(
            "no node that captures packets is connected to this controller; see weir status, and [capture] in the nodes' configuration",
        ));
    }
    Ok(reply)
}

/// Ends some, or all.
pub fn stop(state: &State, request: v1::CaptureStopRequest) -> Result<v1::CaptureReply, Status> {
    let ids = match request.all {
        true => state
            .capturing
            .running()
            .into_iter()
            .map(|it| it.id)
            .collect(),
        false => request.ids,
    };
    for id in ids {
        let ended = state.capturing.end(&id);
        ended.map_err(|why| Status::not_found(format!("{id:?} {why}")))?;
    }
    Ok(list(state))
}

/// The file of one node.
pub fn fetch(
    state: &State,
    request: &v1::CaptureFetchRequest,
) -> Result<mpsc::Receiver<Result<v1::CapturePiece, Status>>, Status> {
    state.capturing.read(&request.id, &request.node)
}

fn flow_of(state: &State, text: &str) -> Result<Subject, Status> {
    let name = FlowName::parse(text).map_err(Status::invalid_argument)?;
    let view = state.observed.find(&name).ok_or_else(|| {
        Status::not_found(format!(
            "no recent flow is {text}; weir flows lists them, and --workload captures what comes yet"
        ))
    })?;
    let subject = view.record.as_ref().and_then(|record| {
        let port = |port: u32| match has_ports(record) {
            true => u16::try_from(port).ok(),
            false => Some(0),
        };
        let place = place(record)?;
        Some(Subject::Flow {
            node: view.node.clone(),
            id: place.id,
            zone: place.zone,
            protocol: place.protocol,
            client: (
                ip_address(&record.client_address)?,
                port(record.client_port)?,
            ),
            server: (
                ip_address(&record.server_address)?,
                port(record.server_port)?,
            ),
        })
    });
    subject.ok_or_else(|| Status::failed_precondition("the flow's record does not say where it is"))
}

/// Where on its node a recorded flow is found.
pub fn place(record: &v1::FlowRecord) -> Option<FlowPlace> {
    // An alert without a packet has no ends.
    let has_ends = !record.client_address.is_empty() && !record.server_address.is_empty();
    let protocol = u8::try_from(record.protocol).ok().filter(|_| has_ends)?;
    Some(FlowPlace {
        id: record.flow_id,
        protocol,
        zone: record.zone,
    })
}

fn workload_of(state: &State, name: &str) -> Result<Subject, Status> {
    let known = name.split_once('/');
    let known = known.and_then(|(namespace, name)| state.document(Kind::Workload, namespace, name));
    match known {
        Some(_) => Ok(Subject::Workload(name.to_owned())),
        None => Err(Status::not_found(format!(
            "there is no workload {name:?}; weir status lists them, with their namespaces"
        ))),
    }
}
