//! The way to the cluster.
//!
//! `hdfs-native` waits for an answer for ever, on a connection that it takes for alive as long as TCP does. So every
//! request has a limit here, and a session in which one passed it is given up: the next request gets a new one, which
//! begins with any of the `NameNodes`. Each session has threads of its own, because the library's tasks end with their
//! runtime and not with their client.

use std::{
    collections::BTreeMap,
    env::var,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use hdfs_native::{Client, ClientBuilder};
use tidegate_crds::{HdfsAddress, HdfsStorage};
use tokio::runtime::{Builder, Runtime};

use super::{HdfsPatience, error::Failure};
use crate::env;

/// Where the library's defaults would have a request wait longer than its limit, in milliseconds. The document's own
/// properties go before.
const DEFAULTS: [(&str, &str); 4] = [
    ("dfs.client.failover.max.attempts", "4"),
    ("dfs.client.failover.sleep.base.millis", "200"),
    ("dfs.client.failover.sleep.max.millis", "2000"),
    // A DataNode that is silent for so long has its block read from another.
    ("dfs.client.socket-timeout", "10000"),
];

/// How sessions are made, and the one in use.
#[derive(Debug)]
pub(super) struct Way {
    url: String,
    user: Option<String>,
    config_folder: Option<String>,
    properties: BTreeMap<String, String>,
    name_service: Option<String>,
    patience: HdfsPatience,
    current: Mutex<Arc<Session>>,
}

/// A client, and the threads that its tasks run on. The client's futures are of some 70 KB, so they go into boxes.
#[derive(Debug)]
pub(super) struct Session {
    pub client: Client,
    _threads: Threads,
    patience: HdfsPatience,
    hung: AtomicBool,
}

/// A runtime that may be dropped where tasks run: its own drop would wait for its threads, and panics there.
#[derive(Debug)]
struct Threads(Option<Runtime>);

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Way {
    /// The error is for the user: what was found, what is accepted.
    pub(super) fn new(address: &HdfsAddress, spec: &HdfsStorage, patience: HdfsPatience) -> Result<Self, String> {
        let url = format!("hdfs://{}", address.authority);
        let name_service = address.name_service().map(str::to_owned);
        let mut properties: BTreeMap<String, String> =
            DEFAULTS.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        properties.extend(spec.properties.clone());
        let (user, config_folder) = (spec.user.clone(), spec.config_folder.clone());
        let first = connect(&url, user.clone(), config_folder.clone(), &properties, patience)?;
        let current = Mutex::new(Arc::new(first));
        Ok(Self { url, user, config_folder, properties, name_service, patience, current })
    }

    /// The session to use, a new one if the last was given up.
    pub(super) fn session(&self) -> Result<Arc<Session>, Failure> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.hung.load(Ordering::Relaxed) {
            let mut properties = self.properties.clone();
            if let Some(name) = &self.name_service {
                // Where the first NameNode is the one that does not answer, each session would begin with it.
                properties.insert(format!("dfs.client.failover.random.order.{name}"), "true".to_owned());
            }
            let (user, config_folder) = (self.user.clone(), self.config_folder.clone());
            let session = connect(&self.url, user, config_folder, &properties, self.patience);
            *current = Arc::new(session.map_err(Failure::Unfit)?);
        }
        Ok(Arc::clone(&current))
    }
}

impl Session {
    /// What the `NameNode` answers.
    pub(super) fn ask<'a, T: 'a>(
        &'a self,
        request: impl Future<Output = hdfs_native::Result<T>> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, Failure>> {
        Box::pin(self.within(self.patience.answer, request))
    }

    /// What comes of a transfer of up to [`super::PIECE_BYTES`].
    pub(super) fn transfer<'a, T: 'a>(
        &'a self,
        work: impl Future<Output = hdfs_native::Result<T>> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, Failure>> {
        Box::pin(self.within(self.patience.piece, work))
    }

    async fn within<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = hdfs_native::Result<T>>,
    ) -> Result<T, Failure> {
        match env::within(limit, work).await {
            Some(outcome) => outcome.map_err(Failure::from),
            None => {
                self.hung.store(true, Ordering::Relaxed);
                Err(Failure::NoAnswer(limit))
            }
        }
    }
}

/// Whom a cluster with simple authentication will take us for.
pub(super) fn user(spec: &HdfsStorage) -> String {
    let named = spec.user.clone().or_else(|| var("HADOOP_USER_NAME").ok());
    named.unwrap_or_else(|| "of this process".to_owned())
}

fn connect(
    url: &str,
    user: Option<String>,
    config_folder: Option<String>,
    properties: &BTreeMap<String, String>,
    patience: HdfsPatience,
) -> Result<Session, String> {
    let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("hdfs").enable_all().build();
    let runtime = runtime.map_err(|error| format!("failed to start a thread: {error}"))?;
    let handle = runtime.handle().clone();
    let threads = Threads(Some(runtime));
    let mut builder = ClientBuilder::new().with_url(url).with_config(properties.clone()).with_io_runtime(handle);
    if let Some(folder) = config_folder {
        builder = builder.with_config_dir(folder);
    }
    if let Some(user) = user {
        builder = builder.with_user(user);
    }
    let client = builder.build().map_err(|error| {
        format!(
            "no client could be made of `url`, `properties` and the Hadoop configuration ({error}); a name service needs \
             `dfs.ha.namenodes.<name>` and `dfs.namenode.rpc-address.<name>.<namenode>`"
        )
    })?;
    Ok(Session { client, _threads: threads, patience, hung: AtomicBool::new(false) })
}
