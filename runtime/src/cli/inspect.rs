//! `tidegate inspect`: what a checkpoint storage, or a savepoint, has.

use std::{path::Path, sync::Arc};

use tidegate_crds::{StorageSpec, StreamJob};

use super::{arguments::InspectArguments, query::answer, stdout::print};
use crate::{
    checkpoint::{
        claim::read_newest,
        committed::Committed,
        log::Ending,
        manifest::{Manifest, OperatorState, SubtaskState, bytes_of},
        origin::{Origin, OriginError},
        record::Owner,
        savepoint,
        store::{self, Store, open_at},
        verify::{Verification, verify, verify_one},
    },
    error_chain,
    inspect::tables,
};

pub(super) async fn inspect(arguments: &InspectArguments) -> Result<(), String> {
    let store = open(&arguments.storage).await?;
    if let Some(savepoint) = Origin::savepoint(&store).await.map_err(|error| error_chain(&error))? {
        return match &arguments.sql {
            Some(sql) => answer(sql, savepoint.store, savepoint.manifest, arguments).await,
            None => inspect_savepoint(&savepoint, arguments.verify).await,
        };
    }
    let newest = read_newest(store.as_ref()).await.map_err(|error| error_chain(&error))?;
    let Some(log) = newest else {
        return Err(OriginError::Nothing { location: store.location() }.to_string());
    };
    if let Some(sql) = &arguments.sql {
        let location = store.location();
        let checkpoint =
            log.checkpoint.ok_or_else(|| format!("{location} has no checkpoint yet that could be asked"))?;
        let manifest = Manifest::read(store.as_ref(), &checkpoint).await.map_err(|error| error_chain(&error))?;
        return answer(sql, store, manifest, arguments).await;
    }
    let ending = match log.ending {
        None => "open: running, or its process died",
        Some(Ending::Deleted) => "deleted: the job was cancelled, and a start begins it anew",
        Some(Ending::Released { finished: true }) => "finished",
        Some(Ending::Released { finished: false }) => "stopped",
        Some(Ending::Sealed) => "ended by a successor that has not started",
    };
    let Owner { pod, address, .. } = &log.owner;
    print(&[
        format!("storage     {}", store.location()),
        format!("lineage     {}", log.lineage),
        format!("attempt     {} (revision {}), by {pod} at {address}", log.attempt, log.revision),
        format!("ending      {ending}"),
        format!("committed   {}", about_committed(&log.committed)),
    ])?;
    if let Some(checkpoint) = &log.checkpoint {
        let manifest = Manifest::read(store.as_ref(), checkpoint).await.map_err(|error| error_chain(&error))?;
        print(&about_manifest(&manifest, &log.committed))?;
    } else {
        print(&["checkpoint  none".to_owned()])?;
    }
    let savepoints = store.list_folders("savepoints/").await.map_err(|error| error_chain(&error))?;
    let path = |name: &String| format!("{}/{}", store.location(), savepoint::folder(name).trim_end_matches('/'));
    print(&savepoints.iter().map(|name| format!("savepoint   {}", path(name))).collect::<Vec<_>>())?;
    if arguments.verify && log.checkpoint.is_some() {
        print_verification(&verify(&store).await.map_err(|error| error_chain(&error))?)
    } else {
        Ok(())
    }
}

async fn inspect_savepoint(savepoint: &Origin, verify: bool) -> Result<(), String> {
    let Origin { store, manifest, .. } = savepoint;
    print(&[
        format!("savepoint   {}", store.location()),
        format!("job         {}, lineage {}", manifest.job, manifest.lineage),
    ])?;
    print(&about_manifest(manifest, &Committed::default()))?;
    if !verify {
        return Ok(());
    }
    print_verification(&verify_one(store, manifest).await.map_err(|error| error_chain(&error))?)
}

