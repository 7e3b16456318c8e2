//! What the driver keeps on the host's disk.
//!
//! ```text
//! <data>/sandboxes/<ses_…>/sandbox.json   what the sandbox is: Record
//!                          disk/          the writable folder of each overlay
//!                          work/          the overlays' own
//!                          request.json, run.json, exit.json, lock, shim.log, init.log   of the shim
//! <data>/layers/<lay_…>/                  a frozen disk/, and layer.json
//! <data>/images/host-<fingerprint>/       the host image's skeleton
//! <data>/links/<slot>/                    seen as /run/mistle in the sandbox
//! <data>/trash/                           given up; deleted in the background
//! <data>/lock                             of the driver that has it open
//! ```
//!
//! Every step is one rename, so that an interrupted one is either not begun or finished at the
//! next start. Nothing here is ever deleted in place.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use mistle_protocol::id::{LayerId, SessionId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::request::{DISK_DIR, IDS, Lower, Overlay, WORK_DIR};
use crate::{Image, SandboxError, SandboxSpec};

const RECORD_FILE: &str = "sandbox.json";
const LAYER_FILE: &str = "layer.json";

/// One writable file system of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BaseOverlay {
    pub(super) name: String,
    pub(super) target: PathBuf,
    /// Lowest first; their files belong to the host's ids from 0.
    pub(super) lowers: Vec<PathBuf>,
}

/// An image, as it was when a disk was made from it: a disk is only ever stacked on what it was
/// written on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Base {
    pub(super) overlays: Vec<BaseOverlay>,
    /// Further paths of the host that are readable.
    pub(super) include: Vec<PathBuf>,
}

/// What a sandbox is, for as long as it has a disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    /// Which range of user ids and which link folder are its own.
    pub(super) slot: u32,
    /// First host id of the range.
    pub(super) uid_base: u32,
    pub(super) base: Base,
    /// Lowest first.
    pub(super) layers: Vec<LayerId>,
    /// A freeze that has begun: the disk is to become this layer.
    pub(super) freezing: Option<LayerId>,
}

/// What a layer was written on, and as whom.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct LayerRecord {
    pub(super) uid_base: u32,
    pub(super) base: Base,
}

/// The places below the data folder.
#[derive(Clone, Debug)]
pub(super) struct Places {
    pub(super) data: PathBuf,
    pub(super) sandboxes: PathBuf,
    pub(super) layers: PathBuf,
    pub(super) images: PathBuf,
    pub(super) links: PathBuf,
    pub(super) trash: PathBuf,
}

impl Places {
    /// Makes the folders; for the server's eyes only.
    pub(super) fn open(data: &Path) -> Result<Self, SandboxError> {
        make_private(data)?;
        let data = data
            .canonicalize()
            .map_err(|error| SandboxError::io("open", data, error))?;
        let below = |name: &str| data.join(name);
        let places = Self {
            sandboxes: below("sandboxes"),
            layers: below("layers"),
            images: below("images"),
            links: below("links"),
            trash: below("trash"),
            data,
        };
        for folder in [
            &places.sandboxes,
            &places.layers,
            &places.images,
            &places.links,
            &places.trash,
        ] {
            make_private(folder)?;
        }
        Ok(places)
    }

    pub(super) fn sandbox(&self, id: SessionId) -> PathBuf {
        self.sandboxes.join(id.to_string())
    }

    pub(super) fn layer(&self, id: LayerId) -> PathBuf {
        self.layers.join(id.to_string())
    }

    pub(super) fn link(&self, slot: u32) -> PathBuf {
        self.links.join(slot.to_string())
    }

    /// The sandboxes that have a disk.
    pub(super) fn list(&self) -> Result<Vec<(SessionId, Record)>, SandboxError> {
        let entries =
            fs::read_dir(&self.sandboxes).map_err(|error| SandboxError::io("read", &self.sandboxes, error))?;
        let mut found = Vec::new();
        for entry in entries.flatten() {
            let name = entry.file_name();
            match name.to_str().and_then(|name| name.parse().ok()) {
                Some(id) => match self.record(id) {
                    Ok(record) => found.push((id, record)),
                    // Its disk stays for a person to look at; the others are not to suffer.
                    Err(error) => tracing::error!(sandbox = %id, %error, "a sandbox's record can't be read"),
                },
                // A creation that was interrupted.
                None => self.discard(&entry.path())?,
            }
        }
        Ok(found)
    }

