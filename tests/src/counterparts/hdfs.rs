//! A Hadoop file system: one `NameNode` and two `DataNodes`, on loopback.
//!
//! Two, because a file with one replica takes 0.4 s to close: the client asks whether the block has arrived before the
//! only `DataNode` can have said so, and then waits. With two, and a `NameNode` that lets a file's last block be on its
//! way (`num-committed-allowed`), the answer is yes at once.
//!
//! Permissions are checked. The user who started it all, and who may do everything, is [`Hdfs::user`].

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::Error;
use super::cache::{self, Program};
use super::port::Port;
use super::process::Launch;
use super::server::{Origin, Place, Server, controlled, named_by};

/// Names a file system to use instead of ours: `host:port,user` of a `NameNode`.
pub const VARIABLE: &str = "TIDEGATE_TEST_HDFS";

const NAME: &str = "hdfs";
const DATANODES: usize = 2;
const USER: &str = "tidegate";
/// Long, because the tests may share two cores with a build.
const DATANODES_WITHIN: Duration = Duration::from_mins(5);

/// Hadoop's jars in `lib/`, the metadata of an empty file system in `formatted/`, and in `classes/` what Hadoop looks
/// for beside its jars.
pub const PROGRAM: Program = Program { name: NAME, version: "3.4.3", fill };

/// Class path and options; run in a folder that has `lib` and `classes`.
const JVM: [&str; 8] = [
    "-cp",
    "classes:lib/*",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xmx192m",
    "-Djava.net.preferIPv4Stack=true",
    // Nothing of theirs stays in the machine's folder for temporary files.
    "-Djava.io.tmpdir=.",
    "-XX:-UsePerfData",
];

/// A running file system.
#[derive(Debug)]
pub struct Hdfs {
    namenode: String,
    user: String,
    /// The `NameNode`.
    origin: Origin,
    datanodes: Vec<Server>,
    /// Of the `NameNode`'s pages; held so that it is still free at a restart.
    pages: Option<Port>,
}

controlled!(Hdfs);

impl Hdfs {
    /// Starts an empty file system (about seven seconds), or takes the one named by [`VARIABLE`].
    pub async fn start() -> Result<Self, Error> {
        match named_by(VARIABLE) {
            Some(value) => Self::named(value),
            None => Self::start_own(&[], &[]).await,
        }
    }

    /// Starts one of our own whose folders take so many entries, and no more.
    pub async fn with_small_folders(most_entries: u32) -> Result<Self, Error> {
        Self::start_own(&[("dfs.namenode.fs-limits.max-directory-items", &most_entries.to_string())], &[]).await
    }

    /// Starts one of our own whose `DataNodes` say what blocks they have received only so often.
    pub async fn with_late_reports(every: Duration) -> Result<Self, Error> {
        Self::start_own(&[], &[("dfs.blockreport.incremental.intervalMsec", &every.as_millis().to_string())]).await
    }

    async fn start_own(of_namenode: &[(&str, &str)], of_datanodes: &[(&str, &str)]) -> Result<Self, Error> {
        let installed = PROGRAM.ready().await?;
        let (place, pages) = (Place::reserve(NAME)?, Port::reserve()?);
        let address = place.port.address();
        cache::copy_folder(&installed.join("formatted/current"), &place.path().join("data/current"))?;
        let launch = namenode(&installed, &place, &pages, of_namenode)?;
        // All three at once: most of the time is the start of a JVM.
        let starts = (0..DATANODES).map(|_| {
            let place = Place::reserve(NAME)?;
            let launch = datanode(&installed, &place, &address, of_datanodes)?;
            Ok((place, launch))
        });
        let starts = starts.collect::<Result<Vec<_>, Error>>()?;
        let mut starting = tokio::task::JoinSet::new();
        for (place, launch) in starts {
            starting.spawn(Server::start(NAME, place, launch));
        }
        let origin = Server::start(NAME, place, launch).await?.into();
        let mut datanodes = Vec::new();
        while let Some(started) = starting.join_next().await {
            datanodes.push(started.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?);
        }
        let hdfs = Self { namenode: address, user: USER.to_owned(), origin, datanodes, pages: Some(pages) };
        hdfs.wait_for_datanodes().await?;
        Ok(hdfs)
    }

    fn named(value: String) -> Result<Self, Error> {
        let parts: Vec<&str> = value.split(',').map(str::trim).collect();
        let [namenode, user] = parts[..] else {
            return Err(Error::Variable { variable: VARIABLE, value, expected: "host:port,user" });
        };
        Ok(Self {
            namenode: namenode.to_owned(),
            user: user.to_owned(),
            origin: Origin::Theirs { server: NAME, variable: VARIABLE },
            datanodes: Vec::new(),
            pages: None,
        })
    }

    /// `host:port` of the `NameNode`.
    pub fn namenode(&self) -> &str {
        &self.namenode
    }

    /// Who may do everything.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Starts the `NameNode` again with the same address and data.
    pub async fn restart(&mut self) -> Result<(), Error> {
        self.origin.ours("restart")?.restart().await?;
        self.wait_for_datanodes().await
    }

