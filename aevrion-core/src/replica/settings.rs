//! Local settings of a node: small rows that belong to this store alone. They are no events, so they neither replicate
//! nor enter the tree.

use bytes::Bytes;

use super::handle::Replica;
use super::queue::{Request, SettingWrite};
use crate::bounds::SETTING_BYTES;
use crate::store::Table;
use crate::tables::name;
use crate::{ReadError, WriteError};

impl Replica {
    /// The value of the setting `name`.
    ///
    /// # Errors
    /// [`ReadError`] if the store cannot be read.
    pub async fn setting(&self, name: &str) -> Result<Option<Bytes>, ReadError> {
        let state = self.shared.state()?;
        let found = state.view.get(Table::Meta, name::setting(name).as_bytes()).await;
        self.noting(found.map_err(ReadError::from))
    }

    /// Remembers `value` under `name`, durably; forgets it if `None`. Events are not touched.
    ///
    /// # Errors
    /// [`WriteError::ValueTooLong`] beyond 1 MiB, and what the store reports: the old value stands then.
    pub async fn remember(&self, name: &str, value: Option<Bytes>) -> Result<(), WriteError> {
        let len = value.as_ref().map_or(0, Bytes::len);
        if len > SETTING_BYTES {
            return Err(WriteError::ValueTooLong {
                len,
                most: u32::try_from(SETTING_BYTES).unwrap_or(u32::MAX),
            });
        }
        let setting = SettingWrite { row: name::setting(name), value };
        self.queue.write(|reply| Request::WriteSetting(setting, reply)).await
    }
}
