//! What a connection must remember between packets, in fixed room.

use arrayvec::ArrayVec;

use crate::sql::Kind;

/// Commands that were sent and not answered. Most clients have one; some MariaDB connectors more.
#[derive(Default)]
pub(super) struct Asked {
    commands: ArrayVec<(u8, Kind), 16>,
    /// More than fit were sent: answers can no longer be matched.
    lost: bool,
}

impl Asked {
    pub(super) fn push(&mut self, command: u8, kind: Kind) {
        self.lost |= self.commands.try_push((command, kind)).is_err();
    }

    /// The command that the next answer belongs to.
    pub(super) fn first(&self) -> Option<(u8, Kind)> {
        self.commands.first().copied()
    }

    pub(super) fn answered(&mut self) {
        self.commands.pop_at(0);
    }

    /// Gives the last command its kind, once its text was read.
    pub(super) fn set_kind(&mut self, kind: Kind) {
        if let Some(last) = self.commands.last_mut() {
            last.1 = kind;
        }
    }

    pub(super) fn contains(&self, command: u8) -> bool {
        self.commands.iter().any(|(asked, _)| *asked == command)
    }

    pub(super) fn lost(&self) -> bool {
        self.lost
    }
}