    /// Crashes one of the two `DataNodes`; it doesn't come back. For ten minutes the `NameNode` still sends writes there.
    pub fn kill_a_datanode(&mut self) -> Result<(), Error> {
        self.origin.ours("kill a DataNode of")?;
        drop(self.datanodes.pop());
        Ok(())
    }

    /// The `NameNode` answers before it knows of a place for data, and of the data that is there.
    async fn wait_for_datanodes(&self) -> Result<(), Error> {
        let Some(pages) = &self.pages else { return Ok(()) };
        let url = format!("http://{}/jmx?qry=Hadoop:service=NameNode,name=NameNodeInfo", pages.address());
        let asked = async {
            loop {
                // It serves its pages before it can fill them.
                if let Ok(answer) = reqwest::get(&url).await
                    && let Ok(page) = answer.json::<serde_json::Value>().await
                    && self.is_complete(&page["beans"][0])
                {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(DATANODES_WITHIN, asked).await.map_err(|_| Error::NotReady {
            server: NAME,
            waited: DATANODES_WITHIN,
            log: "not all DataNodes have registered".to_owned(),
        })
    }

    /// Whether all `DataNodes` have said what room they have, and the `NameNode` lets clients write.
    fn is_complete(&self, information: &serde_json::Value) -> bool {
        // A text that holds JSON.
        let live = information["LiveNodes"].as_str().map(serde_json::from_str::<serde_json::Value>);
        let Some(Ok(serde_json::Value::Object(live))) = live else { return false };
        let roomy = live.values().filter(|node| node["capacity"].as_u64() > Some(0)).count();
        roomy == self.datanodes.len() && information["Safemode"] == ""
    }
}

fn namenode(installed: &Path, place: &Place, pages: &Port, settings: &[(&str, &str)]) -> Result<Launch, Error> {
    let (address, pages, replication) = (place.port.address(), pages.address(), DATANODES.to_string());
    let (url, data) = (format!("hdfs://{address}"), place.path().join("data").display().to_string());
    let own = [
        ("fs.defaultFS", url.as_str()),
        ("dfs.namenode.rpc-address", &address),
        ("dfs.namenode.http-address", &pages),
        ("dfs.namenode.name.dir", &data),
        ("dfs.namenode.safemode.extension", "0"),
        ("dfs.namenode.file.close.num-committed-allowed", "1"),
        ("dfs.replication", &replication),
    ];
    launch(installed, place.path(), "namenode.NameNode", &[&own[..], settings].concat())
}

fn datanode(installed: &Path, place: &Place, namenode: &str, settings: &[(&str, &str)]) -> Result<Launch, Error> {
    let (url, data) = (format!("hdfs://{namenode}"), place.path().join("data").display().to_string());
    let address = place.port.address();
    let own = [
        ("fs.defaultFS", url.as_str()),
        ("dfs.datanode.data.dir", &data),
        ("dfs.datanode.hostname", "127.0.0.1"),
        ("dfs.datanode.address", &address),
        ("dfs.datanode.http.address", "127.0.0.1:0"),
        ("dfs.datanode.ipc.address", "127.0.0.1:0"),
    ];
    launch(installed, place.path(), "datanode.DataNode", &[&own[..], settings].concat())
}

/// Links the jars into the server's folder and says how to run one of Hadoop's servers there.
fn launch(installed: &Path, folder: &Path, class: &str, settings: &[(&str, &str)]) -> Result<Launch, Error> {
    for name in ["lib", "classes"] {
        let link = folder.join(name);
        std::os::unix::fs::symlink(installed.join(name), &link).map_err(Error::io("create", &link))?;
    }
    Ok(Launch {
        program: "java".into(),
        arguments: arguments(class, settings),
        environment: vec![("HADOOP_USER_NAME", USER.into())],
    })
}

fn arguments(class: &str, settings: &[(&str, &str)]) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = JVM.map(Into::into).into();
    arguments.push(format!("org.apache.hadoop.hdfs.server.{class}").into());
    for (name, value) in settings {
        arguments.extend(["-D".into(), format!("{name}={value}").into()]);
    }
    arguments
}

fn fill(folder: &Path) -> Result<(), Error> {
    let lib = folder.join("lib");
    cache::run(
        NAME,
        Command::new("mvn")
            .args(["--quiet", "--batch-mode", "dependency:copy-dependencies", "-DincludeScope=runtime"])
            .arg("--file")
            .arg(cache::recipe("hdfs/pom.xml"))
            .arg(format!("-DoutputDirectory={}", lib.display())),
    )?;
    // Both servers want a folder for pages of their own, and do without the pages.
    for name in ["classes/webapps/hdfs", "classes/webapps/datanode"] {
        let pages = folder.join(name);
        fs::create_dir_all(&pages).map_err(Error::io("create", &pages))?;
    }
    let log = folder.join("classes/log4j.properties");
    fs::copy(cache::recipe("hdfs/log4j.properties"), &log).map_err(Error::io("write", &log))?;

    // Formatting starts a JVM; an empty file system looks the same every time, so do it once.
    let formatted = folder.join("formatted");
    let mut format = arguments("namenode.NameNode", &[("dfs.namenode.name.dir", &formatted.display().to_string())]);
    format.extend(["-format".into(), "-nonInteractive".into()]);
    cache::run(NAME, Command::new("java").current_dir(folder).env("HADOOP_USER_NAME", USER).args(format))
}
