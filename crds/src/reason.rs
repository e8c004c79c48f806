//! The reasons that a condition can have, each with what it means and what to do: the guide's table is made of them.

/// A type of condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConditionType {
    /// As in `status.conditions[].type`.
    pub name: &'static str,
    /// What it means when it is true.
    pub meaning: &'static str,
}

macro_rules! conditions {
    ($($constant:ident = $name:literal: $meaning:literal;)*) => {
        impl ConditionType {
            $(pub const $constant: Self = Self { name: $name, meaning: $meaning };)*
            /// All of them, in the order of the status.
            pub const ALL: &[Self] = &[$(Self::$constant),*];
        }
    };
}

conditions! {
    READY = "Ready": "The job runs as the spec asks: what `kubectl wait --for=condition=Ready` waits for.";
    RECONCILING = "Reconciling": "Something is under way that ends by itself.";
    STALLED = "Stalled": "Nothing goes on until somebody changes something.";
    CHECKPOINT_HEALTHY = "CheckpointHealthy": "The newest tries to take a checkpoint went well.";
    SINK_HEALTHY = "SinkHealthy": "Every sink takes what it is given.";
    UPGRADE_BLOCKED = "UpgradeBlocked": "The changed spec can't run; the version before goes on.";
}

/// One reason of one or more conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reason {
    /// As in `status.conditions[].reason`.
    pub name: &'static str,
    pub meaning: &'static str,
    pub remedy: &'static str,
}

macro_rules! reasons {
    ($($constant:ident = $name:literal: $meaning:literal => $remedy:literal;)*) => {
        impl Reason {
            $(pub const $constant: Self = Self { name: $name, meaning: $meaning, remedy: $remedy };)*
            /// All of them, in the order of a job's life.
            pub const ALL: &[Self] = &[$(Self::$constant),*];
        }
    };
}

