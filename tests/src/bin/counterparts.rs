//! `counterparts`: installs the real servers that the tests use, or runs them for a person.

#![allow(clippy::disallowed_methods)] // real servers live in real time, outside any simulation

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, Subcommand, ValueEnum};
use tidegate_tests::counterparts::cache::Program;
use tidegate_tests::counterparts::{
    ClickHouse, Cluster, Error, Hdfs, Kafka, S3, clickhouse, cluster, hdfs, kafka, s3, toxiproxy,
};
use tidegate_tests::differential;

/// Real servers for Tidegate's tests, from a cache below ~/.cache/tidegate/counterparts.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Install servers into the cache; quick when all is there.
    Fetch {
        /// All that can run here if none is named.
        servers: Vec<Name>,
    },
    /// Print the folder of a server's programs, after installing them if needed.
    Where { server: Name },
    /// Start servers, print their addresses for a shell to evaluate, and keep them running until
    /// Ctrl-C or the end of standard input. Their data goes when they do.
    Up {
        /// All but the cluster if none is named. Beside a cluster, its pods reach the others, except HDFS.
        servers: Vec<Name>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
enum Name {
    Kafka,
    S3,
    Hdfs,
    ClickHouse,
    Cluster,
    /// Says what random jobs must put out; no server.
    DuckDb,
}

impl Name {
    fn program(self) -> Program {
        match self {
            Self::Kafka => kafka::PROGRAM,
            Self::S3 => s3::PROGRAM,
            Self::Hdfs => hdfs::PROGRAM,
            Self::ClickHouse => clickhouse::PROGRAM,
            Self::Cluster => cluster::PROGRAM,
            Self::DuckDb => differential::PROGRAM,
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Fetch { servers } => fetch(&servers).await,
        Task::Where { server } => server.program().ready().await.map(|folder| println!("{}", folder.display())),
        Task::Up { servers } => up(&servers).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprint!("counterparts: {error}");
            let mut cause = std::error::Error::source(&error);
            while let Some(error) = cause {
                eprint!(": {error}");
                cause = error.source();
            }
            eprintln!();
            ExitCode::FAILURE
        }
    }
}

async fn fetch(servers: &[Name]) -> Result<(), Error> {
    let mut programs: Vec<Program> = servers.iter().map(|name| name.program()).collect();
    if servers.is_empty() {
        programs = vec![
            kafka::PROGRAM,
            s3::PROGRAM,
            hdfs::PROGRAM,
            clickhouse::PROGRAM,
            toxiproxy::PROGRAM,
            differential::PROGRAM,
        ];
        match Cluster::available() {
            Ok(()) => programs.push(cluster::PROGRAM),
            Err(reason) => println!("{}: left out, and tests that need it will be: {reason}", cluster::PROGRAM.name),
        }
    }
    for program in programs {
        let started = Instant::now();
        let folder = program.ready().await?;
        println!(
            "{:<12} {:<8} {:>6.1} s {:>5} MB  {}",
            program.name,
            program.version,
            started.elapsed().as_secs_f64(),
            size(&folder) / 1_000_000,
            folder.display()
        );
    }
    Ok(())
}

async fn up(servers: &[Name]) -> Result<(), Error> {
    let wanted = |name| if servers.is_empty() { name != Name::Cluster } else { servers.contains(&name) };
    // Held until the end of this function: dropping a server stops it.
    let mut cluster = None;
    let mut kafka = None;
    let mut s3 = None;
    let mut hdfs = None;
    let mut clickhouse = None;
    let mut address = IpAddr::from(Ipv4Addr::LOCALHOST);
    if wanted(Name::Cluster) {
        let server = cluster.insert(Cluster::start().await?);
        if let Ok(host) = server.host_address() {
            address = host;
        }
        println!("export KUBECONFIG='{0}' {1}='{0}'", server.kubeconfig().display(), cluster::VARIABLE);
    }
    if wanted(Name::Kafka) {
        let server = kafka.insert(Kafka::start_at(address).await?);
        println!("export {}='{}'", kafka::VARIABLE, server.bootstrap());
    }
    if wanted(Name::S3) {
        let server = s3.insert(S3::start_at(address).await?);
        println!(
            "export {}='{},{},{},{}'",
            s3::VARIABLE,
            server.endpoint(),
            server.bucket(),
            server.access_key(),
            server.secret_key()
        );
    }
    if wanted(Name::Hdfs) {
        let server = hdfs.insert(Hdfs::start().await?);
        println!("export {}='{},{}'", hdfs::VARIABLE, server.namenode(), server.user());
    }
    if wanted(Name::ClickHouse) {
        let server = clickhouse.insert(ClickHouse::start_at(address).await?);
        println!("export {}='{}'", clickhouse::VARIABLE, server.url());
    }
    eprintln!("counterparts: running until Ctrl-C or the end of standard input");

    let (closed, closing) = tokio::sync::oneshot::channel();
    // A thread of its own: a blocked read must not delay the end.
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = closed.send(());
    });
    tokio::select! {
        biased;
        _ = tokio::signal::ctrl_c() => {}
        _ = closing => {}
    }
    Ok(())
}

/// Bytes of the files below a folder, as far as they can be read.
fn size(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}
