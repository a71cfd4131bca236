//! What a worker knows of a flow beyond the hot line: the cold state of the flow table.

use weir_flow::{FlowKey, Hot, Life, TcpConnection};
use weir_l7::{AppId, Confidence, Identification, SessionId, TURNED, registry};
use weir_policy::{Application, Certainty, Decision, Question, spec::Action, spec::Mode};
use weir_sigs::ScanFlow;
use weir_sigs::sensor::SensorFlow;
use weir_wire::{Direction, protocol, to_ip_address};

use crate::announced::Part;
use crate::event::FlowFacts;
use crate::readings::{Reading, SCANNED};
use crate::session::Known;
use crate::word::Word;

/// What [`Hot::verdict`] holds: what happens to the next packet without looking further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Standing {
    /// Every packet takes the whole way.
    Inspect = 0,
    /// Settled: decode → track → tx.
    Forward = 1,
    /// Denied: dropped at track.
    Drop = 2,
}

/// What [`Hot::verdict`] holds where one direction is settled and the other is looked into: this and the
/// direction.
const ONE_WAY: u8 = 3;

impl Standing {
    /// Settles one direction of a flow under inspection.
    pub fn settle_one_way(hot: &mut Hot, direction: Direction) {
        hot.verdict = ONE_WAY + direction as u8;
    }

    /// Whether packets in this direction take the short way.
    #[inline]
    pub fn is_short(hot: &Hot, direction: Direction) -> bool {
        hot.verdict == Self::Forward as u8 || hot.verdict == ONE_WAY + direction as u8
    }

    /// Whether packets of some direction do.
    pub fn is_any_short(hot: &Hot) -> bool {
        hot.verdict == Self::Forward as u8 || hot.verdict >= ONE_WAY
    }

    /// The standing in a flow's hot line.
    pub fn of(hot: &Hot) -> Self {
        match hot.verdict {
            1 => Self::Forward,
            2 => Self::Drop,
            _ => Self::Inspect,
        }
    }
}

/// What is kept of every flow beside its hot line: all that a settled one needs.
///
/// 160 bytes; those that each packet counts come first.
#[derive(Default)]
#[repr(C)]
pub struct Connection {
    /// By direction.
    pub packets: [u64; 2],
    /// By direction, bytes of frames.
    pub bytes: [u64; 2],
    /// TCP state; unused for other protocols.
    pub tcp: TcpConnection,
    /// Microseconds.
    pub first_seen_us: u64,
    /// Unique on this node since it started.
    pub number: u64,
    /// Version of the policy that gave the decision.
    pub policy_version: u64,
    /// What is needed while it is looked into; see [`crate::inspection::Inspection::begin_reading`].
    pub(crate) reading: Option<Box<Reading>>,
    /// The decision in force; None before the first.
    pub decision: Option<Decision>,
    /// Identities.
    pub client: u32,
    /// See `client`.
    pub server: u32,
    /// What threat detectors remember of it, where `reading` does not.
    pub(crate) watch: weir_threat::Quiet,
    /// Findings and alerts that were told.
    pub alarms: u16,
    evidence: Word,
    marks: Marks,
    application: AppSlot,
    carried: AppSlot,
}

const _: () = assert!(size_of::<Connection>() == 160);

/// An application or none, in one byte.
#[derive(Clone, Copy, Default)]
struct AppSlot(u8);

impl AppSlot {
    fn of(app: Option<AppId>) -> Self {
        Self(app.map_or(0, |app| app.number() + 1))
    }

    fn get(self) -> Option<AppId> {
        AppId::from_number(self.0.checked_sub(1)?)
    }
}

/// Yes or no, a bit each, and two bits of confidence.
#[derive(Clone, Copy, Default)]
struct Marks(u16);

/// What is true of a flow or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Mark {
    /// No session: it was closed since nothing more is of interest, or none could be had.
    SessionOver = 1 << 0,
    /// To the server, nothing more is of interest to the parser.
    DoneToServer = 1 << 1,
    /// The same to the client.
    DoneToClient = 1 << 2,
    /// It is that application, but may still turn out to be a special case of it.
    Refinable = 1 << 3,
    /// The parser met bytes that contradict the application.
    Contradicted = 1 << 4,
    /// The flow's first packet was seen.
    FromStart = 1 << 5,
    /// Weir can stop it: not so on a tap.
    Enforceable = 1 << 6,
    /// The identification was already told.
    IdentifiedTold = 1 << 7,
    /// The denial was already answered by resets to both ends.
    ResetSent = 1 << 8,
    /// The decision in force was told as a denial. Holds where there is no [`Reading`].
    Told = 1 << 9,
    /// Signatures want no more of it. Holds where there is no [`Reading`].
    Scanned = 1 << 10,
    /// The same of sensors.
    Sensed = 1 << 11,
    /// The connection has ended and what it was read with went back; threat detectors heard of it.
    Over = 1 << 12,
}

