//! What could not be said.

use std::fmt;

use weir_model::Action;

/// One thing that the result does not say as the original does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Loss {
    /// Which object: "NetworkPolicy shop/photo-db".
    pub object: String,
    /// Where in it: "spec.ingress[0].ports[1]"; empty for the whole.
    pub field: String,
    /// What it comes to.
    pub effect: Effect,
    /// A sentence.
    pub message: String,
}

/// What the result is, compared with the original.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// It lets more through.
    Wider,
    /// It lets less through.
    Narrower,
    /// It lets the same through; a note, a name or a habit is lost.
    Same,
}

/// Gathers the losses of one object.
#[derive(Debug, Default)]
pub(crate) struct Report {
    object: String,
    losses: Vec<Loss>,
    /// A denial is being read or written: what it loses opens, what it gains closes.
    denying: bool,
}

impl Effect {
    /// In a word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wider => "wider",
            Self::Narrower => "narrower",
            Self::Same => "same",
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: ", self.object)?;
        if !self.field.is_empty() {
            write!(formatter, "{}: ", self.field)?;
        }
        write!(formatter, "{} ({})", self.message, self.effect.name())
    }
}

impl Report {
    /// For this object.
    pub(crate) fn of(object: impl Into<String>) -> Self {
        Self {
            object: object.into(),
            ..Self::default()
        }
    }

    /// What follows is about a denial, or about a permission again.
    pub(crate) fn about(&mut self, action: Action) {
        self.denying = action == Action::Deny;
    }

    pub(crate) fn is_denying(&self) -> bool {
        self.denying
    }

    pub(crate) fn lose(&mut self, effect: Effect, field: &str, message: impl Into<String>) {
        self.losses.push(Loss {
            object: self.object.clone(),
            field: field.to_owned(),
            effect,
            message: message.into(),
        });
    }

    /// The rule covers more than it did.
    pub(crate) fn wider(&mut self, field: &str, message: impl Into<String>) {
        let effect = if self.denying {
            Effect::Narrower
        } else {
            Effect::Wider
        };
        self.lose(effect, field, message);
    }

    /// The rule covers less than it did.
    pub(crate) fn narrower(&mut self, field: &str, message: impl Into<String>) {
        let effect = if self.denying {
            Effect::Wider
        } else {
            Effect::Narrower
        };
        self.lose(effect, field, message);
    }

    pub(crate) fn same(&mut self, field: &str, message: impl Into<String>) {
        self.lose(Effect::Same, field, message);
    }

    pub(crate) fn into_losses(self) -> Vec<Loss> {
        self.losses
    }
}
