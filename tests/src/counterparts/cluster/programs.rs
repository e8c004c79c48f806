//! The programs of a cluster, built from source by Go.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use super::super::Error;
use super::super::cache::{self, Program};
use super::super::fingerprint::Fingerprint;
use super::{archive, images};

/// Kubernetes' programs, etcd and `CoreDNS`, all as links to one binary; `helm`, `pause` and `hello`; and the archives
/// of the images `pause.tar` and `hello.tar`.
pub const PROGRAM: Program = Program { name: "kubernetes", version: VERSION.as_str(), fill };

const VERSION: Fingerprint = Fingerprint::of(&[
    include_bytes!("programs.rs"),
    include_bytes!("archive.rs"),
    include_bytes!("../../../counterparts/kubernetes/go.mod"),
    include_bytes!("../../../counterparts/kubernetes/go.sum"),
    include_bytes!("../../../counterparts/kubernetes/main.go"),
    include_bytes!("../../../counterparts/kubernetes/hello/main.go"),
    include_bytes!("../../../counterparts/kubernetes/pause/main.go"),
]);

/// As in `go.mod`.
const KUBERNETES: (u8, u8, u8) = (1, 34, 10);

const ROLES: [&str; 8] = [
    "coredns",
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubectl",
    "kubelet",
];

fn fill(folder: &Path) -> Result<(), Error> {
    // Without these, clients can't tell what version they talk to, and Helm takes the cluster for an old one.
    let (major, minor, patch) = KUBERNETES;
    let mut version = String::from("-s -w");
    for package in ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"] {
        version += &format!(
            " -X {package}.gitVersion=v{major}.{minor}.{patch} -X {package}.gitMajor={major} \
             -X {package}.gitMinor={minor} -X {package}.gitTreeState=clean"
        );
    }
    let package = "helm.sh/helm/v3/pkg/chartutil";
    version += &format!(" -X {package}.k8sVersionMajor={major} -X {package}.k8sVersionMinor={minor}");

    build(folder, &version, &["."])?;
    build(folder, &version, &["helm.sh/helm/v3/cmd/helm"])?;
    build(folder, "-s -w", &["./pause", "./hello"])?;
    for role in ROLES {
        let link = folder.join(role);
        symlink("kubernetes", &link).map_err(Error::io("create", &link))?;
    }
    for (name, image) in [("pause", images::SANDBOX), ("hello", images::HELLO)] {
        let scratch = folder.join("scratch");
        archive::write(image, &folder.join(name), &scratch, &folder.join(format!("{name}.tar")))?;
        fs::remove_dir_all(&scratch).map_err(Error::io("remove", &scratch))?;
    }
    Ok(())
}

/// Static programs, each named as its package's folder.
fn build(folder: &Path, link: &str, packages: &[&str]) -> Result<(), Error> {
    let mut output = folder.as_os_str().to_owned();
    output.push("/"); // into the folder, which exists
    cache::run(
        PROGRAM.name,
        Command::new("go")
            .arg("-C")
            .arg(cache::recipe("kubernetes"))
            .args(["build", "-trimpath", "-ldflags", link, "-o"])
            .arg(output)
            .args(packages)
            .env("CGO_ENABLED", "0"),
    )
}
