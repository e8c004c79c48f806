//! One Apache Kafka broker, which is its own controller (`KRaft`), on loopback unless told otherwise.
//!
//! Small on purpose: 256 MB of heap, one replica of everything, four partitions for offsets and
//! transactions. Topics are not created by themselves. A transaction that timed out is aborted
//! within a second of its timeout, which may be up to an hour.
//!
//! A broker that was killed can't register again before its old registration ran out, which takes
//! twelve seconds; a restart takes that much longer than a first start.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Command;

mod secured;

pub use secured::Secured;

use super::Error;
use super::cache::{self, Program};
use super::port::Port;
use super::process::Launch;
use super::server::{Origin, Place, Server, controlled, named_by};

/// Names a broker to use instead of ours, as `host:port[,host:port…]`.
pub const VARIABLE: &str = "TIDEGATE_TEST_KAFKA";

const NAME: &str = "kafka";

/// The broker's jars in `lib/`, the metadata folder of an empty cluster in `formatted/`, and the
/// JVM's archive of loaded classes.
pub const PROGRAM: Program = Program { name: NAME, version: "4.3.1", fill };

/// Any 16 bytes in base64; every broker of ours is a cluster of its own.
const CLUSTER_ID: &str = "dGlkZWdhdGUtdGVzdHMtMQ";

/// Class path and options; run in a folder that has the jars in `lib`.
const JVM: [&str; 6] = [
    "-cp",
    "lib/*",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xshare:auto",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
];

/// A running broker.
#[derive(Debug)]
pub struct Kafka {
    bootstrap: String,
    origin: Origin,
    /// Held so that the controller's port is still free at a restart.
    _controller: Option<Port>,
    secured: Option<Secured>,
}

controlled!(Kafka);

impl Kafka {
    /// Starts an empty broker (about two seconds), or takes the one named by [`VARIABLE`].
    pub async fn start() -> Result<Self, Error> {
        Self::start_at(Ipv4Addr::LOCALHOST.into()).await
    }

    /// As [`Kafka::start`], on another address of this machine, such as that of the pods of a [`super::Cluster`].
    pub async fn start_at(address: IpAddr) -> Result<Self, Error> {
        if let Some(bootstrap) = named_by(VARIABLE) {
            return Ok(Self {
                bootstrap,
                origin: Origin::Theirs { server: NAME, variable: VARIABLE },
                _controller: None,
                secured: None,
            });
        }
        Self::start_own(address, false).await
    }

    /// Starts an empty broker of our own that also listens with TLS and asks for a password.
    pub async fn start_secured() -> Result<Self, Error> {
        Self::start_own(Ipv4Addr::LOCALHOST.into(), true).await
    }

    async fn start_own(address: IpAddr, secured: bool) -> Result<Self, Error> {
        let installed = PROGRAM.ready().await?;
        let place = Place::reserve_at(NAME, address)?;
        let controller = Port::reserve()?;
        let secured = if secured { Some(Secured::prepare(place.path())?) } else { None };
        let archive = format!("-XX:SharedArchiveFile={}", archive(&installed).display());
        let launch = launch(&installed, &place, &controller, secured.as_ref(), &archive)?;
        let server = Server::start(NAME, place, launch).await?;
        Ok(Self { bootstrap: server.address(), origin: server.into(), _controller: Some(controller), secured })
    }

    /// The way in by TLS and password, of a broker that has one.
    pub fn secured(&self) -> Option<&Secured> {
        self.secured.as_ref()
    }

    /// For `bootstrap.servers`.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Starts the broker again with the same address and data.
    pub async fn restart(&mut self) -> Result<(), Error> {
        self.origin.ours("restart")?.restart().await
    }
}

