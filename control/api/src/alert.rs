//! Alerts as nodes tell them: what holds of every one that is taken, and the words for them.
//!
//! Trusts nothing in a message: a record that says it is an alert and holds none, or one without kind,
//! name or action, is an error that names the field.

use crate::{FieldError, v1};

/// The generator of a threat's id; that of signatures is 1 unless the rule says otherwise.
pub const THREAT_GENERATOR: u32 = 900;
/// The generator of a sensor's id.
pub const SENSOR_GENERATOR: u32 = 901;

/// What became of the packet that raised an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It asked for no more than to be told.
    Told,
    /// It asked for a drop, and the mode let the packet pass.
    WouldBlock,
    /// The packet did not get through.
    Blocked,
}

impl Outcome {
    /// "told", "would-block", "blocked".
    pub fn name(self) -> &'static str {
        match self {
            Self::Told => "told",
            Self::WouldBlock => "would-block",
            Self::Blocked => "blocked",
        }
    }
}

impl v1::Alert {
    /// What became of the packet.
    pub fn outcome(&self) -> Outcome {
        match (self.blocked, self.action()) {
            (true, _) => Outcome::Blocked,
            (false, v1::AlertAction::Drop) => Outcome::WouldBlock,
            (false, _) => Outcome::Told,
        }
    }
}

impl v1::FlowRecord {
    /// The alert that this record tells; None for a record of another event.
    pub fn raised(&self) -> Result<Option<&v1::Alert>, FieldError> {
        let alert = match (self.event(), &self.alert) {
            (v1::FlowEvent::Alert, Some(alert)) => alert,
            (v1::FlowEvent::Alert, None) => return Err(FieldError::new("alert", "is missing")),
            (_, Some(_)) => return Err(FieldError::new("alert", "belongs to another event")),
            (_, None) => return Ok(None),
        };
        if alert.kind() == v1::AlertKind::Unspecified {
            return Err(FieldError::new(
                "alert.kind",
                "is none that this version knows",
            ));
        }
        if alert.action() == v1::AlertAction::Unspecified {
            return Err(FieldError::new(
                "alert.action",
                "is none that this version knows",
            ));
        }
        if alert.name.is_empty() && alert.id == 0 {
            return Err(FieldError::new("alert.name", "and id are empty"));
        }
        if !is_technique(&alert.technique) {
            return Err(FieldError::new(
                "alert.technique",
                "is no technique of ATT&CK",
            ));
        }
        Ok(Some(alert))
    }
}

/// Whether a text names a technique of MITRE ATT&CK: nothing, `T1190` or `T1499.001`.
pub fn is_technique(text: &str) -> bool {
    let digits =
        |text: &str, count| text.len() == count && text.bytes().all(|it| it.is_ascii_digit());
    let Some(number) = text.strip_prefix('T') else {
        return text.is_empty();
    };
    match number.split_once('.') {
        Some((technique, part)) => digits(technique, 4) && digits(part, 3),
        None => digits(number, 4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> v1::FlowRecord {
        v1::FlowRecord {
            event: v1::FlowEvent::Alert.into(),
            alert: Some(v1::Alert {
                kind: v1::AlertKind::Threat.into(),
                name: "log4shell".into(),
                action: v1::AlertAction::Drop.into(),
                technique: "T1190".into(),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    #[test]
    fn what_is_no_alert_is_refused_by_its_field() {
        assert!(record().raised().unwrap().is_some());
        assert_eq!(v1::FlowRecord::default().raised(), Ok(None));
        type Change = fn(&mut v1::FlowRecord);
        let changes: [(&str, Change); 6] = [
            ("alert", |record| record.alert = None),
            ("alert", |record| record.set_event(v1::FlowEvent::End)),
            ("alert.kind", |record| alert(record).kind = 77),
            ("alert.action", |record| alert(record).action = 0),
            ("alert.name", |record| alert(record).name.clear()),
            ("alert.technique", |record| {
                alert(record).technique = "T1190.1".into()
            }),
        ];
        for (field, change) in changes {
            let mut changed = record();
            change(&mut changed);
            assert_eq!(changed.raised().unwrap_err().field, field);
        }
    }

    fn alert(record: &mut v1::FlowRecord) -> &mut v1::Alert {
        record.alert.get_or_insert_default()
    }

    #[test]
    fn what_monitor_lets_pass_would_be_blocked() {
        let mut alert = record().alert.unwrap();
        assert_eq!(alert.outcome(), Outcome::WouldBlock);
        alert.blocked = true;
        assert_eq!(alert.outcome(), Outcome::Blocked);
        (alert.blocked, alert.action) = (false, v1::AlertAction::Alert.into());
        assert_eq!(alert.outcome(), Outcome::Told);
    }
}
