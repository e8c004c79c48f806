//! Documents, and what is set over them by `--set`.

use tidegate_crds::{DocumentError, StreamJob};

use super::assert_plain;

/// A document and, behind a null character each, what is set over it: `path=value`. One that is accepted is written as it was
/// read; of one that is not, each problem has its field, or its line.
pub fn document(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut texts = text.split('\0');
    let document = texts.next().unwrap_or_default();
    let overrides: Vec<(String, String)> =
        texts.filter_map(|set| set.split_once('=')).map(|(path, value)| (path.to_owned(), value.to_owned())).collect();
    match StreamJob::from_yaml_with(document, &overrides) {
        Ok(job) => {
            let again = serde_json::to_value(&job).and_then(serde_json::from_value::<StreamJob>);
            assert!(matches!(&again, Ok(again) if *again == job), "{job:?} is written as {again:?}");
            assert_eq!(job.check(), Ok(()));
        }
        Err(DocumentError::Problems(problems)) => {
            assert!(!problems.0.is_empty());
            for problem in problems.0 {
                assert!(!problem.field.is_empty() || text.contains("\0="), "{problem} of {text}");
                assert_plain(text, &problem.message);
            }
        }
        Err(error @ DocumentError::Syntax(_)) => assert_plain(text, &error.to_string()),
    }
}
