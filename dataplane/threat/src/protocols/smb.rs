//! SMBGhost (CVE-2020-0796), its probes. What exploits it is a violation of its own.

use weir_l7::Event;

use super::Scene;
use super::fields::FieldPlace;
use crate::{Evidence, Threat};

pub(super) struct Smb {
    note: FieldPlace,
}

impl Smb {
    pub(super) fn new() -> Self {
        Self {
            note: FieldPlace::of("smb.note"),
        }
    }

    pub(super) fn message(&self, scene: &mut Scene<'_>, message: &Event<'_>) {
        // Who offers to compress by LZNT1 alone, and to encrypt not at all, asks whether a server is
        // open to the attack: no client of Windows or Samba negotiates so.
        if self.note.text(message) == b"compression only" {
            scene.once(Threat::SmbGhost, || Evidence::sign("probe"));
        }
    }
}