/// Every [`Mark`] that another process may know of a flow: that one is over it sees by its life.
pub const MARKS: u16 = ((Mark::Sensed as u16) << 1) - 1;

/// The place of the confidence among the marks.
const CONFIDENCE_SHIFT: u32 = 14;

impl Connection {
    /// A flow that nothing was seen of.
    pub fn new(number: u64, ends: [u32; 2], first_seen_us: u64) -> Self {
        Self {
            number,
            client: ends[0],
            server: ends[1],
            first_seen_us,
            ..Self::default()
        }
    }

    /// Whether this is so.
    #[inline]
    pub fn is(&self, mark: Mark) -> bool {
        self.marks.0 & mark as u16 != 0
    }

    /// Lets it be so or not; returns what was before.
    pub fn set(&mut self, mark: Mark, so: bool) -> bool {
        let before = self.is(mark);
        self.marks.0 = match so {
            true => self.marks.0 | mark as u16,
            false => self.marks.0 & !(mark as u16),
        };
        before
    }

    /// All that is so.
    pub(crate) fn marks(&self) -> u16 {
        self.marks.0 & MARKS
    }

    /// Lets exactly this be so.
    pub(crate) fn set_marks(&mut self, marks: u16) {
        self.marks.0 = self.marks.0 & !MARKS | marks & MARKS;
    }

    /// Whether nothing more is of interest to the parser in this direction.
    pub fn is_done(&self, direction: Direction) -> bool {
        self.is(done(direction))
    }

    /// The same of both.
    pub fn is_all_done(&self) -> bool {
        self.is(Mark::DoneToServer) && self.is(Mark::DoneToClient)
    }

    /// Nothing more is of interest to the parser in this direction.
    pub fn set_done(&mut self, direction: Direction) {
        self.set(done(direction), true);
    }

    /// What it speaks; None while undecided.
    pub fn application(&self) -> Option<AppId> {
        self.application.get()
    }

    /// It speaks this, and may still turn out to be a special case of it.
    pub fn set_application(&mut self, application: Option<AppId>, refinable: bool) {
        self.application = AppSlot::of(application);
        self.set(Mark::Refinable, refinable);
    }

    /// What it began as.
    pub fn carried(&self) -> Option<AppId> {
        self.carried.get()
    }

    /// Notes what it began as.
    pub fn set_carried(&mut self, carried: Option<AppId>) {
        self.carried = AppSlot::of(carried);
    }

    /// How sure the application is; None before anything was said.
    pub fn confidence(&self) -> Option<Confidence> {
        match self.marks.0 >> CONFIDENCE_SHIFT {
            1 => Some(Confidence::None),
            2 => Some(Confidence::Port),
            3 => Some(Confidence::Content),
            _ => None,
        }
    }

    /// What gave the application away, and how sure that is.
    pub fn set_evidence(&mut self, confidence: Confidence, evidence: &'static str) {
        let bits = match confidence {
            Confidence::None => 1,
            Confidence::Port => 2,
            Confidence::Content => 3,
        };
        let others = self.marks.0 & ((1 << CONFIDENCE_SHIFT) - 1);
        self.marks.0 = others | bits << CONFIDENCE_SHIFT;
        if self.evidence.text() != evidence {
            self.evidence = Word::of(evidence);
        }
    }

    /// Identification and parsing.
    pub fn session(&self) -> Option<SessionId> {
        self.reading.as_ref()?.session
    }

    /// The connection that announced this one, which it is a part of.
    pub fn part_of(&self) -> Option<Part> {
        self.reading.as_ref()?.part_of
    }

    /// Whether signatures want no more of this direction, or looked as deep as this.
    pub fn is_scanned(&self, direction: Direction, depth_bytes: u64) -> bool {
        match &self.reading {
            Some(reading) => reading.scanned[direction as usize] >= depth_bytes,
            None => self.is(Mark::Scanned),
        }
    }

    /// Other signatures are looked for: what was said for those before holds no more.
    pub fn forget_scanned(&mut self) {
        self.set(Mark::Scanned, false);
        if let Some(reading) = &mut self.reading {
            reading.scanned = reading
                .scanned
                .map(|bytes| if bytes >= SCANNED { 0 } else { bytes });
            reading.ask_signatures_at = [0; 2];
        }
    }

