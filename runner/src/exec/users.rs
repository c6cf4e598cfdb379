//! Whose ids the users of this container are.

use std::fs;

/// Whether this process has a user namespace other than the machine's first.
pub(super) fn have_a_namespace() -> bool {
    // A kernel without user namespaces has no such file.
    fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| !is_the_first(&map))
}

/// Whether a map of user ids is the one of the first namespace, in which every id is itself.
fn is_the_first(map: &str) -> bool {
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_namespace_maps_every_id_to_itself() {
        for (map, first) in [
            ("         0          0 4294967295\n", true),
            ("0 0 4294967295", true),
            ("         0     131072      65536\n", false),
            ("0 0 65536\n", false),
            ("0 0 65536\n65536 65536 4294901759\n", false),
            ("", false),
        ] {
            assert_eq!(is_the_first(map), first, "{map}");
        }
    }
}
