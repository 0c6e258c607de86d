//! Small disks: ext4 in a file, on a loop device, so that each can be full, read-only or frozen
//! without its neighbours.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};

use super::command::call;
use crate::failure::{Result, file};

/// How large a disk is; the file behind it holds only what was written.
const BYTES: u64 = 640 << 20;

/// What a disk gives at least.
const BLOCK: u64 = 4096;

/// A file system of its own, mounted at a directory.
#[derive(Debug)]
pub(crate) struct Disk {
    image: PathBuf,
    mounted_at: PathBuf,
}

impl Disk {
    /// Makes a disk and mounts it; both files lie below `directory`.
    ///
    /// # Errors
    /// If a program says no.
    pub(crate) fn make(directory: &Path, name: &str) -> Result<Self> {
        let image = directory.join(format!("disk-{name}.img"));
        let made = File::create(&image).and_then(|made| made.set_len(BYTES));
        made.map_err(file("cannot make", &image))?;
        // No blocks for root alone: the nodes run as root, and full must be full.
        call("mkfs.ext4", &["-q", "-F", "-m", "0", &text(&image)])?;
        Self::mount(image, directory.join(format!("disk-{name}")))
    }

    /// Makes a disk that is a copy of another one's bytes, as a snapshot of a virtual machine is.
    ///
    /// # Errors
    /// As [`Disk::make`].
    pub(crate) fn copied(directory: &Path, name: &str, from: &Path) -> Result<Self> {
        let image = directory.join(format!("disk-{name}.img"));
        copy_image(from, &image)?;
        Self::mount(image, directory.join(format!("disk-{name}")))
    }

    /// Writes a copy of its bytes; nothing may be running on it.
    ///
    /// # Errors
    /// As [`Disk::make`].
    pub(crate) fn save(&self, to: &Path) -> Result<()> {
        self.unmount()?;
        let copied = copy_image(&self.image, to);
        self.mount_again()?;
        copied
    }

    /// Takes the bytes of a copy; nothing may be running on it.
    ///
    /// # Errors
    /// As [`Disk::make`].
    pub(crate) fn restore(&self, from: &Path) -> Result<()> {
        self.unmount()?;
        let copied = copy_image(from, &self.image);
        self.mount_again()?;
        copied
    }

    /// Returns where it is mounted.
    pub(crate) fn path(&self) -> &Path {
        &self.mounted_at
    }

    /// Takes all space that is left.
    ///
    /// # Errors
    /// If the file that takes it cannot be made.
    pub(crate) fn fill(&self) -> Result<()> {
        let path = self.filler();
        let filler = File::create(&path).map_err(file("cannot make", &path))?;
        let (mut taken, mut piece) = (0, BYTES);
        // Smaller and smaller pieces, until the disk has not even room for the last.
        while piece >= BLOCK {
            match fallocate(&filler, FallocateFlags::empty(), taken, piece) {
                Ok(()) => taken += piece,
                Err(_) => piece /= 2,
            }
        }
        Ok(())
    }

    /// Gives the space back.
    ///
    /// # Errors
    /// If the file cannot be removed.
    pub(crate) fn empty(&self) -> Result<()> {
        let path = self.filler();
        match fs::remove_file(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(file("cannot remove", &path)),
        }
    }

    /// Makes it read-only at once, as the kernel does with a disk that has failed.
    ///
    /// # Errors
    /// If its loop device is not found.
    pub(crate) fn fail(&self) -> Result<()> {
        let device = call("findmnt", &["-n", "-o", "SOURCE", &text(&self.mounted_at)])?;
        let device = device.trim().trim_start_matches("/dev/");
        let trigger = PathBuf::from(format!("/sys/fs/ext4/{device}/trigger_fs_error"));
        fs::write(&trigger, "1\n").map_err(file("cannot write", &trigger))
    }

    /// Mends a disk that has failed; nothing may be running on it.
    ///
    /// # Errors
    /// As [`Disk::make`].
    pub(crate) fn mend(&self) -> Result<()> {
        self.unmount()?;
        // 1 says that something was mended, as it should be.
        let _ = call("e2fsck", &["-f", "-y", &text(&self.image)]);
        self.mount_again()
    }

    /// Lets all writes wait.
    ///
    /// # Errors
    /// If it is frozen already.
    pub(crate) fn freeze(&self) -> Result<()> {
        call("fsfreeze", &["--freeze", &text(&self.mounted_at)]).map(drop)
    }

    /// Lets them go on.
    ///
    /// # Errors
    /// If it is not frozen.
    pub(crate) fn thaw(&self) -> Result<()> {
        call("fsfreeze", &["--unfreeze", &text(&self.mounted_at)]).map(drop)
    }

    /// Unmounts it and removes its files; nothing may be running on it.
    ///
    /// # Errors
    /// As [`Disk::make`].
    pub(crate) fn remove(&self) -> Result<()> {
        self.unmount()?;
        fs::remove_file(&self.image).map_err(file("cannot remove", &self.image))?;
        fs::remove_dir(&self.mounted_at).map_err(file("cannot remove", &self.mounted_at))
    }

    fn mount(image: PathBuf, mounted_at: PathBuf) -> Result<Self> {
        fs::create_dir_all(&mounted_at).map_err(file("cannot make", &mounted_at))?;
        let disk = Self { image, mounted_at };
        disk.mount_again()?;
        Ok(disk)
    }

    fn mount_again(&self) -> Result<()> {
        let (image, place) = (text(&self.image), text(&self.mounted_at));
        call("mount", &["-o", "loop,errors=remount-ro", &image, &place]).map(drop)
    }

    fn unmount(&self) -> Result<()> {
        call("umount", &[&text(&self.mounted_at)]).map(drop)
    }

    fn filler(&self) -> PathBuf {
        self.mounted_at.join("filler")
    }
}

fn copy_image(from: &Path, to: &Path) -> Result<()> {
    call("cp", &["--sparse=always", &text(from), &text(to)]).map(drop)
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
