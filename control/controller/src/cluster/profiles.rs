//! What was learned, shared by all controllers of a cluster through LearnedProfile objects.
//!
//! Each controller hears the nodes that it serves. What it knows of a workload beyond what the object says
//! it writes there, joined with what the object says; what another wrote it joins into its own. Joining is
//! commutative, associative and idempotent (`weir-learn` has the law), so that it does not matter who
//! writes when, or twice; who wrote on an older state than the object has is refused by the API server,
//! reads, joins and tries again. Who leads writes beside that what is only a summary, and deletes what is
//! over.
//!
//! Paced: what a person said is written at once; news (a conversation, a day, a name, an alert) at most every
//! [`NEWS`] for each object; what only counts further at most every [`COUNTS`]; all together
//! [`WRITES_MAX`] a second. An object that somebody deletes is written again: forgetting is a matter of
//! age. Memory: a few numbers for each object.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use futures::StreamExt;
use tokio::sync::{mpsc, watch};
use tracing::{debug, info};
use weir_compile::Key;
use weir_kubernetes::{Leadership, ProfileTold, ProfileWrote, Profiles, Trouble};
use weir_learn::{Decision, evidence, from_status, home};
use weir_model::{Document, Kind, LearnedStatus};

use crate::conversation::{Conversations, Summary};
use crate::learning;
use crate::policy::blocking;
use crate::source::Source;
use crate::state::State;
use crate::store::StoreError;
use crate::time::now_unix_us;

/// How often is looked for what is to be written.
const ROUND: Duration = Duration::from_secs(1);
/// How soon an object is written again that has news.
const NEWS: Duration = Duration::from_secs(30);
/// And one of which only counts have grown.
const COUNTS: Duration = Duration::from_secs(15 * 60);
/// Objects that are written in a round.
const WRITES_MAX: usize = 20;
/// Objects that are looked at in a round.
const LOOKS_MAX: usize = 200;
/// Writes that are on their way at once.
const AT_ONCE: usize = 8;
/// Attempts where others write too.
const ATTEMPTS: usize = 3;
/// After a failure.
const PAUSE: Duration = Duration::from_secs(2);
/// Up to so many conversations summaries are made whenever something changed, above it less often.
const SUMMARY_EASY: usize = 20_000;
const SUMMARY: Duration = Duration::from_secs(30);
/// Sentences of a summary.
const MISSING_MAX: usize = 8;
/// What of it is a problem.
const PART: &str = "the profiles of what was learned";
const READING: &str = "reading the profiles of what was learned";

/// Reads and writes the objects until the controller stops; what is new is then written at once.
pub async fn keep(
    state: Arc<State>,
    leadership: Arc<Leadership>,
    mut stopping: watch::Receiver<bool>,
) {
    let Source::Kubernetes(source) = &state.source else {
        return;
    };
    let profiles = Profiles::new(source.client(), source.namespace(), source.timeout());
    state.observed.change_conversations(|all| {
        all.watch();
        // What the store remembers may be news to others.
        let known: HashSet<String> = all.iter().map(|(key, _)| home(key).to_owned()).collect();
        known.iter().for_each(|workload| all.mark(workload));
    });
    let mut told = profiles.watch();
    let mut keeper = Keeper {
        state: state.clone(),
        leadership,
        profiles,
        objects: HashMap::new(),
        due: HashMap::new(),
        led: false,
        summaries: HashMap::new(),
        summarised: None,
        complete: false,
    };
    let mut rounds = tokio::time::interval(ROUND);
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut stop = std::pin::pin!(async move {
        let _ = stopping.wait_for(|stopping| *stopping).await;
    });
    loop {
        tokio::select! {
            heard = told.recv() => match heard {
                Some(heard) => keeper.hear(heard).await,
                None => return,
            },
            _ = rounds.tick() => {
                let pause = keeper.round(false).await;
                keeper.wait(pause, &mut told).await;
            }
            () = &mut stop => break,
        }
    }
    keeper.round(true).await;
}

