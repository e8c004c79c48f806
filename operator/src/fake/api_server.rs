//! Objects by kind and name, changed by requests as the real API server would.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard},
};

use http::{Method, Request, Response, StatusCode};
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tower::service_fn;

use super::NAMESPACE;

/// Seconds since 1970, as an object's time.
const CREATED: &str = "2026-01-01T00:00:00Z";

#[derive(Debug, Clone, Default)]
pub struct ApiServer {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// By kind (the plural in the address) and name.
    objects: BTreeMap<(String, String), Value>,
    version: u64,
    writes: Vec<String>,
    /// Writes that are still carried out before every call fails.
    lives: Option<usize>,
    /// Objects of this kind are invalid.
    invalid: Option<String>,
}

impl ApiServer {
    pub fn client(&self) -> Client {
        let server = self.clone();
        let service = service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        });
        Client::new(service, NAMESPACE)
    }

    /// Every write so far: `verb kind/name`, in order. Events are left out: they change nothing.
    pub fn writes(&self) -> Vec<String> {
        self.lock().writes.clone()
    }

    pub fn forget_writes(&self) {
        self.lock().writes.clear();
    }

    /// From now on `writes` are carried out, and then every call fails.
    pub fn die_after(&self, writes: usize) {
        self.lock().lives = Some(writes);
    }

    /// Ends [`ApiServer::die_after`]; says whether it came to that.
    pub fn revive(&self) -> bool {
        self.lock().lives.take() == Some(0)
    }

    /// From now on every object of a kind is found invalid.
    pub fn reject(&self, kind: &str) {
        self.lock().invalid = Some(kind.to_owned());
    }

    pub fn get(&self, kind: &str, name: &str) -> Option<Value> {
        self.lock().objects.get(&(kind.to_owned(), name.to_owned())).cloned()
    }

    pub fn list(&self, kind: &str) -> Vec<Value> {
        self.lock().objects.iter().filter(|((of, _), _)| of == kind).map(|(_, object)| object.clone()).collect()
    }

    /// As a user or a controller of Kubernetes would.
    pub fn create(&self, kind: &str, object: Value) {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        self.lock().store(kind, &name, object);
    }

    pub fn change(&self, kind: &str, name: &str, patch: Value) {
        let mut state = self.lock();
        let mut object = state.objects[&(kind.to_owned(), name.to_owned())].clone();
        merge(&mut object, &patch);
        state.store(kind, name, object);
    }

    pub fn delete(&self, kind: &str, name: &str) {
        self.lock().delete(kind, name);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let body = body.collect_bytes().await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        // /apis/<group>/<version>/namespaces/<namespace>/<kind>[/<name>[/<subresource>]]
        let path: Vec<&str> = parts.uri.path().split('/').skip_while(|step| *step != "namespaces").skip(2).collect();
        let (kind, name, subresource) = (path[0], path.get(1).copied().unwrap_or(""), path.get(2).copied());
        let (status, answer) = self.lock().serve(&parts.method, kind, name, subresource, body);
        let bytes = serde_json::to_vec(&answer).unwrap();
        Response::builder().status(status).body(Body::from(bytes)).unwrap()
    }
}

fn failure(code: StatusCode, reason: &str) -> (StatusCode, Value) {
    let status = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "code": code.as_u16(), "reason": reason, "message": reason });
    (code, status)
}

impl State {
    fn serve(
        &mut self,
        method: &Method,
        kind: &str,
        name: &str,
        subresource: Option<&str>,
        body: Value,
    ) -> (StatusCode, Value) {
        if kind == "events" {
            return (StatusCode::CREATED, body);
        }
        if self.lives == Some(0) {
            return failure(StatusCode::SERVICE_UNAVAILABLE, "Dead");
        }
        let there = self.objects.get(&(kind.to_owned(), name.to_owned())).cloned();
        if method == Method::GET {
            return there.map_or_else(|| failure(StatusCode::NOT_FOUND, "NotFound"), |object| (StatusCode::OK, object));
        }
        let made = body["metadata"]["name"].as_str().unwrap_or(name).to_owned();
        let name = if method == Method::POST { &made } else { name };
        self.lives = self.lives.map(|lives| lives - 1);
        let place = subresource.map_or_else(|| format!("{kind}/{name}"), |part| format!("{kind}/{name}/{part}"));
        self.writes.push(format!("{method} {place}"));
        match (method, there) {
            (&Method::PATCH, there) => self.patch(kind, name, subresource, there, body),
            (&Method::DELETE, Some(object)) => {
                self.delete(kind, name);
                (StatusCode::OK, object)
            }
            (&Method::POST, _) if self.objects.contains_key(&(kind.to_owned(), name.to_owned())) => {
                failure(StatusCode::CONFLICT, "AlreadyExists")
            }
            (&Method::POST, _) => {
                self.store(kind, name, body.clone());
                (StatusCode::CREATED, body)
            }
            (&Method::DELETE, None) => failure(StatusCode::NOT_FOUND, "NotFound"),
            other => panic!("the operator has no business with {other:?}"),
        }
    }

