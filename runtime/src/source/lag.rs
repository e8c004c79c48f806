//! How far a reader is behind what there is.
//!
//! Beside a reader runs a [`LagWatch`], which asks the system once a second where it ends. It does not go through the
//! reader, since a reader that is paused, or waits for the tasks behind it, is the one whose lag people want to see.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::{runtime::Handle, task::JoinHandle};

use super::SourceError;
use crate::env;

/// Pause between two questions.
const INTERVAL: Duration = Duration::from_secs(1);

/// Knows how far one reader is behind.
#[async_trait]
pub trait LagProbe: Send + Sync {
    /// Records that are there and have not been handed over.
    async fn lag(&self) -> Result<u64, SourceError>;
}

/// Asks a reader's probe again and again; ends when dropped.
#[derive(Debug)]
pub struct LagWatch(JoinHandle<()>);

impl LagWatch {
    /// `tell` hears of every change; nothing, while the system does not answer.
    pub fn start(probe: Arc<dyn LagProbe>, io: &Handle, tell: impl Fn(Option<u64>) + Send + 'static) -> Self {
        Self(io.spawn(async move {
            let mut told = None;
            loop {
                let lag = match probe.lag().await {
                    Ok(lag) => Some(lag),
                    Err(error) => {
                        tracing::debug!(error = crate::error_chain(&error), "the lag is not known");
                        None
                    }
                };
                if lag != told {
                    told = lag;
                    tell(lag);
                }
                env::sleep(INTERVAL).await;
            }
        }))
    }
}

impl Drop for LagWatch {
    fn drop(&mut self) {
        self.0.abort();
    }
}
