use std::{fs, path::Path};

use super::Files;
use crate::{
    ids::SubtaskIndex,
    source::{Fetched, Positions, ReaderContext, Source, SourceError, SourceReader, SplitState},
};

fn files(path: &Path) -> Files {
    Files::new("orders", &tidegate_crds::FilesSource { path: path.to_str().unwrap().to_owned() })
}

async fn reader(
    source: &Files,
    subtask: u32,
    parallelism: u32,
    from: Option<Vec<SplitState>>,
) -> Result<Box<dyn SourceReader>, SourceError> {
    let from = match from {
        Some(splits) => Positions::Restored(splits),
        None => Positions::Found(source.find_splits(None).await?),
    };
    source.reader(ReaderContext { subtask: SubtaskIndex(subtask), parallelism }, from).await
}

/// Up to `batches` batches of lines, with their positions.
async fn read(reader: &mut dyn SourceReader, batches: usize) -> Vec<(u64, String)> {
    let mut lines = Vec::new();
    for _ in 0..batches {
        match reader.fetch().await.unwrap() {
            Fetched::Records(records) => {
                assert_eq!(records.runs()[0].records, 0..records.len());
                for index in 0..records.len() {
                    let text = String::from_utf8(records.payload(index).unwrap().to_vec()).unwrap();
                    lines.push((records.position(index), text));
                }
            }
            Fetched::Exhausted => break,
            _ => panic!("files have records only"),
        }
    }
    lines
}

#[tokio::test]
async fn lines_come_once_over_subtasks_and_resumes() {
    let folder = tempfile::tempdir().unwrap();
    let mut expected = Vec::new();
    for file in 0..5 {
        let lines: Vec<String> = (0..20_000).map(|n| format!("{{\"file\":{file},\"n\":{n}}}")).collect();
        fs::write(
            folder.path().join(format!("{file}.jsonl")),
            lines.join("\n") + if file % 2 == 0 { "\n" } else { "" },
        )
        .unwrap();
        expected.extend(lines);
    }
    fs::write(folder.path().join("other.txt"), "no\n").unwrap();
    let mut found = Vec::new();
    let mut positions: Option<Vec<SplitState>> = None;
    for (parallelism, batches) in [(2, 2), (3, 1), (7, usize::MAX)] {
        // A new process each time.
        let source = files(&folder.path().join("*.jsonl"));
        let mut next = Vec::new();
        for subtask in 0..parallelism {
            let mut reader = reader(&source, subtask, parallelism, positions.clone()).await.unwrap();
            found.extend(read(reader.as_mut(), batches).await.into_iter().map(|(_, line)| line));
            next.extend(reader.positions());
        }
        assert_eq!(next.len(), 5);
        positions = Some(next);
    }
    found.sort();
    expected.sort();
    assert!(found == expected, "{} of {} lines", found.len(), expected.len());
    assert!(positions.unwrap().iter().all(|state| Some(state.next) == state.end));
}

#[tokio::test]
async fn files_are_dealt_in_turn_as_they_were_found() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str| std::fs::write(folder.path().join(name), format!("{{\"of\":\"{name}\"}}\n")).unwrap();
    ["b.jsonl", "c.jsonl", "d.jsonl"].into_iter().for_each(write);
    let pattern = folder.path().join("*.jsonl");
    let found = files(&pattern).find_splits(None).await.unwrap();
    ["a.jsonl", "e.jsonl"].into_iter().for_each(write);
    for parallelism in [1, 2, 3, 4] {
        let (mut lines, mut most) = (Vec::new(), 0);
        for subtask in 0..parallelism {
            let context = ReaderContext { subtask: SubtaskIndex(subtask), parallelism };
            // Another process each time.
            let mut reader = files(&pattern).reader(context, Positions::Found(found.clone())).await.unwrap();
            let own = read(reader.as_mut(), usize::MAX).await;
            most = most.max(own.len());
            lines.extend(own.into_iter().map(|(_, line)| line));
        }
        lines.sort();
        let expected = ["b", "c", "d"].map(|name| format!("{{\"of\":\"{name}.jsonl\"}}"));
        assert_eq!(lines, expected, "parallelism {parallelism}");
        assert_eq!(most, 3_usize.div_ceil(parallelism as usize), "parallelism {parallelism}");
    }
}

/// Nothing was put out of what an earlier start has found: a file that was mended, completed or taken away since is as it is.
#[tokio::test]
async fn a_start_without_a_checkpoint_looks_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for name in ["b.jsonl", "c.jsonl"] {
        fs::write(path(name), "{}\n").unwrap();
    }
    let source = files(&folder.path().join("*.jsonl"));
    let known = source.find_splits(None).await.unwrap();
    fs::write(path("a.jsonl"), "{}\n").unwrap();
    fs::write(path("b.jsonl"), "{\"of\":\"b\"}\n").unwrap();
    fs::remove_file(path("c.jsonl")).unwrap();
    let found = source.find_splits(Some(&known)).await.unwrap();
    let found: Vec<_> = found.into_iter().map(|split| (split.split, split.end)).collect();
    assert_eq!(found, [(path("a.jsonl"), Some(3)), (path("b.jsonl"), Some(11))]);
    assert_eq!(source.begins_by(), None, "nothing is kept");
}

