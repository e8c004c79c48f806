//! The Kubernetes operator of Tidegate: argument parsing and wiring.
//!
//! A record's way is the runtime's; a job's way is here: [`controller`] watches, [`reconcile`] looks, decides and acts,
//! [`build`] says what a job consists of, [`coordinator_client`] asks the job how it fares.

mod arguments;
mod backoff;
mod build;
mod clock;
mod controller;
mod coordinator_client;
mod digest;
#[cfg(test)]
mod fake;
mod http;
mod leader;
mod metrics;
mod reconcile;
mod run;

use std::{io::stderr, process::ExitCode};

use arguments::{Arguments, LogFormat};
use clap::Parser;
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    match arguments.log_format {
        LogFormat::Text => logs.init(),
        LogFormat::Json => logs.json().init(),
    }
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        tracing::debug!("TLS has its cryptography already");
    }
    match run::run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = controller::chain(&error), "the operator ends");
            ExitCode::FAILURE
        }
    }
}
