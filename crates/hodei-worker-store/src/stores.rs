//! The stores in files, under their public names.

macro_rules! file_store {
    ($(#[$doc:meta])* $name:ident, $engine:ty) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name(crate::file::FileStore<$engine>);

        impl $name {
            /// Opens the store in that folder, and reads all of it; makes it where it is not there, unless the settings
            /// say otherwise.
            ///
            /// # Errors
            /// [`Corrupt`](hodei_worker_core::ErrorKind::Corrupt) when it does not add up, and nothing is changed then: [`verify`](Self::verify) and
            /// [`repair`](Self::repair) are the way out.
            /// [`Conflict`](hodei_worker_core::ErrorKind::Conflict) when another process has it open,
            /// [`Unsupported`](hodei_worker_core::ErrorKind::Unsupported) when a newer version wrote it,
            /// [`PermissionDenied`](hodei_worker_core::ErrorKind::PermissionDenied) for a folder that cannot be written,
            /// [`Capacity`](hodei_worker_core::ErrorKind::Capacity) when the disk is full.
            ///
            /// # Cancel safety
            /// When dropped, it is opened and closed again aside.
            pub async fn open(
                path: impl AsRef<std::path::Path>,
                settings: crate::FileSettings,
            ) -> hodei_worker_core::Result<Self> {
                crate::file::FileStore::open(path.as_ref(), settings).await.map(Self)
            }

            /// Reads all of a store that nobody has open, and says all that does not add up. Changes nothing in it;
            /// sled works on a copy among the temporary files.
            ///
            /// # Errors
            /// [`Conflict`](hodei_worker_core::ErrorKind::Conflict) when a process has it open,
            /// [`NotFound`](hodei_worker_core::ErrorKind::NotFound) when there is no such folder,
            /// [`Unsupported`](hodei_worker_core::ErrorKind::Unsupported) when a newer version wrote it.
            ///
            /// # Cancel safety
            /// When dropped, it goes on aside.
            pub async fn verify(
                path: impl AsRef<std::path::Path>,
            ) -> hodei_worker_core::Result<crate::Verification> {
                crate::file::FileStore::<$engine>::verify(path.as_ref()).await
            }

            /// Saves all that is whole of a store that nobody has open into a new store, in the folder `into`, and says
            /// what was lost. The original is not touched. The new store has the same log; where events are missing, those
            /// that follow a missing one of the same worker are lost with it, and the others come after the old log's end.
            /// Holds the store in memory.
            ///
            /// # Errors
            /// [`Corrupt`](hodei_worker_core::ErrorKind::Corrupt) when nothing of it can be read; otherwise as
            /// [`verify`](Self::verify). [`Config`](hodei_worker_core::ErrorKind::Config) when there is a store in `into`.
            ///
            /// # Cancel safety
            /// When dropped, it goes on aside.
            pub async fn repair(
                path: impl AsRef<std::path::Path>,
                into: impl AsRef<std::path::Path>,
            ) -> hodei_worker_core::Result<crate::Salvage> {
                crate::file::FileStore::<$engine>::repair(path.as_ref(), into.as_ref()).await
            }
        }

        #[async_trait::async_trait]
        impl hodei_worker_core::store::EventStore for $name {
            fn info(&self) -> &hodei_worker_core::store::StoreInfo {
                self.0.info()
            }
            async fn append(
                &self,
                batch: hodei_worker_core::store::Batch,
            ) -> hodei_worker_core::Result<hodei_worker_core::store::Appended> {
                self.0.append(batch).await
            }
            async fn read(
                &self,
                after: u64,
                limit: usize,
            ) -> hodei_worker_core::Result<hodei_worker_core::store::Page> {
                self.0.read(move |shared| shared.log(after, limit)).await
            }
            async fn read_stream(
                &self,
                worker: &hodei_worker_core::model::WorkerId,
                after: u64,
                limit: usize,
            ) -> hodei_worker_core::Result<hodei_worker_core::store::Page> {
                let worker = worker.clone();
                self.0.read(move |shared| shared.stream(&worker, after, limit)).await
            }
            async fn last_position(&self) -> hodei_worker_core::Result<u64> {
                Ok(self.0.last_position())
            }
            async fn changed(&self, after: u64) -> hodei_worker_core::Result<()> {
                self.0.changed(after).await
            }
            async fn snapshots(
                &self,
                after: Option<&hodei_worker_core::model::WorkerId>,
                limit: usize,
            ) -> hodei_worker_core::Result<Vec<hodei_worker_core::store::WorkerSnapshot>> {
                let after = after.cloned();
                self.0.read(move |shared| shared.snapshots(after.as_ref(), limit)).await
            }
            async fn compact(
                &self,
                through: u64,
            ) -> hodei_worker_core::Result<hodei_worker_core::store::Compaction> {
                self.0.compact(through).await
            }
        }

        #[async_trait::async_trait]
        impl hodei_worker_core::store::StateStore for $name {
            async fn get(
                &self,
                key: &str,
            ) -> hodei_worker_core::Result<Option<hodei_worker_core::store::StateValue>> {
                let key = key.to_owned();
                self.0.read(move |shared| shared.get(&key)).await
            }
            async fn list(
                &self,
                prefix: &str,
                after: Option<&str>,
                limit: usize,
            ) -> hodei_worker_core::Result<Vec<hodei_worker_core::store::StateEntry>> {
                let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
                self.0.read(move |shared| shared.list(&prefix, after.as_deref(), limit)).await
            }
            async fn write(&self, batch: hodei_worker_core::store::Batch) -> hodei_worker_core::Result<()> {
                if !batch.is_state_alone() {
                    return Err(hodei_worker_core::store::refusal::not_state_alone());
                }
                self.0.append(batch).await.map(drop)
            }
        }

        impl hodei_worker_core::store::Store for $name {}
    };
}

#[cfg(feature = "redb")]
file_store! {
    /// A store in a folder, on [redb](https://docs.rs/redb): the default of one host. Dropping it waits
    /// for what is being written.
    ///
    /// # Examples
    /// ```
    /// use hodei_worker_core::store::{Batch, EventStore as _};
    /// use hodei_worker_store::{FileSettings, RedbStore};
    /// # tokio::runtime::Builder::new_multi_thread().build()?.block_on(async {
    /// # let folder = std::env::temp_dir().join(format!("hodei-doc-{}", std::process::id()));
    /// let store = RedbStore::open(&folder, FileSettings::default()).await?;
    /// store.append(Batch::new().append("build-1".parse()?, 0, ["created".into()])).await?;
    /// drop(store);
    /// // It is there when the next host opens it.
    /// let store = RedbStore::open(&folder, FileSettings::default()).await?;
    /// assert_eq!(store.last_position().await?, 1);
    /// # drop(store);
    /// # std::fs::remove_dir_all(&folder).ok();
    /// # Ok::<(), hodei_worker_core::Error>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    RedbStore, crate::engine::redb::RedbEngine
}

#[cfg(feature = "sled")]
file_store! {
    /// A store in a folder, on [sled](https://docs.rs/sled/0.34.7), made safe: its files are synced after each commit, what
    /// it holds is counted, and a store is tried on a copy before it is opened, which needs as much room for a moment.
    ///
    /// # Examples
    /// ```
    /// use hodei_worker_core::store::{Batch, Expected, StateStore as _};
    /// use hodei_worker_store::{FileSettings, SledStore};
    /// # tokio::runtime::Builder::new_multi_thread().build()?.block_on(async {
    /// # let folder = std::env::temp_dir().join(format!("hodei-doc-sled-{}", std::process::id()));
    /// let store = SledStore::open(&folder, FileSettings::default()).await?;
    /// store.write(Batch::new().put("configs/build-1", Expected::Absent, "…")).await?;
    /// # drop(store);
    /// # std::fs::remove_dir_all(&folder).ok();
    /// # Ok::<(), hodei_worker_core::Error>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    SledStore, crate::engine::sled::SledEngine
}
