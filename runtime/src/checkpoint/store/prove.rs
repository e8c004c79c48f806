//! Proof that a store keeps its promises, asked for once, at a job's first start.

use bytes::Bytes;
use futures::future::join_all;

use super::{Create, ObjectPath, Store, StoreError};
use crate::env;

/// Folder of what is written to prove the store.
pub const PROOF: &str = "proof/";
const FIRST: &[u8] = b"first";
const SECOND: &[u8] = b"second";
const RACERS: usize = 8;

/// Checks with a few small objects below `proof/` that a second create of a path fails, that of eight creates at once
/// one wins, and that what was written can be read, listed and deleted. A store that does not is [`StoreError::Refused`].
pub async fn prove(store: &dyn Store) -> Result<(), StoreError> {
    let folder = format!("{PROOF}{}/", env::unique_id());
    let verdict = examine(store, &folder).await;
    let cleaned = clean(store, &folder).await;
    verdict.and(cleaned)
}

async fn examine(store: &dyn Store, folder: &str) -> Result<(), StoreError> {
    let once = ObjectPath(format!("{folder}once"));
    // `Exists` here is our own first try, whose answer was lost: the bytes tell.
    store.create(&once, Bytes::from_static(FIRST)).await?;
    expect_bytes(store, &once, FIRST, "an object just created could not be read back").await?;
    if store.create(&once, Bytes::from_static(SECOND)).await? == Create::Created {
        return Err(ignores_conditions(store, "a second conditional create of the same object succeeded"));
    }
    let message = "a second conditional create was answered with a conflict, and replaced the object all the same";
    expect_bytes(store, &once, FIRST, message).await?;

    let race = ObjectPath(format!("{folder}race"));
    let bodies: Vec<Bytes> = (0..RACERS).map(|racer| Bytes::from(format!("racer {racer}"))).collect();
    let answers = join_all(bodies.iter().map(|body| store.create(&race, body.clone()))).await;
    let left = store.get(&race).await?;
    for (answer, body) in answers.into_iter().zip(&bodies) {
        if answer? == Create::Created && left.as_ref() != Some(body) {
            return Err(ignores_conditions(store, "two of eight conditional creates at the same time succeeded"));
        }
    }

    let listed: Vec<ObjectPath> = store.list(folder, None).await?.into_iter().map(|listed| listed.path).collect();
    if listed != [once.clone(), race] {
        return Err(refused(store, format!("objects just created are not all listed: found {listed:?} in `{folder}`")));
    }
    store.delete(&once).await?;
    if store.get(&once).await?.is_some() {
        return Err(refused(store, format!("`{once}` was deleted and is still there")));
    }
    Ok(())
}

async fn expect_bytes(store: &dyn Store, path: &ObjectPath, bytes: &[u8], otherwise: &str) -> Result<(), StoreError> {
    match store.get(path).await? {
        Some(found) if found == bytes => Ok(()),
        _ => Err(ignores_conditions(store, otherwise)),
    }
}

async fn clean(store: &dyn Store, folder: &str) -> Result<(), StoreError> {
    for listed in store.list(folder, None).await? {
        store.delete(&listed.path).await?;
    }
    Ok(())
}

fn ignores_conditions(store: &dyn Store, found: &str) -> StoreError {
    refused(
        store,
        format!(
            "{found}. Exactly-once rests on it: use a store that honours `If-None-Match: *` on PUT (AWS S3, MinIO, Ceph, \
             versitygw and others do; Garage does not)"
        ),
    )
}

fn refused(store: &dyn Store, message: String) -> StoreError {
    StoreError::Refused { location: store.location(), message }
}
