//! Stores that earlier builds left are gone on with, to exact rows. See `tests/stores/README.md`.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use tempfile::TempDir;
use tidegate_crds::StreamJob;
use tidegate_tests::{
    job::{End, Job},
    local::lines,
    oracle::{Rows, assert_same},
    world::PATIENCE,
};

/// The newest format of manifests.
const NEWEST: u32 = 5;

fn stores() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("stores")
}

/// The job, as it was: in a folder that has its own.
fn job(folder: &Path) -> Job {
    Job::of(stores().join("job.yaml"))
        .within(folder)
        .set("spec.sources[0].generator.rate", "null")
        .env("TIDEGATE_LOCAL_FOLDER", folder.join("local").display())
}

/// The job's SQL with `from` written as `to`.
fn sql(from: &str, to: &str) -> String {
    let text = std::fs::read_to_string(stores().join("job.yaml")).unwrap();
    let sql = StreamJob::from_yaml(&text).unwrap().spec.sql;
    assert_eq!(sql.matches(from).count(), 1, "{from}");
    serde_json::to_string(&sql.replace(from, to)).unwrap()
}

/// The SQL with one more aggregate, `more`.
fn with_more(aggregate: &str) -> String {
    sql("AS ids", &format!("AS ids, {aggregate} AS more"))
}

fn output(folder: &TempDir) -> Rows {
    lines(&folder.path().join("output"))
}

/// What a run puts out that begins anew.
fn expected() -> Rows {
    let folder = tempfile::tempdir().unwrap();
    job(folder.path()).finish(PATIENCE);
    let expected = output(&folder);
    assert_eq!(expected.len(), 610, "600 orders, and sums of five stores on two days");
    expected
}

/// A store that a build has left.
struct Archive {
    path: PathBuf,
    name: String,
    format: u32,
}

impl Archive {
    /// Those of every format.
    fn all() -> Vec<Self> {
        let mut paths: Vec<PathBuf> = std::fs::read_dir(stores()).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "gz"));
        paths.sort();
        let all: Vec<Self> = paths.into_iter().map(Self::of).collect();
        for format in 1..=NEWEST {
            let of_format = all.iter().filter(|archive| archive.format == format).count();
            assert!(of_format >= 2, "only {of_format} stores of format {format}");
        }
        all
    }

    fn of(path: PathBuf) -> Self {
        let name = path.file_name().unwrap().to_string_lossy().replace(".tar.gz", "");
        let format = name.split_once('-').unwrap().0.parse().unwrap();
        Self { path, name, format }
    }

    /// What it has are rows on their way: no window has begun.
    fn is_of_rows_in_flight(&self) -> bool {
        self.name.ends_with("-in-flight")
    }

    /// It was stopped with a savepoint, and all that it has put out is published.
    fn has_savepoint(&self) -> bool {
        self.name.ends_with("-savepoint")
    }

    fn unpack(&self) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        let unpacked = Command::new("tar").arg("-xzf").arg(&self.path).arg("-C").arg(folder.path()).status().unwrap();
        assert!(unpacked.success(), "{}", self.name);
        folder
    }

    /// Why it is not gone on with; it stays as it is.
    fn refused(&self, of: impl Fn(&Path) -> Job) -> String {
        let folder = self.unpack();
        let before = output(&folder);
        let End::Failed(log) = of(folder.path()).start().wait(PATIENCE) else {
            panic!("{}: it was gone on with", self.name)
        };
        assert_same(&self.name, &output(&folder), &before);
        log
    }
}

#[test]
fn stores_of_every_format_are_gone_on_with_to_exact_rows() {
    let expected = expected();
    for archive in Archive::all() {
        let folder = archive.unpack();
        job(folder.path()).finish(PATIENCE);
        assert_same(&archive.name, &output(&folder), &expected);
    }
}

#[test]
fn stores_of_every_format_are_gone_on_with_by_more_and_by_fewer_subtasks() {
    let expected = expected();
    for archive in Archive::all() {
        for parallelism in [1, 3] {
            let folder = archive.unpack();
            job(folder.path()).set("spec.parallelism", parallelism).finish(PATIENCE);
            let what = format!("{} by {parallelism}", archive.name);
            assert_same(&what, &output(&folder), &expected);
        }
    }
}

#[test]
fn another_job_begins_with_a_savepoint_of_an_earlier_build() {
    let expected = expected();
    let archives: Vec<Archive> = Archive::all().into_iter().filter(Archive::has_savepoint).collect();
    assert!(!archives.is_empty());
    for (archive, parallelism) in archives.iter().flat_map(|archive| [1, 3].map(|parallelism| (archive, parallelism))) {
        let folder = archive.unpack();
        let before = output(&folder);
        let savepoint = folder.path().join("checkpoints/stored/savepoints/kept");
        job(folder.path())
            .set("metadata.name", "other")
            .set("spec.restoreFrom.path", savepoint.display())
            .set("spec.parallelism", parallelism)
            .finish(PATIENCE);
        assert!(before.len() < output(&folder).len(), "{}: it had read all", archive.name);
        assert_same(&format!("{} by {parallelism}", archive.name), &output(&folder), &expected);
    }
}

