//! Threat policies as messages, and back.

use weir_policy::spec::{ThreatAction, ThreatPolicySpec};

use super::{ascending, each, unset};
use crate::{FieldError, v1};

pub fn to_message(policy: &ThreatPolicySpec) -> v1::ThreatPolicy {
    let setting = |(threat, action): &(String, ThreatAction)| v1::ThreatSetting {
        threat: threat.clone(),
        action: action_message(*action).into(),
    };
    let threshold = |(name, value): &(String, u32)| v1::ThreatThreshold {
        name: name.clone(),
        value: *value,
    };
    let others = policy.others.map(action_message);
    v1::ThreatPolicy {
        id: policy.id,
        name: policy.name.clone(),
        targets: policy.targets.clone(),
        settings: policy.actions.iter().map(setting).collect(),
        others: others.unwrap_or(v1::ThreatAction::Unspecified).into(),
        thresholds: policy.thresholds.iter().map(threshold).collect(),
    }
}

pub fn from_message(
    message: &v1::ThreatPolicy,
    path: &str,
) -> Result<ThreatPolicySpec, FieldError> {
    let setting = |message: &v1::ThreatSetting, path: &str| {
        let action = action(message.action, &format!("{path}.action"))?;
        Ok((message.threat.clone(), action))
    };
    let within = |list: &str| format!("{path}.{list}");
    let actions = each(&message.settings, &within("settings"), setting)?;
    ascending(&within("settings"), &actions, |(threat, _)| threat)?;
    ascending(&within("targets"), &message.targets, |&id| id)?;
    ascending(&within("thresholds"), &message.thresholds, |it| &it.name)?;
    let thresholds = message.thresholds.iter();
    Ok(ThreatPolicySpec {
        id: message.id,
        name: message.name.clone(),
        targets: message.targets.clone(),
        actions,
        others: match message.others {
            0 => None,
            number => Some(action(number, &within("others"))?),
        },
        thresholds: thresholds.map(|it| (it.name.clone(), it.value)).collect(),
    })
}

fn action_message(action: ThreatAction) -> v1::ThreatAction {
    match action {
        ThreatAction::Ignore => v1::ThreatAction::Ignore,
        ThreatAction::Alert => v1::ThreatAction::Alert,
        ThreatAction::Drop => v1::ThreatAction::Drop,
    }
}

fn action(number: i32, path: &str) -> Result<ThreatAction, FieldError> {
    match v1::ThreatAction::try_from(number) {
        Ok(v1::ThreatAction::Ignore) => Ok(ThreatAction::Ignore),
        Ok(v1::ThreatAction::Alert) => Ok(ThreatAction::Alert),
        Ok(v1::ThreatAction::Drop) => Ok(ThreatAction::Drop),
        _ => Err(FieldError::new(path, unset(number))),
    }
}
