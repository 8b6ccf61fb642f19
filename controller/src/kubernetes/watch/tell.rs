//! From what was sent about an object to what is told of it.

use postern_translator::{Change, Kind, ObjectKey};

use super::WatchEvent;
use super::batch::{Closed, Outlet};
use super::decode::{self, Item};
use super::keys::{Gone, KeySet};

/// Tells of an object that exists, if this version was not told before.
pub(super) async fn exists(
    kind: Kind,
    keys: &mut KeySet,
    item: &Item,
    outlet: &Outlet,
) -> Result<(), Closed> {
    let head = &item.head;
    if keys.is_unchanged(head) {
        return Ok(());
    }
    let key = ObjectKey::new(kind, &head.name.namespace, &head.name.name);
    match decode::object(kind, &item.raw) {
        Ok(object) => {
            if keys.readable(head) {
                tracing::info!(object = %key, "can be read again");
                outlet.event(WatchEvent::Recovered { key }).await?;
            }
            outlet.change(Change::Upsert(object)).await
        }
        Err(error) => {
            tracing::warn!(object = %key, error, "cannot be read; the last good version stays in force");
            if keys.unreadable(head).replaced {
                outlet.change(Change::Delete(key.clone())).await?;
            }
            let (uid, generation) = (head.uid.clone(), head.generation);
            outlet.event(WatchEvent::Invalid { key, uid, generation, error }).await
        }
    }
}

/// Tells of objects that are gone.
pub(super) async fn gone(
    kind: Kind,
    gone: impl IntoIterator<Item = Gone>,
    outlet: &Outlet,
) -> Result<(), Closed> {
    for Gone { name, invalid } in gone {
        let key = ObjectKey::new(kind, name.namespace, name.name);
        if invalid {
            outlet.event(WatchEvent::Recovered { key: key.clone() }).await?;
        }
        outlet.change(Change::Delete(key)).await?;
    }
    Ok(())
}
