//! Folders of the operating system, which no part of Bakery takes as its own.

use crate::path;

/// Folders that every system has, and that others use too.
const SYSTEM_FOLDERS: [&str; 36] = [
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/home",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/lost+found",
    "/media",
    "/mnt",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/srv",
    "/sys",
    "/tmp",
    "/usr",
    "/usr/bin",
    "/usr/lib",
    "/usr/local",
    "/usr/local/bin",
    "/usr/local/lib",
    "/usr/sbin",
    "/usr/share",
    "/var",
    "/var/cache",
    "/var/lib",
    "/var/log",
    "/var/run",
    "/var/spool",
    "/var/tmp",
];

/// Whether an absolute path is a folder of the system itself, such as `/usr`; folders below it are not.
pub fn is_system_folder(path: &str) -> bool {
    SYSTEM_FOLDERS.contains(&path)
}

/// Whether an absolute path is in a folder whose content the kernel makes.
pub fn is_in_kernel_folder(path: &str) -> bool {
    ["/proc", "/sys", "/dev"].iter().any(|folder| path::below(folder, path).is_some())
}
