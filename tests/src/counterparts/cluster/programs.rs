//! The programs of a cluster, built from source by Go.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use super::super::Error;
use super::super::cache::{self, Program};
use super::super::fingerprint::Fingerprint;
use super::{NAME, archive, images};

/// Kubernetes' programs, etcd and `CoreDNS`, all as links to one binary; `helm`, `pause` and `hello`; and the archives
/// of the images `pause.tar` and `hello.tar`.
pub const PROGRAM: Program = Program { name: NAME, version: VERSION.as_str(), fill };

const VERSION: Fingerprint = Fingerprint::of(&[
    include_bytes!("programs.rs"),
    include_bytes!("archive.rs"),
    include_bytes!("../../../counterparts/kubernetes/go.mod"),
    include_bytes!("../../../counterparts/kubernetes/go.sum"),
    include_bytes!("../../../counterparts/kubernetes/main.go"),
    include_bytes!("../../../counterparts/kubernetes/hello/main.go"),
    include_bytes!("../../../counterparts/kubernetes/pause/main.go"),
]);

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

/// What each program says its version is; as in `go.mod`. Without it, clients can't tell what they talk to, and Helm
/// takes the cluster for an old one.
const VERSIONS: [&str; 10] = [
    "k8s.io/component-base/version.gitVersion=v1.34.10",
    "k8s.io/component-base/version.gitMajor=1",
    "k8s.io/component-base/version.gitMinor=34",
    "k8s.io/component-base/version.gitTreeState=clean",
    "k8s.io/client-go/pkg/version.gitVersion=v1.34.10",
    "k8s.io/client-go/pkg/version.gitMajor=1",
    "k8s.io/client-go/pkg/version.gitMinor=34",
    "k8s.io/client-go/pkg/version.gitTreeState=clean",
    "helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1",
    "helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=34",
];

fn fill(folder: &Path) -> Result<(), Error> {
    for packages in [&["."][..], &["helm.sh/helm/v3/cmd/helm"], &["./pause", "./hello"]] {
        build(folder, packages)?;
    }
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
fn build(folder: &Path, packages: &[&str]) -> Result<(), Error> {
    let link: String = VERSIONS.iter().map(|version| format!(" -X {version}")).collect();
    cache::run(
        NAME,
        Command::new("go")
            .arg("-C")
            .arg(cache::recipe("kubernetes"))
            .args(["build", "-trimpath", "-ldflags", &format!("-s -w{link}"), "-o"])
            .arg(folder.join("")) // ends in a slash: into the folder
            .args(packages)
            .env("CGO_ENABLED", "0"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_programs_are_of_the_version_that_they_say() {
        let module = include_str!("../../../counterparts/kubernetes/go.mod");
        let version = VERSIONS[0].split('=').nth(1).unwrap();
        assert!(module.contains(&format!("k8s.io/kubernetes {version}\n")), "{version} isn't in go.mod");
    }
}