struct Keeper {
    state: Arc<State>,
    leadership: Arc<Leadership>,
    profiles: Profiles,
    /// What is known of the objects that are there.
    objects: HashMap<String, Object>,
    /// Workloads of which is to be looked whether there is something to write, and not before when.
    due: HashMap<String, Instant>,
    summaries: HashMap<String, Summary>,
    summarised: Option<Instant>,
    /// All objects have been heard.
    complete: bool,
    /// It led when it looked last.
    led: bool,
}

/// An object as it was heard or written last.
#[derive(Clone, Copy, Debug)]
struct Object {
    print: Print,
    /// When it changed; none where that was before this controller listened.
    at: Option<Instant>,
}

/// What a status says, as numbers: equal where it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Print {
    /// What people said.
    said: u64,
    /// Which conversations, days, names, alerts.
    news: u64,
    /// All of the evidence.
    evidence: u64,
    /// The rest.
    summary: u64,
}

/// What is to be done with an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Write,
    Delete,
    Leave,
    /// Later.
    Wait,
}

impl Keeper {
    /// Takes what an object says.
    async fn hear(&mut self, told: ProfileTold) {
        match told {
            ProfileTold::Profile { workload, status } => self.take(workload, *status).await,
            ProfileTold::Gone { workload } => {
                self.objects.remove(&workload);
                self.look_at(workload, Instant::now());
            }
            ProfileTold::Complete => {
                let first = !std::mem::replace(&mut self.complete, true);
                self.state.cluster.set_problem(READING, None);
                if first {
                    info!(profiles = self.objects.len(), "what was learned is read");
                    let state = self.state.clone();
                    blocking(move || learning::forget(&state)).await;
                }
            }
            ProfileTold::Condition(problem) => self.state.cluster.set_problem(READING, problem),
        }
    }

    async fn take(&mut self, workload: String, status: LearnedStatus) {
        let print = Print::of(&status);
        let at = self.complete.then(Instant::now);
        let known = self.objects.insert(workload.clone(), Object { print, at });
        if known.is_some_and(|known| known.print == print) {
            return;
        }
        let (state, weeding) = (self.state.clone(), self.complete);
        let name = workload.clone();
        let joined = blocking(move || {
            let profile = from_status(&name, status, now_unix_us());
            learning::join(&state, profile, weeding)
        })
        .await;
        if let Err(error) = joined {
            // It is heard again when it changes, or when this controller begins anew.
            debug!(workload, %error, "what another controller knows is not kept");
        }
        self.look_at(workload, Instant::now());
    }

    fn look_at(&mut self, workload: String, not_before: Instant) {
        self.due.entry(workload).or_insert(not_before);
    }

    /// Listens meanwhile: who asks for patience gets it.
    async fn wait(&mut self, pause: Duration, told: &mut mpsc::Receiver<ProfileTold>) {
        let until = tokio::time::Instant::now() + pause;
        while let Ok(Some(heard)) = tokio::time::timeout_at(until, told.recv()).await {
            self.hear(heard).await;
        }
    }

    /// Writes what is due; returns after which pause to go on. `last`: now or never.
    async fn round(&mut self, last: bool) -> Duration {
        let now = Instant::now();
        let changed = |all: &mut Conversations| all.take_changed();
        for (workload, urgent) in self.state.observed.change_conversations(changed) {
            match urgent {
                true => drop(self.due.insert(workload, now)),
                false => self.look_at(workload, now),
            }
        }
        let leads = self.leadership.leads();
        if !self.complete || self.due.is_empty() && leads == self.led {
            return Duration::ZERO;
        }
        self.summarise();
        if leads && !std::mem::replace(&mut self.led, leads) {
            // What only who leads writes nobody may have written.
            let all: Vec<String> = self
                .summaries
                .keys()
                .chain(self.objects.keys())
                .cloned()
                .collect();
            all.into_iter()
                .for_each(|workload| self.look_at(workload, now));
        }
        self.led = leads;
        let mut steps = match self.look(last).await {
            Ok(steps) => steps,
            Err(error) => {
                debug!(%error, "what was decided cannot be read");
                return PAUSE;
            }
        };
        if !last {
            // Those that wait for their turn are looked at again.
            for (workload, ..) in steps.drain(WRITES_MAX.min(steps.len())..) {
                self.look_at(workload, now);
            }
        }
        let sent = self.send(steps).await;
        let mut pause = Duration::ZERO;
        let mut problem = None;
        for (workload, print, sent) in sent {
            match sent {
                Ok(true) => {
                    let at = Some(Instant::now());
                    match print {
                        Some(print) => self.objects.insert(workload, Object { print, at }),
                        None => self.objects.remove(&workload),
                    };
                }
                Ok(false) => {}
                Err(trouble) => {
                    self.look_at(workload, now);
                    pause = pause.max(trouble.retry_after.unwrap_or(PAUSE));
                    problem = Some(trouble.problem);
                }
            }
        }
        self.state.cluster.set_problem(PART, problem);
        pause
    }

