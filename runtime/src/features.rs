//! What the program was built with.
//!
//! The systems that it speaks to are Cargo features, all of them on unless a build says otherwise: `make demo` needs no
//! system, and leaves them out, since they are most of what a first build takes. A document that asks for one that was left
//! out is refused.

use thiserror::Error;

/// A part of the program that a build may leave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    ClickHouse,
    Hdfs,
    Kafka,
    RocksDb,
    S3,
    Tls,
}

/// What is asked for is not in this program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "this `tidegate` was built without {}; `make shipped` builds one with everything, the feature `{}` among it",
    .0.name(),
    .0.flag()
)]
pub struct NotBuilt(pub Feature);

impl Feature {
    /// Fails if it was left out.
    pub fn check(self) -> Result<(), NotBuilt> {
        let is_built = match self {
            Self::ClickHouse => cfg!(feature = "clickhouse"),
            Self::Hdfs => cfg!(feature = "hdfs"),
            Self::Kafka => cfg!(feature = "kafka"),
            Self::RocksDb => cfg!(feature = "rocksdb"),
            Self::S3 => cfg!(feature = "s3"),
            Self::Tls => cfg!(feature = "tls"),
        };
        if is_built { Ok(()) } else { Err(NotBuilt(self)) }
    }

    fn name(self) -> &'static str {
        match self {
            Self::ClickHouse => "ClickHouse",
            Self::Hdfs => "HDFS",
            Self::Kafka => "Kafka",
            Self::RocksDb => "RocksDB",
            Self::S3 => "S3",
            Self::Tls => "TLS",
        }
    }

    /// In Cargo's words.
    fn flag(self) -> &'static str {
        match self {
            Self::ClickHouse => "clickhouse",
            Self::Hdfs => "hdfs",
            Self::Kafka => "kafka",
            Self::RocksDb => "rocksdb",
            Self::S3 => "s3",
            Self::Tls => "tls",
        }
    }
}
