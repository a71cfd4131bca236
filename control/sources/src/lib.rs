//! Where workloads and allowlists come from, and where accepted ones are written.
//!
//! A source has a [`State`]: the documents of the last good reading, and the problems of the newest
//! one. [`FilesSource`] is a directory of YAML files, watched; [`load`] reads a directory once.
//! [`Plan`] says what writing documents into a directory would come to, and does it.

mod error;
mod files;
mod news;
mod plan;
mod scan;
mod watch;
mod write;

use std::sync::Arc;

use weir_model::{Document, Located, Problem};

pub use error::{SourceError, WriteError};
pub use files::FilesSource;
pub use news::{Change, DocumentKey, News, Programmed, Standing};
pub use plan::{Plan, PolicyFile};
pub use scan::{DEPTH_MAX, FILES_MAX, TOTAL_BYTES_MAX, load};

/// What a source has.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// All documents of the last reading in which everything was good: never a part of them. None
    /// before the first, which is not the same as an empty set: no documents would govern nobody.
    pub documents: Option<Arc<[Located<Document>]>>,
    /// Why the newest reading is not used. Empty when `documents` are the newest.
    pub problems: Vec<Problem>,
}