    /// What is to be done now. What is not is due later, or not at all.
    async fn look(&mut self, last: bool) -> Result<Vec<(String, Step, LearnedStatus)>, StoreError> {
        let state = self.state.clone();
        let decisions = blocking(move || state.store.decisions()).await?;
        let mut by_home: HashMap<&str, Vec<&Decision>> = HashMap::new();
        for decision in &decisions {
            by_home
                .entry(home(&decision.key))
                .or_default()
                .push(decision);
        }
        let leads = self.led;
        let mut steps = Vec::new();
        let later = Instant::now() + NEWS;
        for workload in self.soonest(last) {
            self.due.remove(&workload);
            if !self.profiles.has_place(&workload) {
                continue;
            }
            let decided = by_home.get(workload.as_str());
            let decided = decided.into_iter().flatten().copied();
            let status = self.status(&workload, decided);
            let known = self.objects.get(&workload);
            match step(known, &status, leads, last) {
                Step::Leave => {}
                Step::Wait => self.look_at(workload, later),
                step => steps.push((workload, step, status)),
            }
        }
        Ok(steps)
    }

    /// Of what is due that which has been longest.
    fn soonest(&self, last: bool) -> Vec<String> {
        let now = Instant::now();
        let due = self.due.iter();
        let due = due.filter(|(_, not_before)| last || **not_before <= now);
        let mut soonest: Vec<(Instant, &String)> = due.map(|(name, at)| (*at, name)).collect();
        soonest.sort_unstable();
        let number = if last { usize::MAX } else { LOOKS_MAX };
        let soonest = soonest.into_iter().take(number);
        soonest.map(|(_, workload)| workload.clone()).collect()
    }

    fn summarise(&mut self) {
        let count = self.state.observed.with_conversations(|all| all.count());
        let fresh = self.summarised.is_some_and(|at| at.elapsed() < SUMMARY);
        if fresh && count > SUMMARY_EASY {
            return;
        }
        self.summaries = self
            .state
            .observed
            .with_conversations(|all| all.summaries());
        self.summarised = Some(Instant::now());
    }