fn print_verification(found: &Verification) -> Result<(), String> {
    let epochs = found.whole.iter().map(ToString::to_string).collect::<Vec<_>>();
    let mut lines = vec![
        format!("\nread        {} files, {} bytes", found.files, found.bytes),
        format!("whole       {}", if epochs.is_empty() { "none".to_owned() } else { epochs.join(", ") }),
    ];
    for (epoch, missing) in &found.partial {
        lines.push(format!(
            "partial     {epoch}: {missing} files are gone, by being collected; nothing goes on from it"
        ));
    }
    let (count, bytes) = (found.garbage.len(), found.garbage.iter().map(|object| object.bytes).sum::<u64>());
    lines.push(format!("garbage     {count} files, {bytes} bytes: the next start of the job deletes them"));
    lines.extend(found.garbage.iter().map(|object| format!("  {}", object.path)));
    print(&lines)?;
    if found.damage.is_empty() {
        return Ok(());
    }
    let damage: Vec<String> = found.damage.iter().map(|damage| format!("\n  {damage}")).collect();
    Err(format!("the checkpoint storage is damaged:{}", damage.concat()))
}

fn about_committed(committed: &Committed) -> String {
    let all = committed.all.map_or("none by this attempt".to_owned(), |epoch| epoch.to_string());
    let sinks = committed.sinks.iter().map(|(sink, epoch)| format!(", `{sink}` {epoch}"));
    std::iter::once(all).chain(sinks).collect()
}

fn about_manifest(manifest: &Manifest, committed: &Committed) -> Vec<String> {
    let mut lines = vec![format!("checkpoint  {} ({:?}), {}", manifest.epoch, manifest.trigger, manifest.path())];
    lines.extend(manifest.beginning.iter().map(|beginning| format!("copy of     {}", beginning.from)));
    lines.push(format!(
        "\n{:<48} {:<15} {:>8} {:>6} {:>12} {:>14}",
        "operator", "kind", "subtasks", "parts", "rows", "bytes"
    ));
    lines.extend(manifest.operators.iter().flat_map(about_operator));
    let waits = manifest.chunks.iter().filter(|chunk| !committed.has(&chunk.id));
    let waits: Vec<String> = waits.map(|chunk| format!("  {} {} rows, {}", chunk.id, chunk.rows, chunk.file)).collect();
    if !waits.is_empty() {
        lines.push("\nwaits to be published (or is, and nobody has noted it)".to_owned());
        lines.extend(waits);
    }
    lines.push("\ntables for --sql".to_owned());
    lines.extend(tables(manifest).iter().map(|table| format!("  {:<46} {}", table.name, table.about)));
    lines
}

fn about_operator(operator: &OperatorState) -> Vec<String> {
    let parts = operator.subtasks.iter().flat_map(|subtask| &subtask.parts);
    let (count, rows) = parts.fold((0, 0), |(count, rows), part| (count + 1, rows + part.rows));
    let files = operator.subtasks.iter().flat_map(SubtaskState::files);
    let (kind, bytes) = (format!("{:?}", operator.kind), bytes_of(files));
    let subtasks = operator.subtasks.len();
    let mut lines = vec![format!("{:<48} {kind:<15} {subtasks:>8} {count:>6} {rows:>12} {bytes:>14}", operator.id.0)];
    for (index, subtask) in operator.subtasks.iter().enumerate().filter(|(_, subtask)| !subtask.table.is_empty()) {
        let bytes = subtask.table.iter().flat_map(|file| &file.pieces).map(|piece| piece.bytes).sum::<u64>();
        lines.push(format!("  subtask {index}: a table of {} files, {bytes} bytes", subtask.table.len()));
    }
    for split in operator.subtasks.iter().filter_map(|subtask| subtask.value.get("splits")?.as_array()).flatten() {
        let field = |name: &str| split.get(name).map_or("-".to_owned(), ToString::to_string);
        lines.push(format!("  {:<46} next {}, end {}", field("split"), field("next"), field("end")));
    }
    lines
}

/// The store of an address: a folder, a bucket's, or where a document says.
async fn open(storage: &str) -> Result<Arc<dyn Store>, String> {
    let path = Path::new(storage);
    if path.is_file() && path.file_name().is_none_or(|name| name != savepoint::FILE) {
        let text = std::fs::read_to_string(path).map_err(|error| format!("failed to read {storage}: {error}"))?;
        let job = StreamJob::from_yaml(&text).map_err(|error| format!("{storage}: {error}"))?;
        return store::open(&job.spec.checkpoint.storage, &job.id()).await.map_err(|error| error_chain(&error));
    }
    let folder = storage.strip_suffix(savepoint::FILE).unwrap_or(storage);
    open_at(folder, &StorageSpec::default()).await.map_err(|error| error_chain(&error))
}
