//! Which captures the controller wants, what became of them, and their files to whoever asks for them.
//!
//! Distrusts the controller in names of files: only what is a capture's is read, and only where the
//! node's configuration lets it. Memory: a piece of [`PIECE_BYTES`] for each of [`READS_MAX`] files
//! that are being read.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::transport::Channel;
use tonic::{Code, Status};
use tracing::{debug, warn};
use weir_api::v1::capture_order::Order;
use weir_api::v1::capture_report::Report;
use weir_api::v1::captures_client::CapturesClient;
use weir_api::v1::{self, CaptureReport};

use crate::capture::{CaptureDesk, file_name_fits};

/// Bytes of a file that travel at once.
const PIECE_BYTES: usize = 64 << 10;
/// Files that are read at a time.
const READS_MAX: usize = 4;
/// Before a lost stream is opened again; of a controller that knows no captures.
const RETRY: Duration = Duration::from_secs(1);
const RETRY_UNKNOWN: Duration = Duration::from_secs(60);

/// Where reports to the controller go.
type Reports = mpsc::Sender<CaptureReport>;

/// Follows what the controller wants, for as long as it is polled.
pub async fn follow(channel: Channel, node: &str, desk: Option<&CaptureDesk>) -> Infallible {
    let Some(desk) = desk else {
        return std::future::pending().await;
    };
    loop {
        let ended = session(channel.clone(), node, desk).await;
        let pause = match ended {
            Err(status) if status.code() == Code::Unimplemented => RETRY_UNKNOWN,
            Err(status) => {
                debug!(why = super::policy::told(&status), "no stream of captures");
                RETRY
            }
            Ok(()) => RETRY,
        };
        tokio::time::sleep(pause).await;
    }
}

async fn session(channel: Channel, node: &str, desk: &CaptureDesk) -> Result<(), Status> {
    let mut client = CapturesClient::new(channel);
    let (reports, outgoing) = mpsc::channel(4);
    let hello = v1::CaptureHello {
        node: node.to_owned(),
        software: env!("CARGO_PKG_VERSION").to_owned(),
    };
    send(&reports, Report::Hello(hello)).await?;
    let mut told = desk.told();
    told.mark_changed();
    let response = client.follow(ReceiverStream::new(outgoing)).await?;
    let mut incoming = response.into_inner();
    // Dropped with the session, and with them the readers.
    let mut reading = JoinSet::new();
    let turns = Arc::new(Semaphore::new(READS_MAX));
    loop {
        tokio::select! {
            order = incoming.next() => match order {
                Some(order) => match order?.order {
                    Some(Order::Wanted(wanted)) => desk.want(wanted.captures),
                    Some(Order::Read(read)) => {
                        let reader = Reader {
                            request: read.request,
                            reports: reports.clone(),
                        };
                        let directory = desk.readable.clone();
                        let turn = Arc::clone(&turns).try_acquire_owned();
                        reading.spawn(async move {
                            reader.serve(directory, &read.file, turn.is_ok()).await;
                            drop(turn);
                        });
                    }
                    None => {}
                },
                None => return Ok(()),
            },
            changed = told.changed() => {
                if changed.is_err() {
                    warn!("no packets are captured any more: the thread that did has ended");
                    return std::future::pending().await;
                }
                let statuses = told.borrow_and_update().clone();
                send(&reports, Report::Statuses(statuses)).await?;
            }
            Some(_) = reading.join_next() => {}
        }
    }
}

async fn send(reports: &Reports, report: Report) -> Result<(), Status> {
    let report = CaptureReport {
        report: Some(report),
    };
    let sent = reports.send(report).await;
    sent.map_err(|_| Status::unavailable("the stream is closed"))
}

/// Sends one file.
struct Reader {
    request: u64,
    reports: Reports,
}

impl Reader {
    async fn serve(&self, directory: Option<PathBuf>, name: &str, has_turn: bool) {
        let read = match (directory, has_turn) {
            (None, _) => Err(
                "this node gives its captures to nobody (capture.fetch); read it where it is"
                    .to_owned(),
            ),
            (_, false) => {
                Err("this node reads as many files as it does at a time; try again".to_owned())
            }
            (Some(_), _) if !file_name_fits(name) => Err(format!("{name:?} is no capture's file")),
            (Some(directory), _) => self.read(directory.join(name)).await,
        };
        if let Err(error) = read {
            let _ = self.send(Vec::new(), true, error).await;
        }
    }

    async fn read(&self, path: PathBuf) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("{} cannot be read: {error}", path.display());
        let mut file = tokio::fs::File::open(&path).await.map_err(failed)?;
        // One that grows meanwhile is sent as it is now.
        let mut left = file.metadata().await.map_err(failed)?.len();
        while left > 0 {
            let length = left.min(PIECE_BYTES as u64);
            let mut piece = vec![0; length as usize];
            file.read_exact(&mut piece).await.map_err(failed)?;
            left -= length;
            self.send(piece, false, String::new()).await?;
        }
        self.send(Vec::new(), true, String::new()).await
    }

    async fn send(&self, piece: Vec<u8>, last: bool, error: String) -> Result<(), String> {
        let piece = v1::CapturePiece {
            request: self.request,
            piece,
            last,
            error,
        };
        let sent = send(&self.reports, Report::Piece(piece)).await;
        sent.map_err(|status| status.message().to_owned())
    }
}
