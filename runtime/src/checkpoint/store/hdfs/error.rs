//! What the cluster's errors mean.

use std::time::Duration;

use hdfs_native::HdfsError;
use thiserror::Error;

use super::{HdfsStore, Store, StoreError};

/// Why a request came to nothing.
#[derive(Debug, Error)]
pub(super) enum Failure {
    #[error("no answer within {0:?}")]
    NoAnswer(Duration),
    #[error("{}", first_line(.0))]
    Hdfs(#[from] HdfsError),
    /// Fewer bytes came than the file has.
    #[error("{found} bytes came of {expected}")]
    Short { found: u64, expected: u64 },
    /// Its temporary file was removed by another before it had its name.
    #[error("its temporary file is gone: the write took more than a day, or somebody removed the file")]
    Swept,
    /// The cluster, or our way to it, is not what it must be.
    #[error("{0}")]
    Unfit(String),
}

/// Java's exceptions that mean that somebody may not do something, by the ends of their names.
const DENIED: [&str; 4] = ["AccessControlException", "AuthorizationException", "SaslException", "$InvalidToken"];

impl Failure {
    /// There is no such file or folder.
    pub(super) fn is_absent(&self) -> bool {
        match self {
            Self::Hdfs(HdfsError::FileNotFound(_)) => true,
            Self::Hdfs(HdfsError::RPCError(class, _)) => class == "java.io.FileNotFoundException",
            _ => false,
        }
    }

    /// There is such a file already.
    pub(super) fn is_taken(&self) -> bool {
        matches!(self, Self::Hdfs(HdfsError::AlreadyExists(_)))
    }

    /// There is something in the folder.
    pub(super) fn is_not_empty(&self) -> bool {
        matches!(self, Self::Hdfs(HdfsError::RPCError(class, _)) if class.ends_with("PathIsNotEmptyDirectoryException"))
    }

    /// Another try may go better.
    pub(super) fn may_pass(&self) -> bool {
        let decided = self.is_absent() || self.is_taken() || self.is_not_empty() || matches!(self, Self::Swept);
        !decided && !self.is_denied() && !self.is_unfit()
    }

    fn is_denied(&self) -> bool {
        match self {
            Self::Hdfs(HdfsError::RPCError(class, _) | HdfsError::FatalRPCError(class, _)) => {
                DENIED.iter().any(|denied| class.ends_with(denied))
            }
            Self::Hdfs(HdfsError::SASLError(_) | HdfsError::GSSAPIError(..) | HdfsError::NoSASLMechanism) => true,
            _ => false,
        }
    }

    fn is_unfit(&self) -> bool {
        matches!(self, Self::Unfit(_) | Self::Hdfs(HdfsError::InvalidArgument(_) | HdfsError::UnsupportedFeature(_)))
    }
}

impl HdfsStore {
    pub(super) fn failed(&self, action: &'static str, path: &str, failure: Failure) -> StoreError {
        let refuse = |message: String| StoreError::Refused { location: self.location(), message };
        if failure.is_denied() {
            let user = &self.user;
            return refuse(format!("the cluster does not let the user {user} {action} `{path}`: {failure}"));
        }
        if failure.is_unfit() {
            return refuse(failure.to_string());
        }
        StoreError::Failed { action, path: path.to_owned(), location: self.location(), cause: failure.into() }
    }
}

/// The server's text without the Java stack that it sends along.
fn first_line(error: &HdfsError) -> String {
    match error {
        HdfsError::RPCError(class, message) | HdfsError::FatalRPCError(class, message) => {
            let class = class.rsplit('.').next().unwrap_or(class);
            format!("{class}: {}", message.lines().next().unwrap_or_default())
        }
        other => other.to_string().lines().next().unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rpc(class: &str) -> Failure {
        HdfsError::RPCError(class.to_owned(), "what happened\n\tat java".to_owned()).into()
    }

    #[test]
    fn what_the_user_must_change_is_not_tried_again() {
        for class in [
            "org.apache.hadoop.security.AccessControlException",
            "org.apache.hadoop.security.token.SecretManager$InvalidToken",
            "java.io.FileNotFoundException",
            "org.apache.hadoop.fs.PathIsNotEmptyDirectoryException",
        ] {
            assert!(!rpc(class).may_pass(), "{class}");
        }
        assert!(!Failure::from(HdfsError::InvalidArgument("no".into())).may_pass());
        assert!(!Failure::from(HdfsError::AlreadyExists("yes".into())).may_pass());
        for class in ["org.apache.hadoop.hdfs.server.namenode.SafeModeException", "java.io.IOException"] {
            assert!(rpc(class).may_pass(), "{class}");
        }
        assert!(Failure::NoAnswer(Duration::from_secs(1)).may_pass());
        assert!(Failure::from(HdfsError::IOError(std::io::Error::other("reset"))).may_pass());
    }

    #[test]
    fn a_message_has_the_exceptions_name_and_no_stack() {
        assert_eq!(rpc("org.apache.hadoop.SafeModeException").to_string(), "SafeModeException: what happened");
    }
}
