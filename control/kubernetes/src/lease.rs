//! Who of several controllers leads: an election by a Lease, as a state machine without clock or network.
//!
//! Trusts the API server to refuse a write that is based on an older version of the lease. Distrusts every
//! clock but its own, and of that only that it goes about as fast as others: what another wrote into the
//! lease as time is never compared. A lease has run out when this controller has not seen it change for as
//! long as it lasts; a controller believes that it leads only for a shorter while, counted from before it
//! sent what renewed the lease. So at any time at most one believes it, however late answers come.
//!
//! Time is what has passed since some moment of this process.

use std::time::Duration;

/// A lease that claims to last longer than this does not.
const LASTS_MAX: Duration = Duration::from_secs(300);

/// How long a lease lasts, and when it is renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// After this without a change another may take it.
    pub lasts: Duration,
    /// After this without an answer the holder does not lead any more; shorter.
    pub believed: Duration,
    /// Between two attempts, to take it or to renew it; shorter still.
    pub retry: Duration,
}

/// What a lease says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Who holds it; empty for nobody.
    pub holder: String,
    /// The version of the object.
    pub version: String,
    /// How often it changed hands.
    pub transitions: i32,
    /// How long it lasts, as its holder says.
    pub lasts: Duration,
}

/// What is to be done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing, for so long.
    Wait(Duration),
    /// Read the lease.
    Read,
    /// Make it; there is none.
    Create,
    /// Write it over this version of it.
    Write {
        /// The version that has to be the newest still.
        version: String,
        /// How often it will have changed hands.
        transitions: i32,
        /// It was another's.
        taken: bool,
    },
}

/// One controller's part in the election.
#[derive(Debug)]
pub struct Election {
    identity: String,
    timing: Timing,
    lease: Knowledge,
    /// Since when the lease is known to be as it is.
    unchanged_since: Duration,
    /// When the request was sent that is on its way.
    sent: Duration,
    /// The next attempt.
    next: Duration,
    /// Leads before then.
    leads_until: Duration,
}

#[derive(Debug)]
enum Knowledge {
    /// It has to be read before anything is done.
    Unknown,
    /// There is none.
    Absent,
    /// It is like this; `fresh`: it was read or written just now.
    Present { seen: Seen, fresh: bool },
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            lasts: Duration::from_secs(15),
            believed: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }
}

impl Election {
    /// Of one who is called this; no other is called the same.
    pub fn new(identity: impl Into<String>, timing: Timing) -> Self {
        Self {
            identity: identity.into(),
            timing,
            lease: Knowledge::Unknown,
            unchanged_since: Duration::ZERO,
            sent: Duration::ZERO,
            next: Duration::ZERO,
            leads_until: Duration::ZERO,
        }
    }

    /// Whether this one leads.
    pub fn leads(&self, now: Duration) -> bool {
        now < self.leads_until
    }

    /// Until when it leads, if nothing comes.
    pub fn leads_until(&self) -> Duration {
        self.leads_until
    }

    /// Who holds the lease, as far as is known.
    pub fn holder(&self) -> Option<&str> {
        match &self.lease {
            Knowledge::Present { seen, .. } if !seen.holder.is_empty() => Some(&seen.holder),
            _ => None,
        }
    }

    /// What is to be done.
    pub fn step(&self, now: Duration) -> Step {
        if now < self.next {
            return Step::Wait(self.next - now);
        }
        match &self.lease {
            Knowledge::Unknown => Step::Read,
            Knowledge::Absent => Step::Create,
            Knowledge::Present { seen, .. } if seen.holder == self.identity => Step::Write {
                version: seen.version.clone(),
                transitions: seen.transitions,
                taken: false,
            },
            Knowledge::Present { fresh: false, .. } => Step::Read,
            Knowledge::Present { seen, .. } => Step::Write {
                version: seen.version.clone(),
                transitions: seen.transitions.saturating_add(1),
                taken: true,
            },
        }
    }

    /// A request is sent now.
    pub fn sends(&mut self, now: Duration) {
        self.sent = now;
    }

    /// The lease was read.
    pub fn read(&mut self, now: Duration, seen: Option<Seen>) {
        let Some(seen) = seen else {
            self.lease = Knowledge::Absent;
            self.next = now;
            return;
        };
        let known = match &self.lease {
            Knowledge::Present { seen, .. } => Some(seen.version.as_str()),
            _ => None,
        };
        if known != Some(&seen.version) {
            self.unchanged_since = now;
        }
        let own = seen.holder == self.identity;
        if !own {
            self.leads_until = Duration::ZERO;
        }
        let lasts = self.timing.lasts.max(seen.lasts.min(LASTS_MAX));
        let over = seen.holder.is_empty() || now >= self.unchanged_since + lasts;
        let acts = own || over;
        self.next = match acts {
            true => now,
            false => now + self.timing.retry,
        };
        self.lease = Knowledge::Present { seen, fresh: acts };
    }

