//! Connections that another one announces: FTP's data, TFTP's new port, media of a call.
//!
//! Trusts: that policy lets the connection that announces them speak. Distrusts: what it announces: only the end that
//! has a port may announce it. Gives: no reasons. Memory: that of [`crate::announced`].

use weir_flow::FlowId;
use weir_l7::{Announcement, AppId, registry};
use weir_wire::{Direction, from_ip_address};

use crate::announced::{Control, Expected};
use crate::io::FrameSource;
use crate::path::Path;

impl<S: FrameSource> Path<S> {
    /// Connections that this one announces are known when they come.
    pub(super) fn expect_announced(
        &mut self,
        id: FlowId,
        announcements: &[Announcement],
        now_us: u64,
    ) {
        if announcements.is_empty() {
            return;
        }
        let (hot, cold) = self.flows.table.hot_and_cold_mut(id);
        let (client, client_port, server, server_port) = hot.key.endpoints(hot.initiator_is_low);
        for announcement in announcements {
            let Some(application) = registry::by_name(announcement.application) else {
                continue;
            };
            let (address, own_port, from) = match announcement.side {
                Direction::ToServer => (server, server_port, client),
                Direction::ToClient => (client, client_port, server),
            };
            // Another host's port is not this connection's to open.
            let told = announcement.address.filter(|told| !told.is_unspecified());
            if told.is_some_and(|told| from_ip_address(told) != address) {
                continue;
            }
            let port = if announcement.port == 0 {
                own_port
            } else {
                announcement.port
            };
            self.ownership.announced().expect(
                Expected {
                    zone: hot.key.zone(),
                    protocol: announcement.transport.protocol(),
                    at: (address, port),
                    from,
                    client,
                    application,
                    control: Control {
                        protocol: hot.key.protocol(),
                        server_port,
                        application: cold.application().unwrap_or(AppId::UNKNOWN),
                    },
                },
                now_us,
            );
        }
    }
}
