//! Addresses of folders of a Hadoop file system.

use std::fmt;

use crate::HdfsStorage;

/// `hdfs://<authority>/<folder>`, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HdfsAddress {
    /// `host:port` of a `NameNode`, or a name service of the Hadoop configuration.
    pub authority: String,
    /// Begins with `/` and doesn't end with one; empty for the root.
    pub folder: String,
}

impl HdfsAddress {
    /// The name service, where the address has no port.
    pub fn name_service(&self) -> Option<&str> {
        (!self.authority.contains(':')).then_some(self.authority.as_str())
    }
}

impl fmt::Display for HdfsAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hdfs://{}{}", self.authority, self.folder)
    }
}

impl HdfsStorage {
    /// Where the checkpoints of a job are, for people: `hdfs://host:port/folder/job`.
    pub fn location(&self, job: &str) -> String {
        format!("{}/{job}", self.url.trim_end_matches('/'))
    }

    /// `url` taken apart, or what is wrong with it: what was found and what is accepted.
    pub fn address(&self) -> Result<HdfsAddress, String> {
        let wrong = |what: &str| {
            format!(
                "found `{}`, {what}; accepted is `hdfs://<host>:<port>/<folder>` of a NameNode, or `hdfs://<name \
                 service>/<folder>`",
                self.url
            )
        };
        let rest = self.url.strip_prefix("hdfs://").ok_or_else(|| wrong("which does not begin with `hdfs://`"))?;
        let (authority, folder) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(wrong("which names a user: that is what `user` is for"));
        }
        let (host, port) = authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
        if host.is_empty() || !host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_')) {
            return Err(wrong("which names no host or name service"));
        }
        if port.is_some_and(|port| port.parse::<u16>().map_or(true, |port| port == 0)) {
            return Err(wrong("whose port is none"));
        }
        let folder = folder.trim_end_matches('/');
        let odd = |name: &str| matches!(name, "" | "." | "..") || name.chars().any(|c| c == ':' || c.is_control());
        if folder.split('/').skip(1).any(odd) {
            return Err(wrong("whose folder has an empty name, `.`, `..` or a `:` in it"));
        }
        Ok(HdfsAddress { authority: authority.to_owned(), folder: folder.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(url: &str) -> Result<HdfsAddress, String> {
        HdfsStorage { url: url.to_owned(), ..HdfsStorage::default() }.address()
    }

    #[test]
    fn an_address_is_a_namenode_or_a_name_service_and_a_folder() {
        for (url, authority, folder, service) in [
            ("hdfs://namenode:8020/a/b", "namenode:8020", "/a/b", None),
            ("hdfs://10.0.0.1:9000/a/", "10.0.0.1:9000", "/a", None),
            ("hdfs://cluster/a b", "cluster", "/a b", Some("cluster")),
            ("hdfs://cluster/", "cluster", "", Some("cluster")),
            ("hdfs://cluster", "cluster", "", Some("cluster")),
        ] {
            let found = address(url).unwrap();
            assert_eq!((found.authority.as_str(), found.folder.as_str()), (authority, folder), "{url}");
            assert_eq!(found.name_service(), service, "{url}");
        }
        assert_eq!(address("hdfs://cluster/a/").unwrap().to_string(), "hdfs://cluster/a");
    }

    #[test]
    fn anything_else_is_refused_by_what_is_wrong_with_it() {
        for (url, words) in [
            ("/a/b", "does not begin with `hdfs://`"),
            ("s3://bucket/a", "does not begin with `hdfs://`"),
            ("hdfs:///a", "names no host"),
            ("hdfs://:8020/a", "names no host"),
            ("hdfs://name node/a", "names no host"),
            ("hdfs://me@namenode:8020/a", "that is what `user` is for"),
            ("hdfs://namenode:/a", "port"),
            ("hdfs://namenode:0/a", "port"),
            ("hdfs://namenode:99999/a", "port"),
            ("hdfs://namenode:8020/a//b", "an empty name"),
            ("hdfs://namenode:8020/a/../b", "`..`"),
            ("hdfs://namenode:8020/a:b", "a `:` in it"),
        ] {
            let error = address(url).unwrap_err();
            assert!(error.contains(words) && error.contains(url) && error.contains("accepted is"), "{error}");
        }
    }
}