/// Lays out the broker's folder and says how to run it there.
fn launch(
    installed: &Path,
    place: &Place,
    controller: &Port,
    secured: Option<&Secured>,
    archive: &str,
) -> Result<Launch, Error> {
    let data = place.path().join("data");
    cache::copy_folder(&installed.join("formatted"), &data)?;
    // The JVM refuses an archive of classes if the class path isn't the same, letter by letter.
    let lib = place.path().join("lib");
    std::os::unix::fs::symlink(installed.join("lib"), &lib).map_err(Error::io("create", &lib))?;
    let properties = place.path().join("server.properties");
    let address = place.port.address();
    let mut text = server_properties(&data, &address, &controller.address(), secured.map(Secured::address));
    text.extend(secured.map(|secured| secured.properties(place.path())));
    fs::write(&properties, text).map_err(Error::io("write", &properties))?;

    let mut arguments = vec!["-Xms256m".into(), "-Xmx256m".into(), archive.into()];
    arguments.extend(JVM.map(Into::into));
    arguments.extend(["kafka.Kafka".into(), properties.into()]);
    Ok(Launch { program: "java".into(), arguments, environment: Vec::new() })
}

fn fill(folder: &Path) -> Result<(), Error> {
    let lib = folder.join("lib");
    cache::run(
        NAME,
        Command::new("mvn")
            .args(["--quiet", "--batch-mode", "dependency:copy-dependencies"])
            .arg("--file")
            .arg(cache::recipe("kafka/pom.xml"))
            .arg(format!("-DoutputDirectory={}", lib.display())),
    )?;

    // Formatting starts a JVM; an empty cluster looks the same every time, so do it once.
    let formatted = folder.join("formatted");
    let properties = folder.join("format.properties");
    let text = server_properties(&formatted, "127.0.0.1:9092", "127.0.0.1:9093", None);
    fs::write(&properties, text).map_err(Error::io("write", &properties))?;
    cache::run(
        NAME,
        Command::new("java")
            .current_dir(folder)
            .args(JVM)
            .args(["kafka.tools.StorageTool", "format", "--config"])
            .arg(&properties)
            .args(["--cluster-id", CLUSTER_ID]),
    )?;
    archive_classes(folder)
}

/// Starts and ends one broker, of which the JVM keeps the classes it loaded, in the shape it
/// wants them in: this halves the time and the work of every later start.
fn archive_classes(folder: &Path) -> Result<(), Error> {
    let place = Place::reserve(NAME)?;
    let controller = Port::reserve()?;
    let option = format!("-XX:ArchiveClassesAtExit={}", archive(folder).display());
    let launch = launch(folder, &place, &controller, None, &option)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(Error::io("start a runtime to fill", folder))?;
    runtime.block_on(async {
        let mut server = Server::start(NAME, place, launch).await?;
        server.terminate().await
    })
}

fn archive(installed: &Path) -> PathBuf {
    installed.join("broker.jsa")
}

fn server_properties(data: &Path, broker: &str, controller: &str, secured: Option<String>) -> String {
    let secured = secured.map(|address| format!(",SASL_SSL://{address}")).unwrap_or_default();
    format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{controller}
listeners=PLAINTEXT://{broker},CONTROLLER://{controller}{secured}
advertised.listeners=PLAINTEXT://{broker}{secured}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL
log.dirs={data}
auto.create.topics.enable=false
# A killed broker waits for its old session before it may register again. One that lives must not lose its session on a
# machine that is busy with other things: it would have no topics and no leaders then.
broker.session.timeout.ms=12000
broker.heartbeat.interval.ms=1000
group.initial.rebalance.delay.ms=0
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
transaction.max.timeout.ms=3600000
# One broker: one replica of everything.
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
# Small: few threads, few partitions of its own topics.
num.network.threads=2
num.io.threads=2
num.replica.fetchers=1
background.threads=2
log.cleaner.threads=1
log.cleaner.dedupe.buffer.size=4194304
offsets.topic.num.partitions=4
transaction.state.log.num.partitions=4
share.coordinator.state.topic.num.partitions=1
",
        data = data.display()
    )
}
