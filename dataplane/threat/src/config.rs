//! What is looked for, what it does, and from where on: `[threats]` of the node's configuration.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{Action, Threat, network, protocols};

/// `[threats]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// What a threat does, by its name; those that are not named do what the catalogue says.
    pub actions: BTreeMap<String, Action>,
    /// Thresholds for packets and connections.
    pub network: network::Settings,
    /// Thresholds for messages.
    pub protocols: protocols::Settings,
}

/// Settings, checked.
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) actions: [Action; Threat::ALL.len()],
    /// Thresholds for packets and connections.
    pub network: network::Settings,
    /// Thresholds for messages.
    pub protocols: protocols::Settings,
}

/// An action for a threat that does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownThreat(pub String);

impl std::fmt::Display for UnknownThreat {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            out,
            "threats.actions: there is no threat {:?}; `weir threats` lists them",
            self.0
        )
    }
}

impl std::error::Error for UnknownThreat {}

impl Default for Config {
    fn default() -> Self {
        let mut actions = [Action::Off; Threat::ALL.len()];
        for &threat in Threat::ALL {
            actions[threat as usize] = threat.default_action();
        }
        Self {
            actions,
            network: network::Settings::default(),
            protocols: protocols::Settings::default(),
        }
    }
}

impl Config {
    /// Checks settings.
    pub fn new(settings: &Settings) -> Result<Self, UnknownThreat> {
        let mut config = Self {
            network: settings.network.clone(),
            protocols: settings.protocols.clone(),
            ..Self::default()
        };
        for (name, &action) in &settings.actions {
            let threat = Threat::by_name(name).ok_or_else(|| UnknownThreat(name.clone()))?;
            config.actions[threat as usize] = action;
        }
        Ok(config)
    }

    /// Everything is told and nothing dropped: for captures.
    pub fn telling_everything(mut self) -> Self {
        self.actions = [Action::Alert; Threat::ALL.len()];
        self
    }

    /// Has a threat do something else.
    pub fn act(&mut self, threat: Threat, action: Action) {
        self.actions[threat as usize] = action;
    }

    /// What this threat does.
    pub fn action(&self, threat: Threat) -> Action {
        self.actions[threat as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_by_name() {
        let settings: Settings =
            toml::from_str("[actions]\nland = \"off\"\nssh-version-2 = \"alert\"\n").unwrap();
        let config = Config::new(&settings).unwrap();
        assert_eq!(config.action(Threat::Land), Action::Off);
        assert_eq!(config.action(Threat::SshVersion2), Action::Alert);
        assert_eq!(config.action(Threat::Heartbleed), Action::Drop);
    }

    #[test]
    fn an_unknown_threat_is_named() {
        let settings: Settings = toml::from_str("[actions]\nlend = \"off\"\n").unwrap();
        assert!(
            Config::new(&settings)
                .unwrap_err()
                .to_string()
                .contains("lend")
        );
    }
}