    /// What this controller would write of a workload.
    fn status<'a>(
        &self,
        workload: &str,
        decided: impl Iterator<Item = &'a Decision>,
    ) -> LearnedStatus {
        let observed = &self.state.observed;
        let look = |all: &Conversations| (all.profile(workload), all.newest_us());
        let (mut profile, newest_us) = observed.with_conversations(look);
        profile.decisions = decided.cloned().collect();
        learning::weed(&mut profile, &observed.ageing(), newest_us);
        let mut status = evidence(&profile);
        status.owner = self.owner(workload);
        if let Some(summary) = self.summaries.get(workload) {
            let coverage = summary.tally.coverage(newest_us);
            // Never 100 %: there is always one more that may come.
            let percent = ((1.0 - coverage.next_is_new) * 100.0).floor();
            status.known = summary.conversations;
            status.coverage = format!("{percent:.0}%");
            status.ready = coverage.ready;
            status.missing = coverage.missing;
            status.missing.truncate(MISSING_MAX);
            status.last_seen = Some(minute(summary.last_seen_us));
        }
        status
    }

    fn owner(&self, workload: &str) -> Option<String> {
        let (namespace, name) = workload.split_once('/')?;
        let key = Key {
            kind: Kind::Workload,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        let located = self.state.pipeline.document(&key)?;
        match &located.value {
            Document::Workload(workload) => workload.spec.owner.clone(),
            _ => None,
        }
    }

    /// Each with what it says afterwards; none: it is gone.
    async fn send(
        &mut self,
        steps: Vec<(String, Step, LearnedStatus)>,
    ) -> Vec<(String, Option<Print>, Result<bool, Trouble>)> {
        let mut todo = steps;
        let mut done = Vec::new();
        for attempt in 1..=ATTEMPTS {
            let profiles = &self.profiles;
            let sends = todo.into_iter().map(|(workload, step, status)| async move {
                let sent = match step {
                    Step::Delete => profiles.delete(&workload).await.map(|()| None),
                    _ => profiles.write(&workload, &status).await.map(Some),
                };
                (workload, step, status, sent)
            });
            let sends = futures::stream::iter(sends).buffer_unordered(AT_ONCE);
            let sent: Vec<_> = sends.collect().await;
            todo = Vec::new();
            for (workload, step, status, sent) in sent {
                match sent {
                    Ok(None) => done.push((workload, None, Ok(true))),
                    Ok(Some(ProfileWrote::Written)) => {
                        done.push((workload, Some(Print::of(&status)), Ok(true)));
                    }
                    // There is nothing to be done until it changes.
                    Ok(Some(ProfileWrote::Nowhere)) => done.push((workload, None, Ok(false))),
                    Ok(Some(ProfileWrote::Changed(now))) => {
                        self.take(workload.clone(), *now).await;
                        if attempt < ATTEMPTS {
                            let again = self.again(&workload).await;
                            todo.extend(again.map(|status| (workload, step, status)));
                        }
                    }
                    Err(trouble) => done.push((workload, None, Err(trouble))),
                }
            }
            if todo.is_empty() {
                break;
            }
        }
        done
    }

    /// What there is to write on what another wrote meanwhile.
    async fn again(&self, workload: &str) -> Option<LearnedStatus> {
        let state = self.state.clone();
        let decisions = blocking(move || state.store.decisions()).await.ok()?;
        let own = decisions.iter().filter(|it| home(&it.key) == workload);
        let status = self.status(workload, own);
        let known = self.objects.get(workload);
        let print = Print::of(&status);
        let evidence = |print: &Print| (print.said, print.evidence);
        let differs = known.is_none_or(|it| evidence(&it.print) != evidence(&print));
        differs.then_some(status)
    }
}

impl Print {
    fn of(status: &LearnedStatus) -> Self {
        let mut news = DefaultHasher::new();
        for it in &status.conversations {
            (&it.client, &it.server, &it.application).hash(&mut news);
            (it.port, it.protocol, it.days.last, it.days.recent).hash(&mut news);
            (it.confidence, it.from_start, &it.names).hash(&mut news);
            (it.connections > 0, it.denied > 0, it.would_deny > 0).hash(&mut news);
            (it.resolved > 0, it.unanswered > 0).hash(&mut news);
            it.alert_names.keys().for_each(|name| name.hash(&mut news));
        }
        let text = |value: Result<Vec<u8>, serde_json::Error>| {
            let mut hasher = DefaultHasher::new();
            value.unwrap_or_default().hash(&mut hasher);
            hasher.finish()
        };
        let said = text(serde_json::to_vec(&(&status.decisions, &status.formerly)));
        let conversations = text(serde_json::to_vec(&status.conversations));
        let summary = (
            &status.owner,
            status.known,
            (&status.coverage, status.ready),
            &status.missing,
            &status.last_seen,
            (status.left_out, status.decisions_left_out),
        );
        Self {
            said,
            news: news.finish(),
            evidence: conversations,
            summary: text(serde_json::to_vec(&summary)),
        }
    }
}

