//! Numbers of steps and their items, as they are written down: `3`, or of items `2=4,9-12;3=17`, each number with those that have it.

use super::items::Items;
use std::collections::BTreeMap;

/// The numbers of a step, by item.
pub(super) fn read_numbers(text: &str) -> impl Iterator<Item = (Option<i64>, i64)> {
    text.split(';').flat_map(|one| {
        let (number, items) = match one.split_once('=') {
            Some((number, items)) => (number, Some(Items::read(items))),
            None => (one, None),
        };
        let number = number.parse().ok();
        let items: Vec<Option<i64>> = match items {
            Some(items) => items.iter().map(Some).collect(),
            None => vec![None],
        };
        let items = items.into_iter();
        items.filter_map(move |item| Some((item, number?)))
    })
}

/// The numbers of a step.
pub(super) fn write_number(numbers: impl IntoIterator<Item = (Option<i64>, i64)>) -> String {
    let mut own = None;
    let mut of_items: BTreeMap<i64, Items> = BTreeMap::new();
    for (item, number) in numbers {
        match item {
            Some(item) => of_items.entry(number).or_default().insert(item),
            None => own = Some(number.to_string()),
        }
    }
    let of_items = of_items.into_iter();
    let of_items = of_items.map(|(number, items)| format!("{number}={}", items.write()));
    let all: Vec<String> = own.into_iter().chain(of_items).collect();
    all.join(";")
}

/// The numbers of all steps, by their names.
pub(super) fn write_numbers(
    numbers: BTreeMap<(usize, Option<i64>), i64>,
    name: impl Fn(usize) -> Option<String>,
) -> BTreeMap<String, String> {
    let mut all: BTreeMap<usize, Vec<(Option<i64>, i64)>> = BTreeMap::new();
    for ((at, item), number) in numbers {
        all.entry(at).or_default().push((item, number));
    }
    let all = all.into_iter();
    all.filter_map(|(at, numbers)| Some((name(at)?, write_number(numbers))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let numbers = BTreeMap::from([
            ((0, None), 3),
            ((1, Some(4)), 2),
            ((1, Some(5)), 2),
            ((1, Some(17)), 3),
            ((2, None), 1),
            ((2, Some(0)), 2),
        ]);
        let written = write_numbers(numbers, |at| Some(format!("s{at}")));
        assert_eq!(written["s0"], "3");
        assert_eq!(written["s1"], "2=4-5;3=17");
        assert_eq!(written["s2"], "1;2=0");
        let read: Vec<_> = read_numbers(&written["s1"]).collect();
        assert_eq!(read, [(Some(4), 2), (Some(5), 2), (Some(17), 3)]);
        assert_eq!(read_numbers("3").collect::<Vec<_>>(), [(None, 3)]);
        assert_eq!(read_numbers("").count(), 0);
    }
}
