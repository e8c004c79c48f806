//! Keys and certificates of one cluster, and for each of its clients a kubeconfig.
//!
//! The API server knows a client by its certificate: the common name is the user, the organisation a group.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::super::Error;
use super::command::run;
use super::files::write;
use super::plan::{NODES, NodeId, Plan};

/// The client who may do everything; its kubeconfig is the tests' own.
pub(super) const ADMIN: &str = "admin";
pub(super) const MANAGER: &str = "kube-controller-manager";
pub(super) const SCHEDULER: &str = "kube-scheduler";
pub(super) const PROXY: &str = "kube-proxy";

/// Makes all of them (0.2 s).
pub(super) fn issue(plan: &Plan) -> Result<(), Error> {
    // Without it, openssl would take extensions from the system's configuration.
    write(&plan.pki("openssl.cnf"), "[req]\ndistinguished_name = none\n[none]\n")?;
    certify(plan, "ca", "/CN=tidegate-tests", &["basicConstraints=critical,CA:TRUE"], None)?;

    let addresses = plan.addresses;
    let names = format!(
        "subjectAltName=DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,\
         DNS:kubernetes.default.svc.cluster.local,IP:127.0.0.1,IP:{},IP:{}",
        addresses.control_plane(),
        addresses.api_service()
    );
    certify(plan, "apiserver", "/CN=kube-apiserver", &["extendedKeyUsage=serverAuth", &names], Some("ca"))?;

    client(plan, ADMIN, "/O=system:masters/CN=admin")?;
    for role in [MANAGER, SCHEDULER, PROXY] {
        client(plan, role, &format!("/CN=system:{role}"))?;
    }
    for NodeId { name: node, .. } in NODES {
        client(plan, node, &format!("/O=system:nodes/CN=system:node:{node}"))?;
    }

    // What service accounts' tokens are signed with.
    let (key, public) = (plan.pki("sa.key"), plan.pki("sa.pub"));
    let curve = "ec_paramgen_curve:prime256v1";
    run(Command::new("openssl").args(["genpkey", "-algorithm", "EC", "-pkeyopt", curve, "-out"]).arg(&key))?;
    run(Command::new("openssl").args(["pkey", "-pubout", "-in"]).arg(&key).arg("-out").arg(&public)).map(drop)
}

fn client(plan: &Plan, name: &str, subject: &str) -> Result<(), Error> {
    certify(plan, name, subject, &["extendedKeyUsage=clientAuth"], Some("ca"))?;
    let server = format!("https://{}:6443", plan.addresses.control_plane());
    let file = |extension| plan.pki(&format!("{name}.{extension}"));
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "tidegate",
        "contexts": [{ "name": "tidegate", "context": { "cluster": "tidegate", "user": name } }],
        "clusters": [{
            "name": "tidegate",
            "cluster": { "server": server, "certificate-authority": plan.pki("ca.crt") },
        }],
        "users": [{
            "name": name,
            "user": { "client-certificate": file("crt"), "client-key": file("key") },
        }],
    });
    write(&plan.kubeconfig(name), kubeconfig.to_string())
}

/// A key and its certificate, signed by `authority` or by itself.
fn certify(plan: &Plan, name: &str, subject: &str, extensions: &[&str], authority: Option<&str>) -> Result<(), Error> {
    let file = |name: &str, extension: &str| plan.pki(&format!("{name}.{extension}"));
    let mut command = Command::new("openssl");
    command
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30"])
        .args(["-subj", subject, "-config"])
        .arg(plan.pki("openssl.cnf"));
    named(&mut command, "-keyout", &file(name, "key"));
    named(&mut command, "-out", &file(name, "crt"));
    for extension in extensions {
        command.args(["-addext", extension]);
    }
    if let Some(authority) = authority {
        named(&mut command, "-CA", &file(authority, "crt"));
        named(&mut command, "-CAkey", &file(authority, "key"));
    }
    run(&mut command).map(drop)
}

fn named(command: &mut Command, option: &str, file: &Path) {
    command.arg(option).arg(file);
}