/// What is to be done with what this controller would write.
fn step(object: Option<&Object>, own: &LearnedStatus, leads: bool, last: bool) -> Step {
    let nothing =
        own.conversations.is_empty() && own.decisions.is_empty() && own.formerly.is_empty();
    let Some(object) = object else {
        return match () {
            () if !nothing => Step::Write,
            () if leads && own.known > 0 => Step::Write,
            () => Step::Leave,
        };
    };
    if nothing && own.known == 0 {
        // Only one deletes: another may just be about to write.
        return match leads {
            true => Step::Delete,
            false => Step::Leave,
        };
    }
    let print = Print::of(own);
    let pause = match () {
        () if print.said != object.print.said => Duration::ZERO,
        () if print.news != object.print.news => NEWS,
        () if print.evidence != object.print.evidence => COUNTS,
        () if leads && !last && print.summary != object.print.summary => COUNTS,
        () => return Step::Leave,
    };
    match last || object.at.is_none_or(|at| at.elapsed() >= pause) {
        true => Step::Write,
        false => Step::Wait,
    }
}

/// To the minute, so that the object need not change with every connection.
fn minute(time_unix_us: u64) -> String {
    let minute = Duration::from_micros(time_unix_us).as_secs() / 60 * 60;
    let time = UNIX_EPOCH.checked_add(Duration::from_secs(minute));
    let time = time.unwrap_or(UNIX_EPOCH);
    humantime::format_rfc3339_seconds(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_model::{LearnedConversation, LearnedDays};

    fn own(connections: u64, port: u16) -> LearnedStatus {
        LearnedStatus {
            known: 1,
            coverage: "50%".into(),
            conversations: vec![LearnedConversation {
                client: "shop/web".into(),
                server: "shop/db".into(),
                port,
                connections,
                days: LearnedDays {
                    last: 20_000,
                    recent: 1,
                    older: 0,
                },
                ..LearnedConversation::default()
            }],
            ..LearnedStatus::default()
        }
    }

    fn object(status: &LearnedStatus, age: Duration) -> Object {
        Object {
            print: Print::of(status),
            at: Instant::now().checked_sub(age),
        }
    }

    #[test]
    fn news_are_written_soon_counts_late_and_the_same_never() {
        let told = own(5, 80);
        let (counted, news) = (own(6, 80), own(5, 81));
        let at = |age| object(&told, age);
        let second = Duration::from_secs(1);
        assert_eq!(step(None, &told, false, false), Step::Write);
        assert_eq!(step(Some(&at(COUNTS * 2)), &told, true, true), Step::Leave);
        assert_eq!(step(Some(&at(second)), &news, false, false), Step::Wait);
        assert_eq!(step(Some(&at(NEWS)), &news, false, false), Step::Write);
        assert_eq!(step(Some(&at(NEWS)), &counted, false, false), Step::Wait);
        assert_eq!(step(Some(&at(COUNTS)), &counted, false, false), Step::Write);
        // When it stops, now or never.
        assert_eq!(step(Some(&at(second)), &counted, false, true), Step::Write);
    }

    #[test]
    fn summaries_and_deletions_are_for_who_leads() {
        let served = LearnedStatus {
            known: 3,
            coverage: "97%".into(),
            ..LearnedStatus::default()
        };
        assert_eq!(step(None, &served, false, false), Step::Leave);
        assert_eq!(step(None, &served, true, false), Step::Write);
        let before = LearnedStatus {
            known: 2,
            ..served.clone()
        };
        let known = object(&before, COUNTS);
        assert_eq!(step(Some(&known), &served, false, false), Step::Leave);
        assert_eq!(step(Some(&known), &served, true, false), Step::Write);
        let nothing = LearnedStatus::default();
        assert_eq!(step(Some(&known), &nothing, false, false), Step::Leave);
        assert_eq!(step(Some(&known), &nothing, true, false), Step::Delete);
        assert_eq!(step(None, &nothing, true, false), Step::Leave);
    }
}
