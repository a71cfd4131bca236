//! Sensors on the way: which look into a flow is decided once for each policy, what fires is told and
//! heeded.
//!
//! Trusts: [`weir_sigs::sensor`] decides what fires. Distrusts: how often. Gives: `sensor`. Memory: the
//! scanner's, taken when a policy is put in force.

use arrayvec::ArrayVec;
use weir_flow::{FlowId, Hot};
use weir_l7::{Buffer, Content, Transport};
use weir_policy::spec::{Mode, SensorAction};
use weir_sigs::sensor::{SensorFlow, SensorHit, SensorScanner};
use weir_wire::{Direction, Reason};

use crate::alarm::Telling;
use crate::connection::{Connection, Mark, Standing};
use crate::event::{Event, EventKind, Sensed};
use crate::inspection::{Inspection, plain_event};
use crate::io::FrameSource;
use crate::path::{Fate, Path};

/// Most sensors that fire at one packet; more are told at the next one.
const HITS_PER_CALL: usize = 8;

/// What fires at one packet.
pub type SensorHits = ArrayVec<SensorHit, HITS_PER_CALL>;

/// The sensors at one flow.
pub struct Sensing<'a> {
    /// Looks for them.
    pub scanner: &'a mut SensorScanner,
    /// The flow.
    pub flow: SensorFlow,
    /// What fires.
    pub hits: &'a mut SensorHits,
    /// Microseconds.
    pub now_us: u64,
}

impl Sensing<'_> {
    /// A message begins.
    pub fn message(&mut self, direction: Direction) {
        let hits = &mut *self.hits;
        let mut on_hit = |hit| drop(hits.try_push(hit));
        self.scanner
            .message(self.flow, direction, 0, self.now_us, &mut on_hit);
    }

    /// A piece of content, decoded.
    pub fn content(&mut self, direction: Direction, content: &Content<'_>) {
        let hits = &mut *self.hits;
        let mut on_hit = |hit| drop(hits.try_push(hit));
        self.scanner
            .content(self.flow, direction, content, self.now_us, &mut on_hit);
    }
}

impl Inspection {
    /// The flow as its sensors know it; None where none looks into it. Asked anew under every policy.
    pub fn sensed(&mut self, cold: &mut Connection, hot: &Hot, epoch: u32) -> Option<SensorFlow> {
        let scanner = self.sensors.as_mut()?;
        let ends = (cold.client, cold.server);
        let reading = self.readings.begin(cold)?;
        let stands = reading.sensed.is_none_or(|flow| scanner.owns(flow));
        if reading.sensed_epoch == Some(epoch) && stands {
            return reading.sensed;
        }
        if let Some(before) = reading.sensed.take() {
            scanner.close(before, 0, &mut |_| {});
        }
        let (client, _, server, _) = hot.key.endpoints(hot.initiator_is_low);
        reading.sensed = scanner.open((ends.0, client), (ends.1, server));
        reading.sensed_epoch = Some(epoch);
        reading.sensed
    }

    /// Whether the flow's sensors still want its stream in this direction, up to this depth.
    pub fn senses_stream(&self, cold: &Connection, direction: Direction, depth_bytes: u64) -> bool {
        let (Some(scanner), Some(reading)) = (&self.sensors, &cold.reading) else {
            return false;
        };
        let Some(flow) = reading.sensed else {
            return false;
        };
        scanner.wants(flow, direction).contains(Buffer::Payload)
            && reading.sensed_bytes[direction as usize] < depth_bytes
    }
}

impl<S: FrameSource> Path<S> {
    /// The stream itself, or a whole datagram, up to the depth that is scanned.
    pub(crate) fn sense_stream(
        &mut self,
        id: FlowId,
        direction: Direction,
        transport: Transport,
        bytes: &[u8],
        now_us: u64,
        hits: &mut SensorHits,
    ) {
        let cold = self.flows.table.cold_mut(id);
        let (Some(scanner), Some(reading)) = (&mut self.inspection.sensors, &mut cold.reading)
        else {
            return;
        };
        let Some(flow) = reading.sensed else { return };
        let sensed_bytes = &mut reading.sensed_bytes[direction as usize];
        let left = self.rules.scan_depth_bytes.saturating_sub(*sensed_bytes);
        let length = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if length == 0 {
            return;
        }
        *sensed_bytes += length as u64;
        let whole = Content::whole(Buffer::Payload, 0, &bytes[..length]);
        let content = match transport {
            Transport::Tcp => Content {
                begins: None,
                ends: false,
                ..whole
            },
            _ => whole,
        };
        Sensing {
            scanner,
            flow,
            hits,
            now_us,
        }
        .content(direction, &content);
    }

    /// Tells what fired in a flow. Some: what drops it applies.
    pub(crate) fn heed_sensed(
        &mut self,
        id: FlowId,
        hits: &mut SensorHits,
        now_us: u64,
    ) -> Option<Fate> {
        if hits.is_empty() {
            return None;
        }
        let drops = hits.iter().any(|hit| hit.action == SensorAction::Drop);
        let (hot, cold) = self.flows.table.hot_and_cold_mut(id);
        let protects = |mode| cold.is(Mark::Enforceable) && mode == Mode::Protect;
        let blocks = cold
            .decision
            .is_some_and(|decision| protects(decision.mode));
        let sensors = self.inspection.sensors.as_ref().map(SensorScanner::set);
        if let (Some(flow), Some(set)) = (cold.facts(hot), sensors) {
            for hit in hits.drain(..) {
                // Each tells once of a message, so that what is beyond the flow's share is counted.
                if self.alarms.take(&mut cold.alarms, now_us) != Telling::Tell {
                    continue;
                }
                let id = set
                    .sensors()
                    .get(usize::from(hit.sensor))
                    .map_or(0, |one| one.id);
                let dropped = blocks && hit.action == SensorAction::Drop;
                self.alarmed = Some(flow.number);
                self.events.emit(Event {
                    reason: dropped.then_some(Reason::Sensor),
                    sensed: Some(Sensed { sensor: id, hit }),
                    ..plain_event(EventKind::Sensor, now_us, flow)
                });
            }
        }
        if !drops {
            return None;
        }
        let fate = self.object(id, Reason::Sensor);
        if let Fate::Drop(_) = fate {
            self.flows.table.hot_mut(id).verdict = Standing::Drop as u8;
            return Some(fate);
        }
        None
    }

    /// A flow is over: what waited for the end of its last message is told.
    pub(crate) fn sense_ending(&mut self, id: FlowId, now_us: u64) {
        let cold = self.flows.table.cold_mut(id);
        let reading = cold.reading.as_mut();
        let flow = reading.and_then(|reading| reading.sensed.take());
        let (Some(scanner), Some(flow)) = (&mut self.inspection.sensors, flow) else {
            return;
        };
        let mut hits = SensorHits::new();
        scanner.close(flow, now_us, &mut |hit| drop(hits.try_push(hit)));
        self.heed_sensed(id, &mut hits, now_us);
    }
}
