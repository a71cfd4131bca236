//! An alert in the words of the contract, the same for the controller and for EVE.

use weir_api::{SENSOR_GENERATOR, THREAT_GENERATOR, v1};
use weir_policy::Snapshot;
use weir_policy::spec::SensorAction;
use weir_sigs::rule::Action as SignatureAction;
use weir_threat::{Action, Finding};

use crate::event::{Alert, Event, Sensed};

/// The key under which authors of rules name a technique of ATT&CK.
const TECHNIQUE_KEY: &str = "mitre_technique_id";

/// The signature, threat or sensor that an event tells of; None where it tells of none.
pub fn alert(event: &Event, snapshot: &Snapshot) -> Option<v1::Alert> {
    let alert = match event {
        Event {
            alert: Some(alert), ..
        } => signature(alert)?,
        Event {
            finding: Some(finding),
            ..
        } => threat(finding),
        Event {
            sensed: Some(sensed),
            ..
        } => sensor(sensed, snapshot),
        _ => return None,
    };
    Some(v1::Alert {
        blocked: event.reason.is_some(),
        ..alert
    })
}

fn signature(alert: &Alert) -> Option<v1::Alert> {
    let rule = alert.rules.rule(alert.hit.rule)?;
    let technique = rule.metadata.iter().find(|(key, _)| key == TECHNIQUE_KEY);
    let technique = technique.map(|(_, technique)| technique.as_str());
    Some(v1::Alert {
        kind: v1::AlertKind::Signature.into(),
        generator: rule.gid,
        id: rule.sid,
        revision: rule.revision,
        name: rule.class.clone().unwrap_or_default(),
        message: rule.message.clone(),
        action: action(alert.hit.action != SignatureAction::Alert),
        severity: rule.priority.into(),
        technique: technique
            .filter(|technique| weir_api::is_technique(technique))
            .unwrap_or_default()
            .to_owned(),
        excerpt: printable(alert.hit.excerpt.bytes()),
        excerpt_offset: alert.hit.excerpt.offset,
        ..Default::default()
    })
}

fn threat(finding: &Finding) -> v1::Alert {
    let (threat, evidence) = (finding.threat, &finding.evidence);
    let drops = finding.action == Action::Drop;
    let counters = evidence.counters.iter();
    v1::Alert {
        kind: v1::AlertKind::Threat.into(),
        generator: THREAT_GENERATOR,
        id: threat.id().into(),
        revision: 1,
        name: threat.name().to_owned(),
        message: threat.about().to_owned(),
        action: action(drops),
        severity: severity(drops),
        technique: threat.technique().to_owned(),
        sign: evidence.sign.to_owned(),
        counters: counters
            .map(|&(name, value)| (name.to_owned(), value))
            .collect(),
        excerpt: printable(&evidence.excerpt),
        ..Default::default()
    }
}

/// The names of a later policy's sensor are those of this one as long as it has the number.
fn sensor(sensed: &Sensed, snapshot: &Snapshot) -> v1::Alert {
    let hit = &sensed.hit;
    let sensors = &snapshot.spec().sensors;
    let place = sensors.binary_search_by_key(&sensed.sensor, |sensor| sensor.id);
    let sensor = place.ok().and_then(|place| sensors.get(place));
    let pattern = sensor.and_then(|sensor| sensor.patterns.get(usize::from(hit.pattern)));
    let title = match sensor {
        Some(sensor) => sensor.name.clone(),
        None => format!("sensor {} of another policy version", sensed.sensor),
    };
    let drops = hit.action == SensorAction::Drop;
    v1::Alert {
        kind: v1::AlertKind::Sensor.into(),
        generator: SENSOR_GENERATOR,
        id: sensed.sensor,
        name: title.strip_prefix("sensor ").unwrap_or(&title).to_owned(),
        message: title,
        action: action(drops),
        severity: severity(drops),
        sign: pattern
            .map(|pattern| pattern.name.clone())
            .unwrap_or_default(),
        counters: [("matches".to_owned(), hit.count.into())].into(),
        excerpt: hit.excerpt.to_string(),
        ..Default::default()
    }
}

fn action(drops: bool) -> i32 {
    match drops {
        true => v1::AlertAction::Drop.into(),
        false => v1::AlertAction::Alert.into(),
    }
}

fn severity(drops: bool) -> u32 {
    if drops { 1 } else { 2 }
}

fn printable(bytes: &[u8]) -> String {
    let escaped = bytes
        .iter()
        .flat_map(|&byte| std::ascii::escape_default(byte));
    escaped.map(char::from).collect()
}
