//! What a job's process can be asked over HTTP: the router and the reference are made of this table.

/// What a call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    Status,
    Checkpoints,
    Checkpoint,
    TakeCheckpoint,
    Savepoints,
    Savepoint,
    TakeSavepoint,
    DeleteSavepoint,
    Rescale,
    Stop,
    Metrics,
    Live,
    Ready,
}

/// One call of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    pub call: Call,
    pub method: &'static str,
    /// With `{name}` where a part of it is given.
    pub path: &'static str,
    pub meaning: &'static str,
    /// Type of the body, by its name in [`crate::api`].
    pub takes: Option<&'static str>,
    /// Type of the answer's body, by its name in [`crate::api`]; else it is text, or there is none.
    pub gives: Option<&'static str>,
    /// How it is answered, but for what no call is: 400, for a body or a path that can't be read.
    pub answers: &'static str,
}

macro_rules! endpoints {
    ($($call:ident = $method:ident $path:literal $(($takes:ident))? $(-> $gives:ident)?: $answers:literal, $meaning:literal;)*) => {
        impl Endpoint {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self {
                call: Call::$call,
                method: stringify!($method),
                path: $path,
                meaning: $meaning,
                takes: named!($($takes)?),
                gives: named!($($gives)?),
                answers: $answers,
            }),*];
        }
    };
}

macro_rules! named {
    () => {
        None
    };
    ($type:ident) => {
        Some(stringify!($type))
    };
}

endpoints! {
    Status = GET "/v1/status" -> JobStatus: "200",
        "Where the job stands.";
    Checkpoints = GET "/v1/checkpoints" -> CheckpointHistory: "200",
        "The newest hundred checkpoints of this process, completed and failed.";
    Checkpoint = GET "/v1/checkpoints/{epoch}" -> CheckpointDetails: "200; 404, when it is not in the history",
        "One of them, with each subtask's share.";
    TakeCheckpoint = POST "/v1/checkpoints" -> JobStatus: "202; 409, while the job does not run",
        "Takes a checkpoint now, whatever the interval. The history tells what came of it.";
    Savepoints = GET "/v1/savepoints" -> SavepointHistory: "200",
        "The savepoints that this process was asked for.";
    Savepoint = GET "/v1/savepoints/{name}" -> SavepointStatus: "200; 404, when this process was not asked for it",
        "One of them.";
    TakeSavepoint = POST "/v1/savepoints" (SavepointRequest) -> SavepointStatus:
        "202; 409, when the name is taken, another one is in progress, or the job does not run",
        "Takes a savepoint, a copy of a checkpoint that nobody deletes, while the job goes on.";
    DeleteSavepoint = DELETE "/v1/savepoints/{name}": "204; 404, when there is none; 409, while the job does not run",
        "Deletes a savepoint.";
    Rescale = POST "/v1/rescale" (RescaleRequest) -> JobStatus:
        "202; 409, when there are too few slots, a sink can't take so many writers, or the job does not run",
        "Goes on with another parallelism, from a checkpoint, in the same processes.";
    Stop = POST "/v1/stop" (StopRequest) -> JobStatus:
        "202, as often as it is asked; with `savepoint`, as `POST /v1/savepoints`",
        "Stops the job; the phase says when it is done.";
    Metrics = GET "/metrics": "200, OpenMetrics",
        "What the process counts: see [metrics](metrics.md).";
    Live = GET "/livez": "200; 503, when the coordinator hangs",
        "Whether a restart of the process would help.";
    Ready = GET "/readyz": "200; 503, with the phase",
        "Whether the job owns its log and its tasks run.";
}