/// Rows without the field `more`, and what that was, in rows that had it: store, orders, `more`.
fn apart(rows: &Rows) -> (Rows, Vec<(i64, i64, Value)>) {
    let mut more = Vec::new();
    let without = rows.iter().flat_map(|(row, count)| {
        let text = match serde_json::from_str::<Value>(row).unwrap().as_object_mut().unwrap().remove("more") {
            None => row.to_owned(),
            Some(value) => {
                let whole: Value = serde_json::from_str(row).unwrap();
                let number = |field: &str| whole[field].as_i64().unwrap();
                more.extend(vec![(number("store_id"), number("orders"), value.clone()); count as usize]);
                row.replace(&format!(",\"more\":{value}"), "")
            }
        };
        vec![text; count as usize]
    });
    let without: Rows = without.collect();
    (without, more)
}

/// Fails unless all that was there before is exact, and the aggregate that was added has what came since. Says whether
/// something had come before.
fn assert_more(archive: &Archive, found: &Rows, expected: &Rows, what: impl Fn(i64) -> i64) -> bool {
    let (without, more) = apart(found);
    assert_same(&archive.name, &without, expected);
    assert!(!more.is_empty(), "{}: no row has the new field", archive.name);
    let mut lacks_some = false;
    for (store, orders, value) in &more {
        let of_one = what(*store);
        let came = value.as_i64().map_or(0, |value| {
            assert_eq!(value % of_one, 0, "{}: {value} of store {store}", archive.name);
            value / of_one
        });
        assert!((0..=*orders).contains(&came), "{}: {value} of store {store}, {orders} orders", archive.name);
        lacks_some |= came < *orders;
    }
    assert!(!lacks_some || !archive.is_of_rows_in_flight(), "{}: {more:?}", archive.name);
    lacks_some
}

#[test]
fn an_aggregate_that_is_added_has_what_comes_and_the_others_of_stores_of_every_format_go_on() {
    let expected = expected();
    let mut open_windows = BTreeSet::new();
    for archive in Archive::all() {
        for (aggregate, of_one) in [("SUM(store_id)", 1), ("SUM(store_id * 2)", 2)] {
            let folder = archive.unpack();
            job(folder.path()).set("spec.sql", with_more(aggregate)).finish(PATIENCE);
            if assert_more(&archive, &output(&folder), &expected, |store| of_one * store) {
                open_windows.insert(archive.format);
            }
        }
    }
    assert!(open_windows.into_iter().eq(1..=NEWEST), "each format has a store with open windows");
}

/// What the view calls it may have been anything, to formats that did not say what it is.
#[test]
fn an_aggregate_over_a_name_that_a_view_gives_is_added_where_names_are_told_from_columns() {
    let changed = || {
        let text: String = serde_json::from_str(&with_more("SUM(twice)")).unwrap();
        let text = text.replace("order_id, store_id, amount, ts\n  FROM (SELECT *,", VIEW);
        assert!(text.contains(VIEW), "{text}");
        serde_json::to_string(&text).unwrap()
    };
    let expected = expected();
    for archive in Archive::all() {
        let of = |folder: &Path| job(folder).set("spec.sql", changed());
        // Where no window has begun, no list could be another.
        if archive.format < 5 && !archive.is_of_rows_in_flight() {
            let log = archive.refused(of);
            for words in ["an earlier version of Tidegate", "`sum(twice)`", "until it has taken a checkpoint"] {
                assert!(log.contains(words), "{}: {words} is not in:\n{log}", archive.name);
            }
        } else {
            let folder = archive.unpack();
            of(folder.path()).finish(PATIENCE);
            assert_more(&archive, &output(&folder), &expected, |store| 2 * store);
        }
    }
}

const VIEW: &str = "order_id, store_id, amount, ts, twice\n  FROM (SELECT *, store_id * 2 AS twice,";

#[test]
fn rows_that_wait_in_a_store_go_where_they_were_to_go_and_nowhere_else() {
    let expected = expected();
    for archive in Archive::all().into_iter().filter(|archive| archive.format >= 5 && !archive.has_savepoint()) {
        let elsewhere = |folder: &Path| job(folder).set("spec.sinks[1].files.path", folder.join("other").display());
        let log = archive.refused(elsewhere);
        for words in ["sink `passed`", "other", "`output`", "wait"] {
            assert!(log.contains(words), "{}: {words} is not in:\n{log}", archive.name);
        }
        // The refusal has taken nothing: it goes on as it was.
        let folder = archive.unpack();
        let End::Failed(_) = elsewhere(folder.path()).start().wait(PATIENCE) else { panic!("{}", archive.name) };
        let other = folder.path().join("other");
        assert!(!other.exists() || lines(&other).is_empty(), "{}", archive.name);
        job(folder.path()).finish(PATIENCE);
        assert_same(&archive.name, &output(&folder), &expected);
    }
}
