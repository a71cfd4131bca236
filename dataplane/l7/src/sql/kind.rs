//! The kinds of statements.

/// The kind of a statement: an index into [`KINDS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kind(u8);

/// Names of kinds. The first two are not words of SQL. Below 128 entries, see [`Kind::index`].
pub(super) const KINDS: &[&str] = &[
    "OTHER",
    "EMPTY",
    "ABORT",
    "ALTER",
    "ANALYZE",
    "BACKUP",
    "BEGIN",
    "BINLOG",
    "BULK",
    "CACHE",
    "CALL",
    "CHANGE",
    "CHECK",
    "CHECKPOINT",
    "CHECKSUM",
    "CLONE",
    "CLOSE",
    "CLUSTER",
    "COMMENT",
    "COMMIT",
    "COPY",
    "CREATE",
    "DBCC",
    "DEALLOCATE",
    "DECLARE",
    "DELETE",
    "DENY",
    "DISCARD",
    "DO",
    "DROP",
    "END",
    "EXECUTE",
    "EXPLAIN",
    "FETCH",
    "FLUSH",
    "GET",
    "GRANT",
    "HANDLER",
    "HELP",
    "IMPORT",
    "INSERT",
    "INSTALL",
    "KILL",
    "LISTEN",
    "LOAD",
    "LOCK",
    "MERGE",
    "MOVE",
    "NOTIFY",
    "OPTIMIZE",
    "PREPARE",
    "PURGE",
    "REASSIGN",
    "RECONFIGURE",
    "REFRESH",
    "REINDEX",
    "RELEASE",
    "RENAME",
    "REPAIR",
    "REPLACE",
    "RESET",
    "RESIGNAL",
    "RESTART",
    "RESTORE",
    "REVOKE",
    "ROLLBACK",
    "SAVEPOINT",
    "SECURITY",
    "SELECT",
    "SET",
    "SHOW",
    "SHUTDOWN",
    "SIGNAL",
    "START",
    "STOP",
    "TABLE",
    "TRUNCATE",
    "UNINSTALL",
    "UNLISTEN",
    "UNLOCK",
    "UPDATE",
    "USE",
    "VACUUM",
    "VALUES",
    "WITH",
    "XA",
];

impl Kind {
    /// Nothing known about the statement.
    pub(crate) const OTHER: Self = Self(0);
    /// A text without any statement.
    pub(crate) const EMPTY: Self = Self(1);

    /// The name, as conditions spell it.
    pub(crate) fn name(self) -> &'static str {
        KINDS.get(usize::from(self.0)).copied().unwrap_or("OTHER")
    }

    /// A number below 128.
    pub(crate) fn index(self) -> u8 {
        self.0
    }

    /// The kind that a statement's first word (upper case) gives.
    pub(crate) fn of_word(word: &[u8]) -> Option<Self> {
        let word = match word {
            b"DESCRIBE" | b"DESC" => b"EXPLAIN",
            b"EXEC" => b"EXECUTE",
            word => word,
        };
        let place = KINDS[2..]
            .binary_search_by(|name| name.as_bytes().cmp(word))
            .ok()?;
        u8::try_from(place + 2).ok().map(Self)
    }
}
