//! Sensors tried with a text, outside of any connection.

use weir_l7::{Buffer, Content};
use weir_wire::Direction;

use super::{SensorHit, SensorScanner};

impl SensorScanner {
    /// What fires where this text is the content of every buffer of one message, between ends that
    /// nobody knows. It allocates, and is for trying sensors out.
    pub fn trial(&mut self, text: &[u8]) -> Vec<SensorHit> {
        let mut hits = Vec::new();
        let Some(flow) = self.open((0, 0), (0, 0)) else {
            return hits;
        };
        for &buffer in Buffer::ALL {
            let content = Content::whole(buffer, 0, text);
            let mut on_hit = |hit| hits.push(hit);
            self.content(flow, Direction::ToServer, &content, 0, &mut on_hit);
        }
        self.close(flow, 0, &mut |hit| hits.push(hit));
        hits
    }
}