/// Subtasks restart alone, from a checkpoint, beside others that have read since the job first started.
#[tokio::test]
async fn a_subtask_that_restarts_from_a_checkpoint_has_the_files_that_it_had_without_one() {
    let folder = tempfile::tempdir().unwrap();
    (0..20).for_each(|file| fs::write(folder.path().join(format!("{file}.jsonl")), "{}\n").unwrap());
    let source = files(&folder.path().join("*.jsonl"));
    for parallelism in 1..6 {
        let mut had = Vec::new();
        for subtask in 0..parallelism {
            had.push(reader(&source, subtask, parallelism, None).await.unwrap().positions());
        }
        let checkpoint = had.concat();
        assert_eq!(checkpoint.len(), 20, "parallelism {parallelism}");
        for (subtask, had) in (0..parallelism).zip(had) {
            let has = reader(&source, subtask, parallelism, Some(checkpoint.clone())).await.unwrap().positions();
            assert!(has == had, "subtask {subtask} of {parallelism}: {has:?}, and had {had:?}");
        }
    }
}

#[tokio::test]
async fn blank_lines_are_none_long_lines_are_whole_and_what_is_appended_later_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    let long = "x".repeat(3 << 20);
    fs::write(&path, format!("a\n\n \r\nb\r\n{long}\nlast")).unwrap();
    let source = files(&path);
    let found = source.find_splits(None).await.unwrap();
    fs::write(&path, format!("a\n\n \r\nb\r\n{long}\nlast\nlater\n")).unwrap();
    let context = ReaderContext { subtask: SubtaskIndex(0), parallelism: 1 };
    let mut reader = source.reader(context, Positions::Found(found)).await.unwrap();
    let lines = read(reader.as_mut(), usize::MAX).await;
    let expected = [(0, "a"), (6, "b\r"), (9, long.as_str()), (9 + (3 << 20) + 1, "last")];
    assert_eq!(lines.len(), 4);
    for (line, (position, text)) in lines.iter().zip(expected) {
        assert!(line.0 == position && line.1 == text, "at {position}: {} bytes at {}", line.1.len(), line.0);
    }
}

#[tokio::test]
async fn an_empty_file_ends_at_once() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a"), "").unwrap();
    let source = files(&folder.path().join("a"));
    assert!(matches!(reader(&source, 0, 1, None).await.unwrap().fetch().await.unwrap(), Fetched::Exhausted));
    assert!(matches!(reader(&source, 1, 2, None).await.unwrap().fetch().await.unwrap(), Fetched::Exhausted));
}

#[tokio::test]
async fn a_file_that_changed_since_the_checkpoint_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    let state =
        |next| SplitState { split: path.to_str().unwrap().to_owned(), next, end: Some(8), ..SplitState::default() };
    fs::write(&path, "one\ntwo\n").unwrap();
    let source = files(&path);
    assert!(reader(&source, 0, 1, Some(vec![state(4)])).await.is_ok());
    for (content, next, words) in [
        (Some("one\n"), 4, "has 4 bytes and had 8"),
        (Some("onetwothree\n"), 4, "another one than the checkpoint left at byte 4"),
        (None, 4, "is gone"),
    ] {
        match content {
            Some(content) => fs::write(&path, content).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        let error = reader(&source, 0, 1, Some(vec![state(next)])).await.err().unwrap().to_string();
        assert!(error.contains(words) && error.contains("source `orders`"), "{error}");
    }
    assert!(reader(&source, 0, 1, Some(vec![state(8)])).await.is_ok(), "a file read to its end is not needed");
}

#[tokio::test]
async fn a_file_of_the_same_length_with_other_lines_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    let lines = |first: &str| (0..20_000).map(|n| format!("{first}{n:05}\n")).collect::<String>();
    fs::write(&path, lines("a")).unwrap();
    let source = files(&path);
    let left = {
        let mut reader = reader(&source, 0, 1, None).await.unwrap();
        assert_eq!(read(reader.as_mut(), 1).await.len(), 8192);
        reader.positions()
    };
    let written = serde_json::to_string(&left).unwrap();
    let left: Vec<SplitState> = serde_json::from_str(&written).unwrap();
    fs::write(&path, lines("a") + "later\n").unwrap();
    assert!(reader(&source, 0, 1, Some(left.clone())).await.is_ok(), "it only grew");
    fs::write(&path, lines("b")).unwrap();
    let error = reader(&source, 0, 1, Some(left)).await.err().unwrap().to_string();
    assert!(error.contains("another one than the checkpoint left at byte 57344"), "{error}");
}

#[tokio::test]
async fn a_path_without_files_names_what_is_near() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("orders.jsonl"), "").unwrap();
    let error = files(&folder.path().join("order.jsonl")).preflight().await.unwrap_err().to_string();
    assert!(error.contains("no file matches") && error.contains("did you mean `orders.jsonl`?"), "{error}");
    let error = files(Path::new("/data/***.jsonl")).preflight().await.unwrap_err().to_string();
    assert!(error.contains("is not a glob"), "{error}");
}
