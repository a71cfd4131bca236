//! What survives a restart: a version that none was given out above, the documents in force, the
//! numbers that identities were given, learned conversations and what was said of proposals. One redb
//! file, written in transactions: a crash or a full disk leaves the last complete state.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::Mutex;

use prost::Message;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use weir_api::v1;
use weir_compile::Key;
use weir_learn::{ConversationKey, Decision, Renames, Verdict};
use weir_model::{Document, Located, parse_documents, to_yaml};

const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
const CONVERSATIONS: TableDefinition<&str, &[u8]> = TableDefinition::new("conversations");
/// Proposal id to what was said of it.
const DECISIONS: TableDefinition<&str, &[u8]> = TableDefinition::new("decisions");
/// Proposal id to what it is about: what earlier versions took for accepted.
const ACCEPTED: TableDefinition<&str, &[u8]> = TableDefinition::new("accepted");
/// A workload's former name to the one it has now.
const RENAMES: TableDefinition<&str, &[u8]> = TableDefinition::new("renames");
/// Documents in force, by kind, namespace and name.
const DOCUMENTS: TableDefinition<&str, &[u8]> = TableDefinition::new("documents");

const VERSION: &str = "version";
/// What earlier versions of this software kept instead of the two above.
const SNAPSHOT: &str = "snapshot";
const ASSIGNMENTS: &str = "assignments";

/// The embedded store.
#[derive(Debug)]
pub struct Store {
    /// None after it failed: the library refuses everything from then on, until it is opened again.
    database: Mutex<Option<Database>>,
    path: PathBuf,
}

/// A document, and where it was read.
#[derive(Serialize, Deserialize)]
struct Row {
    file: String,
    line: u32,
    text: String,
}

/// The store cannot be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it.
    #[error(
        "the store {path} is in use by another process; stop the other controller or choose another --state directory"
    )]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be opened.
    #[error(
        "cannot open the store {path}: {why}; check the permissions and the disk's space, or move the file away to start with nothing learned"
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// The cause.
        why: String,
    },
    /// Reading or writing failed.
    #[error("the store {path} failed: {why}; check the disk's space and health")]
    Access {
        /// The file.
        path: PathBuf,
        /// The cause.
        why: String,
    },
}