    pub(super) fn record(&self, id: SessionId) -> Result<Record, SandboxError> {
        let file = self.sandbox(id).join(RECORD_FILE);
        match read_json(&file) {
            Err(SandboxError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Err(SandboxError::NotFound(id))
            }
            other => other,
        }
    }

    /// Moves a folder out of the way for good, whatever its size, in no time.
    pub(super) fn discard(&self, folder: &Path) -> Result<(), SandboxError> {
        // Unique, and never the name of anything that is searched for.
        let grave = self.trash.join(LayerId::new().uuid().simple().to_string());
        match fs::rename(folder, &grave) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(SandboxError::io("discard", folder, error)),
            _ => Ok(()),
        }
    }

    /// Moves what has a name with this beginning out of a folder.
    pub(super) fn discard_all(&self, folder: &Path, beginning: &str) -> Result<(), SandboxError> {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(beginning) {
                self.discard(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Makes the disk of a new sandbox.
    pub(super) fn create(
        &self,
        spec: &SandboxSpec,
        slot: u32,
        uid_base: u32,
        base: Base,
    ) -> Result<Record, SandboxError> {
        let record = Record {
            slot,
            uid_base,
            base,
            layers: spec.layers.clone(),
            freezing: None,
        };
        let new = self.sandboxes.join(format!(".new-{slot}"));
        self.discard(&new)?;
        make_private(&new)?;
        self.make_disk(&new, &record)?;
        write_hosts(&new.join(DISK_DIR), &spec.hostname, uid_base)?;
        write_json(&new.join(RECORD_FILE), &record)?;
        let link = self.link(slot);
        self.discard(&link)?;
        // The sandbox's root goes through it as an ordinary user of the host.
        fs::DirBuilder::new()
            .mode(0o755)
            .create(&link)
            .map_err(|error| SandboxError::io("make", &link, error))?;
        let folder = self.sandbox(spec.id);
        fs::rename(&new, &folder).map_err(|error| SandboxError::io("name", &folder, error))?;
        Ok(record)
    }

    /// Makes an empty disk in a sandbox's folder.
    fn make_disk(&self, folder: &Path, record: &Record) -> Result<(), SandboxError> {
        self.discard(&folder.join(WORK_DIR))?;
        let disk = folder.join(DISK_DIR);
        for overlay in &record.base.overlays {
            let upper = disk.join(&overlay.name);
            make_private(&folder.join(WORK_DIR).join(&overlay.name))?;
            make_private(&upper)?;
            // The topmost folder is what the sandbox sees at the target.
            fs::set_permissions(&upper, fs::Permissions::from_mode(0o755))
                .map_err(|error| SandboxError::io("open up", &upper, error))?;
            give(&upper, record.uid_base)?;
        }
        Ok(())
    }

    /// Makes the disk a layer and gives the sandbox an empty one on top. An interrupted freeze is
    /// finished by the same call, which [`Places::recover`] makes at the next start.
    pub(super) fn freeze(&self, id: SessionId) -> Result<LayerId, SandboxError> {
        let mut record = self.record(id)?;
        let layer = *record.freezing.get_or_insert_with(LayerId::new);
        let folder = self.sandbox(id);
        write_json(&folder.join(RECORD_FILE), &record)?;
        if !self.layer(layer).exists() {
            let disk = folder.join(DISK_DIR);
            let written_on = LayerRecord {
                uid_base: record.uid_base,
                base: record.base.clone(),
            };
            write_json(&disk.join(LAYER_FILE), &written_on)?;
            fs::rename(&disk, self.layer(layer)).map_err(|error| SandboxError::io("freeze", &disk, error))?;
        }
        self.make_disk(&folder, &record)?;
        record.layers.push(layer);
        record.freezing = None;
        write_json(&folder.join(RECORD_FILE), &record)?;
        Ok(layer)
    }

    /// Finishes what an earlier server had begun.
    pub(super) fn recover(&self, id: SessionId) -> Result<Record, SandboxError> {
        let record = self.record(id)?;
        if record.freezing.is_some() {
            self.freeze(id)?;
            return self.record(id);
        }
        Ok(record)
    }

    /// What a layer was written on.
    pub(super) fn layer_record(&self, id: LayerId) -> Result<LayerRecord, SandboxError> {
        match read_json(&self.layer(id).join(LAYER_FILE)) {
            Err(SandboxError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Err(SandboxError::LayerNotFound(id))
            }
            other => other,
        }
    }

    /// The overlays of a sandbox, for its shim.
    pub(super) fn overlays(&self, record: &Record) -> Result<Vec<Overlay>, SandboxError> {
        let layers: Result<Vec<_>, _> = record
            .layers
            .iter()
            .map(|id| Ok((self.layer(*id), self.layer_record(*id)?)))
            .collect();
        let layers = layers?;
        Ok(record
            .base
            .overlays
            .iter()
            .map(|overlay| {
                let base = overlay.lowers.iter().map(|path| Lower {
                    path: path.clone(),
                    uid_base: 0,
                });
                let frozen = layers.iter().map(|(folder, layer)| Lower {
                    path: folder.join(&overlay.name),
                    uid_base: layer.uid_base,
                });
                let lowers = base.chain(frozen.filter(|lower| lower.path.is_dir())).collect();
                Overlay {
                    name: overlay.name.clone(),
                    target: overlay.target.clone(),
                    lowers,
                }
            })
            .collect())
    }

    /// Discards the images' skeletons that neither a disk nor a layer is written on, except `keep`.
    pub(super) fn discard_unused_images(
        &self,
        records: &[(SessionId, Record)],
        keep: &[BaseOverlay],
    ) -> Result<(), SandboxError> {
        let mut bases: Vec<_> = records.iter().map(|(_, record)| record.base.overlays.clone()).collect();
        for entry in fs::read_dir(&self.layers).into_iter().flatten().flatten() {
            let id = entry.file_name().to_str().and_then(|name| name.parse().ok());
            if let Some(id) = id {
                bases.push(self.layer_record(id)?.base.overlays);
            }
        }
        bases.push(keep.to_vec());
        let used = |image: &Path| {
            bases
                .iter()
                .flatten()
                .flat_map(|overlay| &overlay.lowers)
                .any(|lower| lower.starts_with(image))
        };
        for entry in fs::read_dir(&self.images).into_iter().flatten().flatten() {
            if !used(&entry.path()) {
                self.discard(&entry.path())?;
            }
        }
        Ok(())
    }
}

/// The image of a folder.
pub(super) fn folder_image(path: &Path) -> Result<Vec<BaseOverlay>, SandboxError> {
    if !path.is_dir() {
        return Err(SandboxError::invalid(format!(
            "the image {} is not a folder on this machine",
            Image::dir_name(path)
        )));
    }
    Ok(vec![BaseOverlay {
        name: "root".to_owned(),
        target: "/".into(),
        lowers: vec![path.to_owned()],
    }])
}

impl Image {
    fn dir_name(path: &Path) -> String {
        format!("dir:{}", path.display())
    }
}

/// Programs look up their own host name; some refuse to start when it is unknown.
fn write_hosts(disk: &Path, hostname: &str, uid_base: u32) -> Result<(), SandboxError> {
    let etc = disk.join("root/etc");
    make_private(&etc)?;
    fs::set_permissions(&etc, fs::Permissions::from_mode(0o755))
        .map_err(|error| SandboxError::io("open up", &etc, error))?;
    give(&etc, uid_base)?;
    let hosts = format!("127.0.0.1 localhost\n127.0.1.1 {hostname}\n::1 localhost ip6-localhost ip6-loopback\n");
    for (name, content) in [("hosts", hosts), ("hostname", format!("{hostname}\n"))] {
        let file = etc.join(name);
        fs::write(&file, content).map_err(|error| SandboxError::io("write", &file, error))?;
        give(&file, uid_base)?;
    }
    Ok(())
}

fn give(path: &Path, uid_base: u32) -> Result<(), SandboxError> {
    debug_assert!(uid_base.checked_add(IDS).is_some(), "a range is within 32 bits");
    std::os::unix::fs::lchown(path, Some(uid_base), Some(uid_base))
        .map_err(|error| SandboxError::io("give away", path, error))
}

fn make_private(folder: &Path) -> Result<(), SandboxError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| SandboxError::io("make", folder, error))
}

pub(super) fn read_json<T: DeserializeOwned>(file: &Path) -> Result<T, SandboxError> {
    let text = fs::read(file).map_err(|error| SandboxError::io("read", file, error))?;
    serde_json::from_slice(&text).map_err(|error| SandboxError::io("understand", file, error))
}

/// Replaces a file at once, so that a crash of the machine leaves the old or the new one.
pub(super) fn write_json(file: &Path, value: &impl Serialize) -> Result<(), SandboxError> {
    let new = file.with_extension("new");
    let write = || -> io::Result<()> {
        let mut out = File::create(&new)?;
        out.write_all(&serde_json::to_vec(value)?)?;
        out.sync_data()?;
        fs::rename(&new, file)
    };
    write().map_err(|error| SandboxError::io("write", file, error))
}