    fn patch(
        &mut self,
        kind: &str,
        name: &str,
        subresource: Option<&str>,
        there: Option<Value>,
        mut patch: Value,
    ) -> (StatusCode, Value) {
        if self.invalid.as_deref() == Some(kind) {
            return failure(StatusCode::UNPROCESSABLE_ENTITY, "Invalid");
        }
        let is_apply = patch.get("kind").is_some();
        let Some(mut object) = there.or_else(|| is_apply.then(|| json!({ "metadata": {} }))) else {
            return failure(StatusCode::NOT_FOUND, "NotFound");
        };
        let expected = patch["metadata"].as_object_mut().and_then(|metadata| metadata.remove("resourceVersion"));
        if expected.is_some_and(|expected| expected != object["metadata"]["resourceVersion"]) {
            return failure(StatusCode::CONFLICT, "Conflict");
        }
        match subresource {
            // An apply takes away what the manager no longer names, and of a status there is one manager.
            Some(part) => object[part] = patch[part].clone(),
            None => merge(&mut object, &patch),
        }
        self.store(kind, name, object.clone());
        (StatusCode::OK, self.objects.get(&(kind.to_owned(), name.to_owned())).cloned().unwrap_or(object))
    }

    fn store(&mut self, kind: &str, name: &str, mut object: Value) {
        let key = (kind.to_owned(), name.to_owned());
        self.version += 1;
        let changed = self.objects.get(&key).is_none_or(|before| before["spec"] != object["spec"]);
        let metadata = &mut object["metadata"];
        metadata["namespace"] = NAMESPACE.into();
        metadata["name"] = name.into();
        metadata["resourceVersion"] = self.version.to_string().into();
        if metadata.get("uid").is_none() {
            metadata["uid"] = format!("uid-{}", self.version).into();
            metadata["creationTimestamp"] = CREATED.into();
        }
        if changed {
            metadata["generation"] = (metadata["generation"].as_i64().unwrap_or(0) + 1).into();
        }
        let finalizers = metadata["finalizers"].as_array().is_some_and(|finalizers| !finalizers.is_empty());
        if metadata.get("deletionTimestamp").is_some() && !finalizers {
            self.remove(&key);
        } else {
            self.objects.insert(key, object);
        }
    }

    fn delete(&mut self, kind: &str, name: &str) {
        let key = (kind.to_owned(), name.to_owned());
        let Some(mut object) = self.objects.get(&key).cloned() else { return };
        if object["metadata"]["finalizers"].as_array().is_some_and(|finalizers| !finalizers.is_empty()) {
            object["metadata"]["deletionTimestamp"] = now().into();
            self.store(kind, name, object);
        } else {
            self.remove(&key);
        }
    }

    /// The object, and what belongs to it.
    fn remove(&mut self, key: &(String, String)) {
        let Some(object) = self.objects.remove(key) else { return };
        let uid = &object["metadata"]["uid"];
        let owned = |object: &Value| object["metadata"]["ownerReferences"][0]["uid"] == *uid;
        let children: Vec<_> =
            self.objects.iter().filter(|(_, object)| owned(object)).map(|(key, _)| key.clone()).collect();
        for child in children {
            self.remove(&child);
        }
    }
}

fn now() -> String {
    k8s_openapi::jiff::Timestamp::from_second(crate::clock::now() as i64).unwrap().to_string()
}

/// JSON merge patch (RFC 7386).
fn merge(object: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            object.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut object[key], value);
        }
    }
}
