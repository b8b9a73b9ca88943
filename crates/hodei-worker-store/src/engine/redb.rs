mod leaves;
mod overlay;

use std::{
    io::ErrorKind as Io,
    ops::{Bound, ControlFlow},
    path::Path,
};

use redb::{
    Builder, CommitError, CompactionError, Database, DatabaseError, ReadableDatabase as _, StorageError,
    TableDefinition, TableError, TransactionError,
};

use super::{Engine, Fault, Outcome, Table, Visit, Write, sync_folder};
use crate::FileSettings;

type Rows = TableDefinition<'static, &'static [u8], &'static [u8]>;

const fn definition(table: Table) -> Rows {
    TableDefinition::new(match table {
        Table::Log => "log",
        Table::State => "state",
        Table::Snapshots => "snapshots",
        Table::Over => "over",
        Table::Meta => "meta",
    })
}

/// redb. It checks all its pages by checksums of its own when that is asked for; where it may choose, it takes an older
/// root that is whole and writes over what is newer, which is what the trial and the anchor are for. A corrupt page that
/// it trusts makes it panic.
pub(crate) struct RedbEngine(Database);

impl std::fmt::Debug for RedbEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedbEngine").finish_non_exhaustive()
    }
}

impl Engine for RedbEngine {
    const KIND: &'static str = "redb";
    const ENTRY: &'static str = "store.redb";

    fn open(path: &Path, settings: &FileSettings) -> Outcome<Self> {
        let is_new = !path.exists();
        let database = Builder::new().set_cache_size(settings.cache_bytes).create(path)?;
        if is_new {
            // Its name has to survive as well.
            path.parent().map_or(Ok(()), sync_folder)?;
        }
        Ok(Self(database))
    }

    fn try_out(path: &Path, _: &Path, settings: &FileSettings) -> Outcome<Self> {
        let overlay = overlay::Overlay::of(path)?;
        let mut builder = Builder::new();
        builder.set_cache_size(settings.cache_bytes).set_check_integrity_on_open(true);
        Ok(Self(builder.create_with_backend(overlay)?))
    }

    fn get(&self, table: Table, key: &[u8]) -> Outcome<Option<Vec<u8>>> {
        let reading = self.0.begin_read()?;
        let rows = match reading.open_table(definition(table)) {
            Ok(rows) => rows,
            Err(TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        Ok(rows.get(key)?.map(|row| row.value().to_vec()))
    }

    fn at_or_before(&self, table: Table, key: &[u8]) -> Outcome<Option<(Vec<u8>, Vec<u8>)>> {
        let reading = self.0.begin_read()?;
        let rows = match reading.open_table(definition(table)) {
            Ok(rows) => rows,
            Err(TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let found = rows.range::<&[u8]>((Bound::Unbounded, Bound::Included(key)))?.next_back().transpose()?;
        Ok(found.map(|(key, row)| (key.value().to_vec(), row.value().to_vec())))
    }

    fn range(&self, table: Table, from: Bound<&[u8]>, visit: &mut Visit<'_>) -> Outcome<()> {
        let reading = self.0.begin_read()?;
        let rows = match reading.open_table(definition(table)) {
            Ok(rows) => rows,
            Err(TableError::TableDoesNotExist(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        for row in rows.range::<&[u8]>((from, Bound::Unbounded))? {
            let (key, value) = row?;
            if let ControlFlow::Break(()) = visit(key.value(), value.value()) {
                break;
            }
        }
        Ok(())
    }

    fn commit(&self, writes: &[Write]) -> Outcome<()> {
        let writing = self.0.begin_write()?;
        for its in writes.chunk_by(|one, next| one.table == next.table) {
            let Some(first) = its.first() else { continue };
            let mut rows = writing.open_table(definition(first.table))?;
            for write in its {
                match &write.row {
                    Some(row) => drop(rows.insert(write.key.as_slice(), row.as_slice())?),
                    None => drop(rows.remove(write.key.as_slice())?),
                }
            }
        }
        Ok(writing.commit()?)
    }

    fn remnants(path: &Path, visit: &mut dyn FnMut(&[u8], &[u8])) -> Outcome<()> {
        leaves::visit(path, visit)
    }

    fn shrink(&mut self) -> Outcome<()> {
        // Only when half of it is free: a compaction moves every page.
        let writing = self.0.begin_write()?;
        let stats = writing.stats()?;
        writing.abort()?;
        let used = stats.stored_bytes() + stats.metadata_bytes() + stats.fragmented_bytes();
        let allocated = stats.allocated_pages() * stats.page_size() as u64;
        if allocated > (1 << 20) && used < allocated / 2 {
            self.0.compact()?;
        }
        Ok(())
    }
}

impl From<StorageError> for Fault {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Corrupted(what) => Self::Damaged(what),
            StorageError::Io(error) if matches!(error.kind(), Io::InvalidData | Io::UnexpectedEof) => {
                Self::Damaged(error.to_string())
            }
            StorageError::Io(error) => Self::Io(error),
            other => Self::Broken(other.to_string()),
        }
    }
}
impl From<DatabaseError> for Fault {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => Self::Locked,
            DatabaseError::Storage(error) => error.into(),
            // Other formats of redb's own, and what cannot happen here.
            other => Self::Damaged(other.to_string()),
        }
    }
}
impl From<TableError> for Fault {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Storage(error) => error.into(),
            other => Self::Damaged(other.to_string()),
        }
    }
}
impl From<TransactionError> for Fault {
    fn from(error: TransactionError) -> Self {
        match error {
            TransactionError::Storage(error) => error.into(),
            other => Self::Broken(other.to_string()),
        }
    }
}
impl From<CommitError> for Fault {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Storage(error) => error.into(),
            other => Self::Broken(other.to_string()),
        }
    }
}
impl From<CompactionError> for Fault {
    fn from(error: CompactionError) -> Self {
        match error {
            CompactionError::Storage(error) => error.into(),
            other => Self::Broken(other.to_string()),
        }
    }
}