impl Store {
    /// Opens the store in this directory, or makes a new one.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let path = directory.join("controller.redb");
        std::fs::create_dir_all(directory).map_err(|error| StoreError::Open {
            path: path.clone(),
            why: error.to_string(),
        })?;
        let database = Mutex::new(Some(open(&path)?));
        let store = Self { database, path };
        store.access(|database| {
            let transaction = database.begin_write()?;
            transaction.open_table(META)?;
            transaction.open_table(DOCUMENTS)?;
            transaction.open_table(CONVERSATIONS)?;
            transaction.open_table(DECISIONS)?;
            transaction.open_table(ACCEPTED)?;
            transaction.open_table(RENAMES)?;
            Ok(transaction.commit()?)
        })?;
        Ok(store)
    }

    /// Its size on disk.
    pub fn bytes(&self) -> Option<u64> {
        Some(std::fs::metadata(&self.path).ok()?.len())
    }

    /// A version that none was given out above; 0 before the first.
    pub fn version(&self) -> Result<u64, StoreError> {
        if let Some(bytes) = self.meta(VERSION)? {
            let bytes = <[u8; 8]>::try_from(bytes.as_slice());
            return bytes
                .map(u64::from_le_bytes)
                .map_err(|_| self.failed("the version is damaged".to_owned()));
        }
        let Some(bytes) = self.meta(SNAPSHOT)? else {
            return Ok(0);
        };
        let snapshot = v1::Snapshot::decode(bytes.as_slice());
        let snapshot = snapshot.map_err(|error| self.failed(error.to_string()))?;
        Ok(snapshot.version)
    }

    /// The documents that were in force last. One that cannot be read any more is left out.
    pub fn documents(&self) -> Result<Vec<Located<Document>>, StoreError> {
        let rows: Vec<Row> = self.values(DOCUMENTS)?;
        let documents = rows.into_iter().flat_map(|row| {
            let (documents, _) = parse_documents(&row.file, &row.text);
            documents.into_iter().map(move |mut document| {
                document.line = row.line;
                document
            })
        });
        Ok(documents.collect())
    }

    /// The numbers that identities were given.
    pub fn assignments<T: DeserializeOwned>(&self) -> Result<Option<T>, StoreError> {
        let Some(bytes) = self.meta(ASSIGNMENTS)? else {
            return Ok(None);
        };
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| self.failed(error.to_string()))
    }

    /// Remembers what is about to be published: that no version up to this one is given out again,
    /// the documents that changed, and the numbers of identities where they did.
    pub fn publish<T: Serialize>(
        &self,
        version: u64,
        documents: &BTreeMap<Key, Option<Arc<Located<Document>>>>,
        assignments: Option<&T>,
    ) -> Result<(), StoreError> {
        let unfit = |error: serde_json::Error| self.failed(error.to_string());
        let assignments = assignments.map(serde_json::to_vec).transpose();
        let assignments = assignments.map_err(unfit)?;
        let mut rows = Vec::with_capacity(documents.len());
        for (key, document) in documents {
            let name = format!("{} {}/{}", key.kind.name(), key.namespace, key.name);
            let row = document.as_ref().map(|document| {
                serde_json::to_vec(&Row {
                    file: document.file.clone(),
                    line: document.line,
                    text: to_yaml(&document.value),
                })
            });
            rows.push((name, row.transpose().map_err(unfit)?));
        }
        self.access(|database| {
            let transaction = database.begin_write()?;
            {
                let mut meta = transaction.open_table(META)?;
                meta.insert(VERSION, version.to_le_bytes().as_slice())?;
                if let Some(assignments) = &assignments {
                    meta.insert(ASSIGNMENTS, assignments.as_slice())?;
                }
                let mut table = transaction.open_table(DOCUMENTS)?;
                for (name, row) in &rows {
                    match row {
                        Some(row) => table.insert(name.as_str(), row.as_slice())?,
                        None => table.remove(name.as_str())?,
                    };
                }
            }
            Ok(transaction.commit()?)
        })
    }

    /// Everything learned, one value per conversation.
    pub fn conversations<T: DeserializeOwned>(&self) -> Result<Vec<T>, StoreError> {
        self.values(CONVERSATIONS)
    }

    /// Writes these conversations, all or none, and forgets those.
    pub fn write_conversations(
        &self,
        rows: &[(String, Vec<u8>)],
        forgotten: &[String],
    ) -> Result<(), StoreError> {
        self.access(|database| {
            let transaction = database.begin_write()?;
            {
                let mut table = transaction.open_table(CONVERSATIONS)?;
                for key in forgotten {
                    table.remove(key.as_str())?;
                }
                for (key, value) in rows {
                    table.insert(key.as_str(), value.as_slice())?;
                }
            }
            Ok(transaction.commit()?)
        })
    }

    /// What was said of proposals, in the order of their ids.
    pub fn decisions(&self) -> Result<Vec<Decision>, StoreError> {
        let mut decisions: Vec<Decision> = self.values(DECISIONS)?;
        let before: Vec<ConversationKey> = self.values(ACCEPTED)?;
        let known: HashSet<ConversationKey> = decisions
            .iter()
            .map(|decision| decision.key.clone())
            .collect();
        let accepted = |key| Decision {
            at_us: 0,
            verdict: Verdict::Accepted,
            key,
            reason: String::new(),
            basis: BTreeSet::new(),
        };
        let before = before.into_iter().filter(|key| !known.contains(key));
        decisions.extend(before.map(accepted));
        decisions.sort_by_key(|decision| decision.key.id());
        Ok(decisions)
    }

    /// Remembers decisions and forgets those on other keys, all or none.
    pub fn decide(
        &self,
        decisions: &[Decision],
        forgotten: &[ConversationKey],
    ) -> Result<(), StoreError> {
        let row = |decision: &Decision| {
            serde_json::to_vec(decision).map(|value| (decision.key.id(), value))
        };
        let rows: Result<Vec<_>, _> = decisions.iter().map(row).collect();
        let rows = rows.map_err(|error| self.failed(error.to_string()))?;
        self.access(|database| {
            let transaction = database.begin_write()?;
            {
                let mut table = transaction.open_table(DECISIONS)?;
                let mut before = transaction.open_table(ACCEPTED)?;
                for id in forgotten.iter().map(ConversationKey::id) {
                    table.remove(id.as_str())?;
                    before.remove(id.as_str())?;
                }
                for (id, value) in &rows {
                    table.insert(id.as_str(), value.as_slice())?;
                }
            }
            Ok(transaction.commit()?)
        })
    }

    /// Which workloads go on under another name.
    pub fn renames(&self) -> Result<Renames, StoreError> {
        let rows: Vec<(String, String, u64)> = self.values(RENAMES)?;
        let mut renames = Renames::default();
        for (old, new, at_us) in &rows {
            renames.add(old, new, *at_us);
        }
        Ok(renames)
    }

    /// Remembers that one workload goes on as another, and forgets those.
    pub fn rename(
        &self,
        renames: &[(String, String, u64)],
        forgotten: &[String],
    ) -> Result<(), StoreError> {
        let row = |rename: &(String, String, u64)| {
            serde_json::to_vec(rename).map(|value| (rename.0.clone(), value))
        };
        let rows: Result<Vec<_>, _> = renames.iter().map(row).collect();
        let rows = rows.map_err(|error| self.failed(error.to_string()))?;
        self.access(|database| {
            let transaction = database.begin_write()?;
            {
                let mut table = transaction.open_table(RENAMES)?;
                for old in forgotten {
                    table.remove(old.as_str())?;
                }
                for (old, value) in &rows {
                    table.insert(old.as_str(), value.as_slice())?;
                }
            }
            Ok(transaction.commit()?)
        })
    }

    fn values<T: DeserializeOwned>(
        &self,
        table: TableDefinition<&str, &[u8]>,
    ) -> Result<Vec<T>, StoreError> {
        let values = self.access(|database| {
            let table = database.begin_read()?.open_table(table)?;
            let mut values = Vec::new();
            for row in table.iter()? {
                values.push(serde_json::from_slice(row?.1.value()));
            }
            Ok(values)
        })?;
        values
            .into_iter()
            .collect::<Result<_, _>>()
            .map_err(|error| self.failed(error.to_string()))
    }

    fn meta(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.access(|database| {
            let table = database.begin_read()?.open_table(META)?;
            Ok(table.get(key)?.map(|value| value.value().to_vec()))
        })
    }

    fn access<T>(
        &self,
        body: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let mut slot = crate::lock(&self.database);
        let database = match slot.take() {
            Some(database) => database,
            None => open(&self.path)?,
        };
        let outcome = body(&database);
        if !matches!(outcome, Err(redb::Error::Io(_) | redb::Error::PreviousIo)) {
            *slot = Some(database);
        }
        outcome.map_err(|error| self.failed(error.to_string()))
    }

    fn failed(&self, why: String) -> StoreError {
        StoreError::Access {
            path: self.path.clone(),
            why,
        }
    }
}

fn open(path: &Path) -> Result<Database, StoreError> {
    Database::create(path).map_err(|error| match error {
        redb::DatabaseError::DatabaseAlreadyOpen => StoreError::InUse {
            path: path.to_owned(),
        },
        error => StoreError::Open {
            path: path.to_owned(),
            why: error.to_string(),
        },
    })
}
