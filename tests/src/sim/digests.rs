//! Digests of what is written, by which two plays of a seed are told apart.
//!
//! RocksDB puts ids and times of its own into its files, which no seed decides on; how long they are does not change. So
//! what has such a file in it counts by its length, a manifest that names some by all but their checksums, and of what
//! names such a manifest its digest stands in the place of its checksum. All else counts byte by byte.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hasher},
    path::Path,
};

use serde_json::Value;
use tidegate::checkpoint::manifest::sha256;

/// Stands in every file of RocksDB that a checkpoint has: how its keys are ordered.
const OF_ROCKSDB: &[u8] = b"leveldb.BytewiseComparator";

#[derive(Debug, Default)]
pub struct Digests {
    /// Checksums that are not the same in two plays, and what stands for them.
    varying: BTreeMap<String, String>,
    /// Objects that have entries of tables, of those that some manifest has named.
    pub tables: BTreeSet<String>,
}

impl Digests {
    /// Of an object that is written.
    pub fn of(&mut self, bytes: &[u8]) -> u64 {
        if bytes.windows(OF_ROCKSDB.len()).any(|some| some == OF_ROCKSDB) {
            return digest(&bytes.len().to_le_bytes());
        }
        let Ok(mut document) = serde_json::from_slice::<Value>(bytes) else { return digest(bytes) };
        if !self.settle(&mut document) {
            return digest(bytes);
        }
        // Its own checksum varies with what it names.
        document.as_object_mut().and_then(|fields| fields.remove("xxh3"));
        let settled = digest(document.to_string().as_bytes());
        self.varying.insert(sha256(bytes), format!("{settled:016x}"));
        settled
    }

    /// Takes out what is not the same in two plays. False if there is no such thing.
    fn settle(&mut self, value: &mut Value) -> bool {
        match value {
            Value::String(text) => match self.varying.get(text) {
                Some(settled) => {
                    settled.clone_into(text);
                    true
                }
                None => false,
            },
            Value::Array(values) => self.settle_all(values.iter_mut()),
            Value::Object(fields) => {
                let extension = fields.get("name").and_then(Value::as_str).map(Path::new).and_then(Path::extension);
                let is_of_entries = extension.is_some_and(|extension| extension == "sst");
                let pieces = fields.get_mut("pieces").and_then(Value::as_array_mut);
                for piece in pieces.into_iter().flatten().filter_map(Value::as_object_mut) {
                    piece.insert("xxh3".to_owned(), Value::Null);
                    let path = piece.get("path").and_then(Value::as_str).filter(|_| is_of_entries);
                    self.tables.extend(path.map(str::to_owned));
                }
                let names_pieces = fields.contains_key("pieces");
                self.settle_all(fields.values_mut()) || names_pieces
            }
            _ => false,
        }
    }

    fn settle_all<'a>(&mut self, values: impl Iterator<Item = &'a mut Value>) -> bool {
        values.map(|value| self.settle(value)).filter(|varies| *varies).count() > 0
    }
}

/// What a process says at its end may name checksums of what varies: the text without anything that may be one.
pub fn without_checksums(text: &str) -> String {
    let is_between = |letter: char| !letter.is_ascii_hexdigit();
    let without = |piece: &str| match piece.trim_end_matches(is_between) {
        // XXH3 and SHA-256.
        digits if matches!(digits.len(), 16 | 64) => piece.replacen(digits, "…", 1),
        _ => piece.to_owned(),
    };
    text.split_inclusive(is_between).map(without).collect()
}

fn digest(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::default();
    hasher.write(bytes);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of_table(id: u8) -> Vec<u8> {
        [&[id][..], OF_ROCKSDB].concat()
    }

    fn manifest(rows: &str, table: &[u8]) -> String {
        let pieces = json!([{ "path": "data/1/0/table", "bytes": table.len(), "xxh3": sha256(table) }]);
        let subtask = json!({ "parts": [{ "xxh3": rows }], "table": [{ "name": "7.sst", "pieces": pieces }] });
        json!({ "subtasks": [subtask] }).to_string()
    }

    /// A table's file, a manifest that names it, and a record that names the manifest.
    fn play(id: u8, rows: &str) -> [u64; 3] {
        let mut digests = Digests::default();
        let table = of_table(id);
        let manifest = manifest(rows, &table);
        let record = json!({ "checkpoint": { "sha256": sha256(manifest.as_bytes()) } }).to_string();
        let noted = [&table[..], manifest.as_bytes(), record.as_bytes()].map(|bytes| digests.of(bytes));
        assert_eq!(digests.tables.iter().collect::<Vec<_>>(), ["data/1/0/table"]);
        noted
    }

    #[test]
    fn what_rocksdb_makes_up_does_not_count_and_all_else_does() {
        let (first, second, other) = (play(1, "rows"), play(2, "rows"), play(1, "other rows"));
        assert_eq!(first, second);
        assert!(first[0] == other[0] && first[1] != other[1] && first[2] != other[2]);
        let mut digests = Digests::default();
        assert!(digests.of(&of_table(1)) != digests.of(&[of_table(1), of_table(1)].concat()), "lengths count");
        assert!(digests.of(b"rows") != digests.of(b"sows"));
    }

    #[test]
    fn a_text_keeps_all_but_what_may_be_a_checksum() {
        let text =
            format!("`log/00000003/000000000000`: its checksum is `e900376aea8147db`; its SHA-256 {}", sha256(b"it"));
        assert_eq!(without_checksums(&text), "`log/00000003/000000000000`: its checksum is `…`; its SHA-256 …");
    }
}