    /// How much of what comes next this way signatures still look at.
    pub fn length_to_scan(&self, direction: Direction, content: &[u8], depth_bytes: u64) -> usize {
        let reading = self.reading.as_ref();
        let scanned = reading.map_or(u64::MAX, |reading| reading.scanned[direction as usize]);
        let left = depth_bytes.saturating_sub(scanned);
        content
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX))
    }

    /// Whether the receiver has acknowledged bytes of this direction that never came by here.
    pub fn is_behind(&self, direction: Direction) -> bool {
        let reading = self.reading.as_ref();
        reading.is_some_and(|reading| reading.streams[direction as usize].is_behind())
    }

    /// Whether bytes of this direction are kept until they are acknowledged, or for what is missing before them.
    #[inline]
    pub fn has_outstanding(&self, direction: Direction) -> bool {
        let reading = self.reading.as_ref();
        reading.is_some_and(|reading| !reading.streams[direction as usize].is_empty())
    }

    /// Whether bytes of this direction wait behind others that are missing.
    pub fn has_gap(&self, direction: Direction) -> bool {
        let reading = self.reading.as_ref();
        reading.is_some_and(|reading| reading.streams[direction as usize].has_gap())
    }

    /// Signature scanning.
    pub fn scan(&self) -> Option<ScanFlow> {
        self.reading.as_ref()?.scan
    }

    /// The flow as its sensors know it.
    pub fn sensed(&self) -> Option<SensorFlow> {
        self.reading.as_ref()?.sensed
    }

    /// The id of the rule that allowed the last request.
    pub fn granted_by(&self) -> Option<u32> {
        self.reading.as_ref()?.granted_by
    }

    /// What threat detectors remember of it.
    pub fn watch(&self) -> weir_threat::Watch {
        match &self.reading {
            Some(reading) => reading.watch,
            None => self.watch.into(),
        }
    }

    /// The decision that was last told as a denial.
    pub fn told(&self) -> Option<Decision> {
        match &self.reading {
            Some(reading) => reading.told,
            None => self.decision.filter(|_| self.is(Mark::Told)),
        }
    }

    /// Notes what was told as a denial. Where there is no [`Reading`] only the decision in force can be noted,
    /// and any other would be told once more.
    pub fn set_told(&mut self, told: Option<Decision>) {
        let in_force = told.is_some() && told == self.decision;
        match &mut self.reading {
            Some(reading) => reading.told = told,
            None => drop(self.set(Mark::Told, in_force)),
        }
    }

    /// Takes out of a [`Reading`] that is over what is to be kept of it. None: something of it is needed.
    /// Bytes that were looked at count as far as `depth_bytes`.
    pub(crate) fn take_over(&mut self, depth_bytes: u64) -> Option<Box<Reading>> {
        let reading = self.reading.as_ref().filter(|reading| reading.is_over())?;
        let told = reading.told;
        let watch = reading.watch.at_rest().quiet()?;
        if told.is_some() && told != self.decision {
            return None;
        }
        let is_deep = |bytes: [u64; 2]| bytes.iter().all(|&bytes| bytes >= depth_bytes);
        let (scanned, sensed) = (is_deep(reading.scanned), is_deep(reading.sensed_bytes));
        self.watch = watch;
        self.set(Mark::Told, told.is_some());
        self.set(Mark::Scanned, scanned);
        self.set(Mark::Sensed, sensed);
        self.reading.take()
    }

    /// Takes out the [`Reading`] of a connection that is over, whatever is in it. Stragglers find what was told
    /// and what threat detectors saw.
    pub(crate) fn take_at_end(&mut self) -> Option<Box<Reading>> {
        let reading = self.reading.take()?;
        self.watch = reading.watch.at_end();
        let told = reading.told.is_some() && reading.told == self.decision;
        self.set(Mark::Told, told);
        Some(reading)
    }

    /// Puts in an empty [`Reading`], which goes on from what was kept.
    pub(crate) fn go_on_with(&mut self, mut reading: Box<Reading>) {
        reading.watch = self.watch.into();
        reading.told = self.told();
        let depth = |deep| if deep { [SCANNED; 2] } else { [0; 2] };
        reading.scanned = depth(self.is(Mark::Scanned));
        reading.sensed_bytes = depth(self.is(Mark::Sensed));
        self.reading = Some(reading);
    }

    /// Its bytes contradict what it was, which may never have been told: the same bytes can show and
    /// contradict it. What is kept is what it began as, or turned into as a special case of that.
    pub fn contradict(&mut self, known: &Identification) {
        self.set(Mark::Contradicted, true);
        self.set_evidence(known.confidence, known.evidence);
        let special = |outer| {
            let app = known.app.filter(|_| known.evidence == TURNED);
            app.filter(|&app| registry::refines(app, outer))
        };
        let outer = known.carried.map(|outer| special(outer).unwrap_or(outer));
        self.application = AppSlot::of(outer.or(known.app).or(self.application()));
    }

    /// Counts a packet.
    pub fn count(&mut self, direction: Direction, frame_bytes: usize) {
        self.packets[direction as usize] += 1;
        self.bytes[direction as usize] += frame_bytes as u64;
    }

    /// What policy is asked about this flow; `candidates` while the application is undecided. An
    /// announced flow is judged as a part of the one that announced it.
    pub fn question(
        &self,
        key: &FlowKey,
        hot: &Hot,
        candidates: weir_l7::AppSet,
    ) -> Question<'static> {
        let (_, _, _, server_port) = key.endpoints(hot.initiator_is_low);
        let plain = Question {
            client: self.client,
            server: self.server,
            protocol: key.protocol(),
            server_port: if has_ports(key.protocol()) {
                server_port
            } else {
                0
            },
            application: match self.application() {
                None => Application::Candidates(candidates),
                Some(app) if self.is(Mark::Refinable) => {
                    Application::OneOf(registry::special_cases(app))
                }
                Some(app) => Application::Known(app),
            },
            request: None,
        };
        let Some(part) = self.part_of() else {
            return plain;
        };
        let (client, server) = match part.turned {
            true => (self.server, self.client),
            false => (self.client, self.server),
        };
        Question {
            client,
            server,
            protocol: part.control.protocol,
            server_port: part.control.server_port,
            application: Application::Known(part.control.application),
            ..plain
        }
    }

    /// Whether what policy denies of it, and what stages object to, is dropped.
    pub fn is_blocked(&self) -> bool {
        let mode = self.decision.map(|decision| decision.mode);
        self.is(Mark::Enforceable) && mode == Some(Mode::Protect)
    }

    /// The application, where the decision allows all of its requests.
    pub fn allowed(&self) -> Option<(AppId, Decision)> {
        let decision = self.decision?;
        let is_final = decision.certainty == Certainty::Final && !self.is(Mark::Refinable);
        let allows = decision.rule_action == Action::Allow && self.part_of().is_none();
        Some((self.application()?, decision)).filter(|_| is_final && allows)
    }

    /// What threat detectors are told of it.
    pub fn watched(&self, hot: &Hot) -> weir_threat::Connection {
        let (client, client_port, server, server_port) = hot.key.endpoints(hot.initiator_is_low);
        weir_threat::Connection {
            number: self.number,
            zone: hot.key.zone(),
            client,
            server,
            client_port,
            server_port,
            protocol: hot.key.protocol(),
            application: self.application(),
            from_start: self.is(Mark::FromStart),
            first_seen_us: self.first_seen_us,
            packets: self.packets,
        }
    }

    /// What signatures ask of the flow.
    pub fn scan_facts<'a>(&self, hot: &Hot, known: &'a Known) -> weir_sigs::Facts<'a> {
        let (client, client_port, server, server_port) = hot.key.endpoints(hot.initiator_is_low);
        let number = hot.key.protocol();
        weir_sigs::Facts {
            client: to_ip_address(client),
            server: to_ip_address(server),
            client_port,
            server_port,
            protocol: number,
            // Bytes that contradict an application are still said to it.
            application: match self.is(Mark::Contradicted) {
                true => self.carried().or(self.application()),
                false => self.application(),
            },
            // A stream has bytes to look at when both ends agreed on it.
            established: number == protocol::TCP || self.packets.iter().all(|&count| count > 0),
            session: Some(known),
        }
    }

    /// How it ends, for threat detectors.
    pub fn ending(&self, hot: &Hot) -> weir_threat::Ending {
        weir_threat::Ending {
            was_established: self.tcp.is_established() || hot.life == Life::Established,
            bytes: self.bytes,
        }
    }

    /// The facts for an event. None before the first decision.
    pub fn facts(&self, hot: &Hot) -> Option<FlowFacts> {
        let (client_address, client_port, server_address, server_port) =
            hot.key.endpoints(hot.initiator_is_low);
        Some(FlowFacts {
            number: self.number,
            zone: hot.key.zone(),
            client_address,
            server_address,
            client_port,
            server_port,
            protocol: hot.key.protocol(),
            client: self.client,
            server: self.server,
            application: self.application(),
            carried: self.carried(),
            confidence: self.confidence().unwrap_or(Confidence::None),
            evidence: self.evidence.text(),
            from_start: self.is(Mark::FromStart),
            decision: self.decision?,
            policy_version: self.policy_version,
            packets: self.packets,
            bytes: self.bytes,
            first_seen_us: self.first_seen_us,
            last_seen_us: hot.last_seen_us,
        })
    }
}

fn done(direction: Direction) -> Mark {
    match direction {
        Direction::ToServer => Mark::DoneToServer,
        Direction::ToClient => Mark::DoneToClient,
    }
}

/// Whether flows of this protocol have ports that policy can name.
pub fn has_ports(protocol: u8) -> bool {
    use weir_wire::protocol;
    matches!(protocol, protocol::TCP | protocol::UDP | protocol::SCTP)
}
