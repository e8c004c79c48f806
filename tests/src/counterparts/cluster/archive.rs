//! The archive of a container image that holds one static program.
//!
//! Format: the OCI image layout specification, 1.0.0, in a tar file, as `ctr images import` reads it.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::super::Error;
use super::command::run;

const TYPE: &str = "application/vnd.oci.image";

/// Writes the archive of the image `name`, working in `folder`, which is for this alone.
pub(super) fn write(name: &str, program: &Path, folder: &Path, archive: &Path) -> Result<(), Error> {
    let files = folder.join("files");
    let layout = folder.join("layout");
    let blobs = layout.join("blobs/sha256");
    for folder in [&files, &blobs] {
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    }
    let inside = program.file_name().unwrap_or_default();
    fs::copy(program, files.join(inside)).map_err(Error::io("copy", program))?;
    let layer = folder.join("layer.tar");
    pack(&files, &layer)?;

    let layer = blob(&blobs, "layer.v1.tar", fs::read(&layer).map_err(Error::io("read", &layer))?)?;
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "config": { "Entrypoint": [Path::new("/").join(inside)] },
        "rootfs": { "type": "layers", "diff_ids": [layer["digest"]] },
    });
    let config = blob(&blobs, "config.v1+json", config.to_string())?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": format!("{TYPE}.manifest.v1+json"),
        "config": config,
        "layers": [layer],
    });
    let mut manifest = blob(&blobs, "manifest.v1+json", manifest.to_string())?;
    manifest["annotations"] = json!({ "io.containerd.image.name": name });
    let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
    for (file, text) in [("index.json", index), ("oci-layout", json!({ "imageLayoutVersion": "1.0.0" }))] {
        let file = layout.join(file);
        fs::write(&file, text.to_string()).map_err(Error::io("write", &file))?;
    }
    pack(&layout, archive)
}

/// Stores a blob under its digest, and gives what others write to point at it.
fn blob(blobs: &Path, kind: &str, bytes: impl AsRef<[u8]>) -> Result<Value, Error> {
    let bytes = bytes.as_ref();
    let digest: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let file = blobs.join(&digest);
    fs::write(&file, bytes).map_err(Error::io("write", &file))?;
    Ok(json!({
        "mediaType": format!("{TYPE}.{kind}"),
        "digest": format!("sha256:{digest}"),
        "size": bytes.len(),
    }))
}

fn pack(folder: &Path, archive: &Path) -> Result<(), Error> {
    run(Command::new("tar").arg("-C").arg(folder).arg("-cf").arg(archive).arg(".")).map(drop)
}
