//! An S3 server, versitygw, over a folder on disk.
//!
//! Every object is a plain file below the bucket's folder ([`S3::path_of`]), which makes it easy to
//! plant a damaged or missing one. Overwriting the file keeps its extended attributes, among them
//! the checksum, so that the AWS client notices; removing it first and writing it anew plants a
//! damage that only a checksum of our own can find. Conditional creates (`If-None-Match: *`) are atomic. A key that
//! is another key's prefix (`a` and `a/b`) is refused with 409, as the folder can't hold both.
//!
//! The folder must support extended attributes; if the system's temporary folder doesn't, name one
//! that does by `TMPDIR`.
//!
//! Three ways to be out of order, each ended by [`S3::restart`] or its counterpart:
//! [`S3::kill_9`] (connection refused, nothing is read or written), [`S3::refuse_writes`] (reads
//! work, every write answers 403 at once) and [`S3::pause`] (connections open, nothing answers).
//! With [`super::Toxiproxy`] between, requests can also arrive and lose only their answers.

use std::ffi::OsString;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Error;
use super::cache::{self, Program};
use super::process::Launch;
use super::server::{Origin, Place, Server, controlled, named_by};

/// Names a store to use instead of ours: `endpoint,bucket,access key,secret key`.
pub const VARIABLE: &str = "TIDEGATE_TEST_S3";

const NAME: &str = "s3";
const MODULE: &str = "github.com/versity/versitygw/cmd/versitygw@v1.8.0";

/// The gateway's one binary, `versitygw`.
pub const PROGRAM: Program = Program { name: "versitygw", version: "1.8.0", fill };

const BUCKET: &str = "tidegate";
const ACCESS_KEY: &str = "tidegate-tests";
const SECRET_KEY: &str = "not-a-secret";

/// A running store with one bucket.
#[derive(Debug)]
pub struct S3 {
    endpoint: String,
    bucket: String,
    access_key: String,
    secret_key: String,
    /// The bucket's folder, if the server is ours.
    folder: Option<PathBuf>,
    origin: Origin,
}

controlled!(S3);

impl S3 {
    /// Starts a store with one empty bucket (0.1 s), or takes the one named by [`VARIABLE`].
    pub async fn start() -> Result<Self, Error> {
        Self::start_at(Ipv4Addr::LOCALHOST.into()).await
    }

    /// As [`S3::start`], on another address of this machine, such as that of the pods of a [`super::Cluster`].
    pub async fn start_at(address: IpAddr) -> Result<Self, Error> {
        if let Some(value) = named_by(VARIABLE) {
            return Self::named(value);
        }
        PROGRAM.ready().await?;
        let place = Place::reserve_at(NAME, address)?;
        // A folder is a bucket: nothing else has to be created.
        let bucket = place.path().join("data").join(BUCKET);
        fs::create_dir_all(&bucket).map_err(Error::io("create", &bucket))?;
        let launch = launch(&place.port.address(), place.path(), &[])?;
        let server = Server::start(NAME, place, launch).await?;
        Ok(Self {
            endpoint: format!("http://{}", server.address()),
            bucket: BUCKET.to_owned(),
            access_key: ACCESS_KEY.to_owned(),
            secret_key: SECRET_KEY.to_owned(),
            folder: Some(bucket),
            origin: server.into(),
        })
    }

    fn named(value: String) -> Result<Self, Error> {
        let parts: Vec<&str> = value.split(',').map(str::trim).collect();
        let [endpoint, bucket, access_key, secret_key] = parts[..] else {
            return Err(Error::Variable {
                variable: VARIABLE,
                value,
                expected: "endpoint,bucket,access key,secret key",
            });
        };
        Ok(Self {
            endpoint: endpoint.to_owned(),
            bucket: bucket.to_owned(),
            access_key: access_key.to_owned(),
            secret_key: secret_key.to_owned(),
            folder: None,
            origin: Origin::Theirs { server: NAME, variable: VARIABLE },
        })
    }

    /// `http://<address>:<port>`; buckets are addressed by path.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    pub fn access_key(&self) -> &str {
        &self.access_key
    }

    pub fn secret_key(&self) -> &str {
        &self.secret_key
    }

    /// The file that holds the object `key`: change or remove it to damage the object.
    pub fn path_of(&self, key: &str) -> Result<PathBuf, Error> {
        match &self.folder {
            Some(folder) => Ok(folder.join(key)),
            None => Err(Error::External { server: NAME, action: "look into", variable: VARIABLE }),
        }
    }

    /// Starts the store again with the same address and data, able to write.
    pub async fn restart(&mut self) -> Result<(), Error> {
        self.start_again("restart", &[]).await
    }

    /// From now on every write answers 403 `AccessDenied` at once; reads go on.
    ///
    /// The store restarts for this, which breaks the connections that are open.
    pub async fn refuse_writes(&mut self) -> Result<(), Error> {
        self.start_again("make read-only", &["--readonly"]).await
    }

    /// Ends [`S3::refuse_writes`].
    pub async fn accept_writes(&mut self) -> Result<(), Error> {
        self.restart().await
    }

    async fn start_again(&mut self, action: &'static str, options: &[&str]) -> Result<(), Error> {
        let server = self.origin.ours(action)?;
        let launch = launch(&server.address(), server.path(), options)?;
        // Not by SIGTERM, which would wait for requests in flight.
        server.kill_9();
        server.restart_as(launch).await
    }
}

fn launch(address: &str, folder: &Path, options: &[&str]) -> Result<Launch, Error> {
    let mut arguments: Vec<OsString> = vec!["--port".into(), address.into(), "--quiet".into()];
    arguments.extend(options.iter().map(Into::into));
    arguments.extend(["posix".into(), folder.join("data").into()]);
    Ok(Launch {
        program: PROGRAM.install()?.join("versitygw"),
        arguments,
        environment: vec![("ROOT_ACCESS_KEY_ID", ACCESS_KEY.into()), ("ROOT_SECRET_ACCESS_KEY", SECRET_KEY.into())],
    })
}

fn fill(folder: &Path) -> Result<(), Error> {
    cache::run(
        PROGRAM.name,
        Command::new("go").args(["install", "-trimpath", "-ldflags=-s -w", MODULE]).env("GOBIN", folder),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_of_others_is_used_but_not_killed() {
        let mut s3 = S3::named("http://s3:9000, b, key, secret".to_owned()).unwrap();
        assert_eq!((s3.endpoint(), s3.bucket()), ("http://s3:9000", "b"));
        assert_eq!((s3.access_key(), s3.secret_key()), ("key", "secret"));
        assert_eq!(
            s3.kill_9().unwrap_err().to_string(),
            "can't kill s3: it was named by TIDEGATE_TEST_S3, so it isn't ours"
        );
    }

    #[test]
    fn a_variable_with_a_part_missing_says_what_is_expected() {
        assert_eq!(
            S3::named("http://s3:9000,b".to_owned()).unwrap_err().to_string(),
            "failed to understand TIDEGATE_TEST_S3=`http://s3:9000,b`, \
             expected endpoint,bucket,access key,secret key"
        );
    }
}
