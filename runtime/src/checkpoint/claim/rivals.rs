//! Two healthy processes that can't reach each other, such as two clusters with one `jobId` and one storage; or that don't ask
//! each other, since both have one name.
//!
//! Each takes the other for gone, seals it, and is sealed in turn; nothing is lost by that, and neither gets on. So who
//! was sealed while it was well does not rest on the other's silence any more: it watches the log, and takes the job only
//! from one that has written nothing for a while. The while doubles each time, until it is longer than whatever lies
//! between two checkpoints of the other.

use std::time::Duration;

use super::{ClaimError, Neighbours, read_newest, run_by};
use crate::{
    checkpoint::{log::AttemptLog, store::Store},
    env,
};

const FIRST_WATCH: Duration = Duration::from_millis(if cfg!(test) { 10 } else { 10_000 });
const LONGEST_WATCH: Duration = Duration::from_mins(10);

/// Watches the owner of an open attempt, which does not answer, by one that was deposed so often. Whether it goes on.
pub(super) async fn writes_on(
    store: &dyn Store,
    log: &AttemptLog,
    deposed: u32,
    is_namesake: bool,
    neighbours: &dyn Neighbours,
) -> Result<bool, ClaimError> {
    let watch = FIRST_WATCH.saturating_mul(2_u32.saturating_pow(deposed - 1)).min(LONGEST_WATCH);
    let (silence, remedy) = if is_namesake {
        ("has its name", "Two processes that run one job need a `--pod-name` of their own each")
    } else {
        ("does not answer it", "Two clusters that run one job need a `jobId` or a storage of their own each")
    };
    let why = format!(
        "it has taken the job from this process, and {silence}; the job is taken back when that has written nothing to the \
         log for {watch:?}. {remedy}"
    );
    neighbours.waits(run_by(&log.owner, log.attempt, &why));
    env::sleep(watch).await;
    let now = read_newest(store).await?;
    Ok(now.is_some_and(|now| (now.attempt, now.next) != (log.attempt, log.next)))
}
