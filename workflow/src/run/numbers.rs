//! Numbers of steps and their items, as they are written down: `3`, or of items `4:2,17:3`.

use std::collections::BTreeMap;

/// The numbers of a step, by item.
pub(super) fn read_numbers(text: &str) -> impl Iterator<Item = (Option<i64>, i64)> {
    text.split(',').filter_map(|one| match one.split_once(':') {
        Some((item, number)) => Some((Some(item.parse().ok()?), number.parse().ok()?)),
        None => Some((None, one.parse().ok()?)),
    })
}

/// The numbers of all steps, by their names.
pub(super) fn write_numbers(
    numbers: BTreeMap<(usize, Option<i64>), i64>,
    name: impl Fn(usize) -> Option<String>,
) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    for ((at, item), number) in numbers {
        let Some(name) = name(at) else { continue };
        let text = all.entry(name).or_default();
        if !text.is_empty() {
            text.push(',');
        }
        if let Some(item) = item {
            text.push_str(&format!("{item}:"));
        }
        text.push_str(&number.to_string());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let numbers = BTreeMap::from([((0, None), 3), ((1, Some(4)), 2), ((1, Some(17)), 3)]);
        let written = write_numbers(numbers, |at| Some(format!("s{at}")));
        assert_eq!(written["s0"], "3");
        assert_eq!(written["s1"], "4:2,17:3");
        let read: Vec<_> = read_numbers(&written["s1"]).collect();
        assert_eq!(read, [(Some(4), 2), (Some(17), 3)]);
        assert_eq!(read_numbers("3").collect::<Vec<_>>(), [(None, 3)]);
    }
}
