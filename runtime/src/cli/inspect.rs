//! `tidegate inspect`: what a checkpoint storage has.

use std::{path::Path, sync::Arc};

use tidegate_crds::{HdfsStorage, LocalStorage, S3Storage, StorageSpec, StreamJob};

use super::arguments::InspectArguments;
use crate::{
    checkpoint::{
        claim::read_newest,
        log::Ending,
        manifest::Manifest,
        store::{self, Store},
        verify::{Verification, verify},
    },
    error_chain,
};

pub(super) async fn inspect(arguments: &InspectArguments) -> Result<(), String> {
    let store = open(&arguments.storage).await?;
    let newest = read_newest(store.as_ref()).await.map_err(|error| error_chain(&error))?;
    let Some(log) = newest else {
        return Err(format!("{}: no job was ever run here", store.location()));
    };
    println!("storage     {}", store.location());
    println!("lineage     {}", log.lineage);
    println!("attempt     {} (revision {}), by {} at {}", log.attempt, log.revision, log.owner.pod, log.owner.address);
    let ending = match log.ending {
        None => "open: running, or its process died",
        Some(Ending::Released { finished: true }) => "finished",
        Some(Ending::Released { finished: false }) => "stopped",
        Some(Ending::Sealed) => "ended by a successor that has not started",
    };
    println!("ending      {ending}");
    let committed = log.committed.map_or("none by this attempt".to_owned(), |epoch| epoch.to_string());
    println!("committed   {committed}");
    let Some(checkpoint) = log.checkpoint else {
        println!("checkpoint  none");
        return Ok(());
    };
    let manifest = Manifest::read(store.as_ref(), &checkpoint).await.map_err(|error| error_chain(&error))?;
    print_manifest(&manifest, log.committed);
    if arguments.verify {
        print_verification(&verify(&store).await.map_err(|error| error_chain(&error))?)
    } else {
        Ok(())
    }
}

fn print_verification(found: &Verification) -> Result<(), String> {
    let epochs = found.whole.iter().map(ToString::to_string).collect::<Vec<_>>();
    println!("\nread        {} files, {} bytes", found.files, found.bytes);
    println!("whole       {}", if epochs.is_empty() { "none".to_owned() } else { epochs.join(", ") });
    for (epoch, missing) in &found.partial {
        println!("partial     {epoch}: {missing} files are gone, by being collected; nothing goes on from it");
    }
    let bytes: u64 = found.garbage.iter().map(|object| object.bytes).sum();
    println!("garbage     {} files, {bytes} bytes: the next start of the job deletes them", found.garbage.len());
    for object in &found.garbage {
        println!("  {}", object.path);
    }
    if found.damage.is_empty() {
        return Ok(());
    }
    let damage: Vec<String> = found.damage.iter().map(|damage| format!("\n  {damage}")).collect();
    Err(format!("the checkpoint storage is damaged:{}", damage.concat()))
}

fn print_manifest(manifest: &Manifest, committed: Option<crate::ids::Epoch>) {
    println!("checkpoint  {} ({:?}), {}", manifest.epoch, manifest.trigger, manifest.path());
    println!("\n{:<48} {:>8} {:>6} {:>12}", "operator", "subtasks", "parts", "rows");
    for operator in &manifest.operators {
        let parts = operator.subtasks.iter().flat_map(|subtask| &subtask.parts);
        let (count, rows) = parts.fold((0, 0), |(count, rows), part| (count + 1, rows + part.rows));
        println!("{:<48} {:>8} {count:>6} {rows:>12}", operator.id.0, operator.subtasks.len());
        for split in operator.subtasks.iter().filter_map(|subtask| subtask.value.get("splits")?.as_array()).flatten() {
            let field = |name: &str| split.get(name).map_or("-".to_owned(), ToString::to_string);
            println!("  {:<46} next {}, end {}", field("split"), field("next"), field("end"));
        }
    }
    let pending = manifest.chunks.iter().filter(|chunk| Some(chunk.id.epoch) > committed);
    let mut pending = pending.peekable();
    if pending.peek().is_some() {
        println!("\nwaits to be published (or is, and nobody has noted it)");
        for chunk in pending {
            println!("  {} {} rows, {}", chunk.id, chunk.rows, chunk.file.path);
        }
    }
}

async fn open(storage: &str) -> Result<Arc<dyn Store>, String> {
    let spec = |storage: &str| -> Result<(StorageSpec, String), String> {
        if let Some(address) = storage.strip_prefix("s3://") {
            let (bucket, path) = address.trim_end_matches('/').split_once('/').unwrap_or((address, ""));
            let (prefix, job) = path.rsplit_once('/').unwrap_or(("", path));
            let s3 = S3Storage {
                bucket: bucket.to_owned(),
                prefix: prefix.to_owned(),
                endpoint: std::env::var("AWS_ENDPOINT_URL").ok(),
                region: None,
                path_style: None,
                access_key_id: None,
                secret_access_key: None,
            };
            return Ok((StorageSpec { s3: Some(s3), ..StorageSpec::default() }, job.to_owned()));
        }
        if storage.starts_with("hdfs://") {
            let (url, job) = storage.trim_end_matches('/').rsplit_once('/').unwrap_or((storage, ""));
            let hdfs = HdfsStorage { url: url.to_owned(), ..HdfsStorage::default() };
            return Ok((StorageSpec { hdfs: Some(hdfs), ..StorageSpec::default() }, job.to_owned()));
        }
        let path = Path::new(storage);
        if path.is_file() {
            let text = std::fs::read_to_string(path).map_err(|error| format!("failed to read {storage}: {error}"))?;
            let job = StreamJob::from_yaml(&text).map_err(|error| format!("{storage}: {error}"))?;
            let id = job.id();
            return Ok((job.spec.checkpoint.storage, id));
        }
        let (Some(parent), Some(job)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
            return Err(format!("{storage} is no folder of a job"));
        };
        if !path.is_dir() {
            return Err(format!("there is no folder {storage}"));
        }
        let local = LocalStorage { path: parent.to_string_lossy().into_owned() };
        Ok((StorageSpec { local: Some(local), ..StorageSpec::default() }, job.to_owned()))
    };
    let (spec, job) = spec(storage)?;
    store::open(&spec, &job).await.map_err(|error| error_chain(&error))
}
