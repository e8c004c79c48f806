//! A `StreamJob` that this operator can't read: one that another version of the definition accepted, or with a value that
//! the definition can't tell from a good one.
//!
//! What runs is left alone and the status says what is wrong. A deletion does not wait: Kubernetes ends the pod, whose
//! process takes a last checkpoint then, and keeps it.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Api, Resource, ResourceExt,
    api::{Patch, PatchParams},
    core::{DynamicObject, error_boundary::InvalidObject},
    discovery::ApiResource,
    runtime::{controller::Action, events::EventType},
};
use serde_json::json;
use tidegate_crds::{StreamJobResource, StreamJobStatus};

use super::{Context, ReconcileError, announce, status, write_status};
use crate::{build::FINALIZER, clock};

/// Says what is wrong, or lets go.
pub async fn step(invalid: &InvalidObject, context: &Context) -> Result<Action, ReconcileError> {
    context.metrics.failed("unreadable");
    let metadata = &invalid.metadata;
    let (name, namespace) = (metadata.name.clone().unwrap_or_default(), metadata.namespace.clone().unwrap_or_default());
    tracing::error!(name, namespace, error = invalid.error, "a StreamJob can't be read");
    let kind = ApiResource::erase::<StreamJobResource>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(context.client.clone(), &namespace, &kind);
    let object = api.get_opt(&name).await.map_err(|error| ReconcileError::Status(Box::new(error)))?;
    let Some(object) = object else { return Ok(Action::await_change()) };
    // One that a newer definition wrote may not be readable as a whole.
    let before: StreamJobStatus = serde_json::from_value(object.data["status"].clone()).unwrap_or_default();
    let of = ObjectReference { resource_version: object.resource_version(), ..object.object_ref(&kind) };
    if metadata.deletion_timestamp.is_none() {
        let after = status::unreadable(&before, metadata.generation, &invalid.error, clock::now());
        if before != after {
            write_status(context, &of, &before, after).await?;
        }
    } else if object.finalizers().iter().any(|finalizer| finalizer == FINALIZER) {
        let_go(context, &api, &object, &of, &before).await?;
    }
    Ok(Action::await_change())
}

async fn let_go(
    context: &Context,
    api: &Api<DynamicObject>,
    object: &DynamicObject,
    of: &ObjectReference,
    status: &StreamJobStatus,
) -> Result<(), ReconcileError> {
    let kept = status.storage.as_ref().map_or_else(
        || "it never ran, and has no checkpoints".to_owned(),
        |storage| format!("its pod takes a last checkpoint as it ends, and all checkpoints stay in {storage}"),
    );
    let note = format!("the spec can't be read, so the job is ended as Kubernetes ends a pod; {kept}");
    announce::publish(context, of, EventType::Warning, "Deleted", note).await;
    let finalizers: Vec<&String> = object.finalizers().iter().filter(|finalizer| *finalizer != FINALIZER).collect();
    let patch = json!({ "metadata": { "finalizers": finalizers, "resourceVersion": object.resource_version() } });
    match api.patch(&object.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await {
        Err(kube::Error::Api(answer)) if answer.code == 404 => Ok(()),
        other => other.map(drop).map_err(|error| ReconcileError::Status(Box::new(error))),
    }
}
