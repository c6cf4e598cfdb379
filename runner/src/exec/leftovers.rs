//! What outlives the processes of a call and is no file of the workspace: shared memory, semaphores and message queues. It would stay
//! charged to the container, and a later call could find it.

use super::sys::{self, Ipc};
use nix::unistd::getpid;
use std::fs;

/// Removes it. Only in a container are these places ours alone.
pub(super) fn remove() {
    if getpid().as_raw() != 1 {
        return;
    }
    for place in ["/dev/shm", "/dev/mqueue"] {
        for entry in fs::read_dir(place).into_iter().flatten().flatten() {
            let path = entry.path();
            let _ = match entry.file_type() {
                Ok(kind) if kind.is_dir() => fs::remove_dir_all(path),
                _ => fs::remove_file(path),
            }; // what belongs to others stays
        }
    }
    for kind in [Ipc::SharedMemory, Ipc::Semaphores, Ipc::Messages] {
        let listing = fs::read_to_string(kind.listing()).unwrap_or_default(); // a kernel without these has no list
        for id in ids(&listing) {
            let _ = sys::remove_ipc(kind, id); // likewise
        }
    }
}

/// The second column, below a line of titles (proc_sysvipc(5)).
fn ids(listing: &str) -> impl Iterator<Item = i32> {
    listing
        .lines()
        .skip(1)
        .filter_map(|line| line.split_ascii_whitespace().nth(1)?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_the_second_column() {
        let listing = "       key      shmid perms                  size\n\
                       \x20        0      32769  1600               524288\n-1 3 600 1\nodd\n";
        assert_eq!(ids(listing).collect::<Vec<_>>(), [32769, 3]);
        assert_eq!(ids("").count(), 0);
    }
}