reasons! {
    RUNNING = "Running": "The job owns its log and its tasks run." => "Nothing.";
    PROGRESSING = "Progressing": "The job is on its way to what the spec asks for." => "Wait; the message says for what.";
    SETTLED = "Settled": "Nothing is under way." => "Nothing.";
    HEALTHY = "Healthy": "All is as it should be." => "Nothing.";
    UNKNOWN = "Unknown": "The job does not run, so nobody can say." => "See `Ready`.";
    SUSPENDED = "Suspended": "`spec.state` is `Suspended`; the job stands at its newest checkpoint." => "Set `spec.state: Running` to go on from it.";
    FINISHED = "Finished": "All bounded sources are read to their end and everything is published." => "Nothing. To run more, make a new job.";
    TERMINATING = "Terminating": "The StreamJob is being deleted; the job takes its last checkpoint." => "Wait, at most `spec.deletionDeadline`.";
    SPEC_INVALID = "SpecInvalid": "The spec contradicts itself; nothing was changed for it, and what ran before goes on." => "Change the fields that the message names.";
    NAME_TAKEN = "NameTaken": "An object of the name that the job needs exists and belongs to somebody else." => "Rename the StreamJob, or delete that object.";
    DOCUMENT_INVALID = "DocumentInvalid": "The SQL can't be planned, or does not fit sources and sinks." => "Change what the message names; it has line and column.";
    SECRET_MISSING = "SecretMissing": "A Secret that the spec names, or its key, does not exist." => "Create it in the job's namespace; the pod starts by itself.";
    STORAGE_UNREACHABLE = "StorageUnreachable": "The checkpoint storage does not answer, or denies access." => "Check `spec.checkpoint.storage` (endpoint, region), the network to it and, if the message says so, the rights of the key (guide: S3 permissions); the job tries again by itself.";
    STORAGE_UNFIT = "StorageUnfit": "The checkpoint storage refuses: credentials, rights, bucket, or no conditional creation." => "Check the credentials and their rights (guide: S3 permissions); the message has the store's answer.";
    SOURCE_UNREACHABLE = "SourceUnreachable": "The brokers of a source do not answer." => "Check `bootstrapServers`, security and the network to them; the job tries again by itself.";
    SOURCE_UNFIT = "SourceUnfit": "A source can't be read as the spec says: no such topic, no right, a place that retention has deleted." => "Change what the message names.";
    SINK_UNREACHABLE = "SinkUnreachable": "The system of a sink does not answer." => "Check its address and the network to it; checkpoints go on meanwhile, and their output waits.";
    SINK_UNFIT = "SinkUnfit": "A sink can't take the rows as promised: no such table, another column, a deduplication window too short." => "The message has the statement that makes it fit.";
    STATE_UNFIT = "StateUnfit": "The newest checkpoint and the spec do not fit each other." => "Take back the change that the message names; or, to begin without state, delete the StreamJob and make it anew with another `jobId`.";
    OWNED_ELSEWHERE = "OwnedElsewhere": "Another healthy process runs the job of this `jobId`." => "Find it by the address in the message, and stop it, or set another `jobId`.";
    SUPERSEDED = "Superseded": "A newer revision runs the job of this `jobId`: another StreamJob or another cluster; or the job was cancelled and deleted." => "Delete one of the two, or give it another `jobId`.";
    SLOTS_MISSING = "SlotsMissing": "The workers that are there have fewer slots than `spec.parallelism`." => "Wait for the workers that are still to come; if none are, look at their pods, or raise their number.";
    WORKER_LOST = "WorkerLost": "A worker has left or does not answer; the job goes on with the others, from its newest checkpoint." => "Wait; if it stays so, look at the worker that the message names.";
    LOCAL_DISK_FAILED = "LocalDiskFailed": "The local disk of a pod is full, or does not work; the job starts again by its restart strategy." => "The message has the system's answer. Give the pods more `ephemeral-storage` (guide: State), or spread the state by `parallelism`.";
    TASK_FAILED = "TaskFailed": "A task failed; the job starts again by its restart strategy." => "If it comes again, change what the message names.";
    RESTARTS_EXHAUSTED = "RestartsExhausted": "The restart strategy has given up." => "Mend the cause in the message; any change of the spec starts the job again.";
    IMAGE_ERROR = "ImageError": "The image can't be pulled." => "Check `spec.image` and `spec.template.imagePullSecrets`.";
    UNSCHEDULABLE = "Unschedulable": "No node takes the pod." => "Lower `spec.template.resources`, or change nodeSelector, affinity or tolerations; the message has the scheduler's words.";
    POD_REFUSED = "PodRefused": "Kubernetes does not accept the pod: quota, admission policy, a missing ServiceAccount." => "The message has the refusal.";
    OUT_OF_MEMORY = "OutOfMemory": "The pod used more memory than its limit and was killed." => "Raise `spec.template.resources.limits.memory`, or spread the state by `parallelism`.";
    NODE_LOST = "NodeLost": "The pod's node does not answer; the job starts on another." => "Wait; if it stays so, look for free nodes.";
    CRASHED = "Crashed": "The process ended in a way it could not explain." => "`kubectl logs --previous` of the pod; please report it.";
    UNRESPONSIVE = "Unresponsive": "The pod runs and its API does not answer." => "Check that a NetworkPolicy lets the operator reach port 8081; else wait, liveness restarts it.";
    CHECKPOINTS_FAILING = "CheckpointsFailing": "The newest tries to take a checkpoint failed." => "The message has the cause; output since the last one is held back.";
    SINK_FAILING = "SinkFailing": "A sink refuses or does not answer; its output waits in the checkpoints." => "The message has its answer; when `maxPendingEpochs` wait, the sources pause.";
    NEW_REVISION_REFUSED = "NewRevisionRefused": "The changed spec can't run; the version before goes on." => "The message says why; change the spec again.";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_of_kubernetes_form() {
        let names: BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.name).collect();
        assert_eq!(names.len(), Reason::ALL.len());
        for name in names {
            assert!(name.chars().all(char::is_alphanumeric) && name.starts_with(char::is_uppercase), "{name}");
        }
    }
}