    /// The lease was written, and is this one's now.
    pub fn written(&mut self, now: Duration, seen: Seen) {
        self.unchanged_since = now;
        if seen.holder == self.identity {
            self.leads_until = self.leads_until.max(self.sent + self.timing.believed);
        }
        self.lease = Knowledge::Present { seen, fresh: false };
        self.next = now + self.timing.retry;
    }

    /// The lease is not what it was believed to be: another was quicker.
    pub fn conflict(&mut self, now: Duration) {
        // When it last changed is not known, so it is as if it had just changed.
        self.lease = Knowledge::Unknown;
        self.next = now + self.timing.retry;
    }

    /// There was no answer, or none of use.
    pub fn failed(&mut self, now: Duration) {
        match &mut self.lease {
            // Whether it was written is not known.
            Knowledge::Present { seen, .. } if seen.holder == self.identity => {
                self.lease = Knowledge::Unknown;
            }
            Knowledge::Present { fresh, .. } => *fresh = false,
            Knowledge::Absent => self.lease = Knowledge::Unknown,
            Knowledge::Unknown => {}
        }
        self.next = now + self.timing.retry;
    }

    /// Ends leading; what is to be written so that another need not wait.
    pub fn release(&mut self) -> Option<Seen> {
        self.leads_until = Duration::ZERO;
        match &self.lease {
            Knowledge::Present { seen, .. } if seen.holder == self.identity => Some(Seen {
                holder: String::new(),
                lasts: Duration::from_secs(1),
                ..seen.clone()
            }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TIMING: Timing = Timing {
        lasts: Duration::from_millis(15_000),
        believed: Duration::from_millis(10_000),
        retry: Duration::from_millis(2_000),
    };

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// The API server's side of a lease.
    #[derive(Default)]
    struct Server {
        lease: Option<Seen>,
        version: u64,
    }

    impl Server {
        fn handle(&mut self, who: &str, step: &Step) -> Reply {
            match step {
                Step::Wait(_) => Reply::Failed,
                Step::Read => Reply::Read(self.lease.clone()),
                Step::Create if self.lease.is_some() => Reply::Conflict,
                Step::Create => self.put(who, 0),
                Step::Write {
                    version,
                    transitions,
                    ..
                } => match &self.lease {
                    Some(lease) if lease.version == *version => self.put(who, *transitions),
                    _ => Reply::Conflict,
                },
            }
        }

        fn put(&mut self, who: &str, transitions: i32) -> Reply {
            self.version += 1;
            let seen = Seen {
                holder: who.to_owned(),
                version: self.version.to_string(),
                transitions,
                lasts: TIMING.lasts,
            };
            self.lease = Some(seen.clone());
            Reply::Written(seen)
        }
    }

    #[derive(Clone, Debug)]
    enum Reply {
        Read(Option<Seen>),
        Written(Seen),
        Conflict,
        Failed,
    }

    /// A controller with a clock of its own, and its request on the way.
    struct Member {
        name: String,
        election: Election,
        /// Thousandths of the true speed, and where it began.
        rate: u64,
        offset: u64,
        request: Option<(u64, Step)>,
        reply: Option<(u64, Reply)>,
    }

    impl Member {
        fn clock(&self, now_ms: u64) -> Duration {
            ms(self.offset + now_ms * self.rate / 1000)
        }

        fn take(&mut self, now_ms: u64, reply: Reply) {
            let now = self.clock(now_ms);
            match reply {
                Reply::Read(seen) => self.election.read(now, seen),
                Reply::Written(seen) => self.election.written(now, seen),
                Reply::Conflict => self.election.conflict(now),
                Reply::Failed => self.election.failed(now),
            }
        }
    }

    /// What befalls one exchange: how late the server has the request, how late the answer comes.
    type Fate = (u64, u64, bool, bool);

    fn run(members: &mut [Member], fates: &[Fate]) -> (usize, u64) {
        let (mut server, mut fates, mut now_ms) = (Server::default(), fates.iter().cycle(), 0);
        let (mut most, mut led_ms) = (0, 0);
        let mut stale: Vec<(u64, String, Step)> = Vec::new();
        while now_ms < 300_000 {
            for member in members.iter_mut() {
                if let Some((_, step)) = member.request.take_if(|(at, _)| *at <= now_ms) {
                    let reply = server.handle(&member.name, &step);
                    if let Some((_, planned)) = &mut member.reply
                        && !matches!(planned, Reply::Failed)
                    {
                        *planned = reply;
                    }
                }
                if let Some((_, reply)) = member.reply.take_if(|(at, _)| *at <= now_ms) {
                    member.take(now_ms, reply);
                }
                if member.request.is_none() && member.reply.is_none() {
                    let now = member.clock(now_ms);
                    let step = member.election.step(now);
                    if !matches!(step, Step::Wait(_)) {
                        let (there, back, lost, late) = *fates.next().unwrap();
                        member.election.sends(now);
                        // A request whose answer is given up may still arrive.
                        match (lost, late) {
                            (true, false) => {}
                            (true, true) => {
                                stale.push((now_ms + there * 20, member.name.clone(), step.clone()))
                            }
                            _ => member.request = Some((now_ms + there, step)),
                        }
                        let planned = match lost {
                            true => Reply::Failed,
                            false => Reply::Conflict,
                        };
                        member.reply = Some((now_ms + there + back, planned));
                    }
                }
            }
            stale.retain(|(at, who, step)| {
                if *at <= now_ms {
                    server.handle(who, step);
                }
                *at > now_ms
            });
            let leading = members.iter();
            let leading = leading.filter(|it| it.election.leads(it.clock(now_ms)));
            let leading = leading.count();
            most = most.max(leading);
            led_ms += 100 * leading.min(1) as u64;
            now_ms += 100;
        }
        (most, led_ms)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn at_most_one_leads_however_late_or_lost_the_answers_are(
            clocks in prop::collection::vec((900_u64..1100, 0_u64..1_000_000), 2..5),
            fates in prop::collection::vec((0_u64..9_000, 0_u64..9_000, prop::bool::weighted(0.3), any::<bool>()), 1..64),
        ) {
            let mut members: Vec<Member> = clocks.iter().enumerate().map(|(index, (rate, offset))| Member {
                name: format!("member-{index}"),
                election: Election::new(format!("member-{index}"), TIMING),
                rate: *rate,
                offset: *offset,
                request: None,
                reply: None,
            }).collect();
            let (most, _) = run(&mut members, &fates);
            prop_assert!(most <= 1, "{most} lead at once");
        }
    }

    #[test]
    fn with_a_prompt_server_somebody_leads_nearly_always() {
        let member = |index: u64| Member {
            name: format!("member-{index}"),
            election: Election::new(format!("member-{index}"), TIMING),
            rate: 1000,
            offset: index * 777,
            request: None,
            reply: None,
        };
        let mut members = [member(0), member(1), member(2)];
        let (most, led_ms) = run(&mut members, &[(5, 5, false, false)]);
        assert_eq!(most, 1);
        assert!(led_ms > 295_000, "led for {led_ms} ms of 300000");
    }

    #[test]
    fn another_takes_over_when_the_lease_has_not_changed_for_as_long_as_it_lasts() {
        let mut election = Election::new("b", TIMING);
        let seen = |version: &str, holder: &str| Seen {
            holder: holder.to_owned(),
            version: version.to_owned(),
            transitions: 4,
            lasts: TIMING.lasts,
        };
        let start = ms(1_000_000);
        assert_eq!(election.step(start), Step::Read);
        election.read(start, Some(seen("1", "a")));
        assert_eq!(election.step(start), Step::Wait(TIMING.retry));
        // It changed meanwhile: whatever time it names, it counts from now.
        election.read(start + ms(14_000), Some(seen("2", "a")));
        election.read(start + ms(28_000), Some(seen("2", "a")));
        assert!(matches!(election.step(start + ms(28_000)), Step::Wait(_)));
        election.read(start + ms(29_000), Some(seen("2", "a")));
        let step = election.step(start + ms(29_000));
        let write = Step::Write {
            version: "2".to_owned(),
            transitions: 5,
            taken: true,
        };
        assert_eq!(step, write);
        election.sends(start + ms(29_000));
        election.written(start + ms(31_000), seen("3", "b"));
        assert!(election.leads(start + ms(38_999)));
        assert!(
            !election.leads(start + ms(39_000)),
            "counted from the sending"
        );
    }

    #[test]
    fn what_is_released_is_taken_at_once() {
        let mut election = Election::new("a", TIMING);
        let own = Seen {
            holder: "a".to_owned(),
            version: "7".to_owned(),
            transitions: 0,
            lasts: TIMING.lasts,
        };
        election.read(ms(0), None);
        assert_eq!(election.step(ms(0)), Step::Create);
        election.sends(ms(0));
        election.written(ms(1), own);
        assert!(election.leads(ms(2)) && election.holder() == Some("a"));
        let released = election.release().unwrap();
        assert_eq!(
            (released.holder.as_str(), released.version.as_str()),
            ("", "7")
        );
        assert!(!election.leads(ms(2)));
        let mut other = Election::new("b", TIMING);
        other.read(ms(3), Some(released));
        assert!(matches!(other.step(ms(3)), Step::Write { taken: true, .. }));
    }
}
