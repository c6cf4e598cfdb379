//! Providers' JSON, read tolerantly: what is missing or of another type is `None`, what is unknown is passed over, nothing is copied that is
//! not asked for. Whether a missing value matters is for the dialect to say.

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// Largest whole number that a float holds exactly.
const LARGEST_EXACT: f64 = 9_007_199_254_740_992.0;

/// A value that is not `null`, as it came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Json<'a>(&'a RawValue);

impl<'a> Json<'a> {
    /// A body; `None` when it is not JSON, or `null`.
    pub(crate) fn parse(body: &'a str) -> Option<Self> {
        serde_json::from_str(body).ok().and_then(Self::stated)
    }

    fn stated(value: &'a RawValue) -> Option<Self> {
        (value.get() != "null").then_some(Self(value))
    }

    /// The value's bytes.
    pub(crate) fn text(self) -> &'a str {
        self.0.get()
    }

    /// Fields of an object. Of a field that occurs twice the last one counts.
    pub(crate) fn pick<const N: usize>(self, names: [&str; N]) -> [Option<Self>; N] {
        let mut found = [None; N];
        let mut deserializer = serde_json::Deserializer::from_str(self.text());
        // What is no object leaves every field absent.
        let _ = deserializer.deserialize_map(Pick {
            names: &names,
            found: &mut found,
        });
        found
    }

    /// A field of an object.
    pub(crate) fn get(self, name: &str) -> Option<Self> {
        let [found] = self.pick([name]);
        found
    }

    /// Takes the elements of a list in their order until `take` wants no more. `null` counts as an element that is left out.
    pub(crate) fn each(self, take: impl FnMut(Json<'a>) -> bool) {
        let mut deserializer = serde_json::Deserializer::from_str(self.text());
        // What is no list has no elements.
        let _ = deserializer.deserialize_seq(Each(take));
    }

    /// The first element of a list.
    pub(crate) fn first(self) -> Option<Self> {
        let mut first = None;
        self.each(|element| {
            first = Some(element);
            false
        });
        first
    }

    /// A string.
    pub(crate) fn string(self) -> Option<String> {
        serde_json::from_str(self.text()).ok()
    }

    /// Whether it is `true`.
    pub(crate) fn is_true(self) -> bool {
        self.text() == "true"
    }

    /// Whether it is an object.
    pub(crate) fn is_object(self) -> bool {
        self.text().starts_with('{')
    }

    /// A number that counts something.
    pub(crate) fn count(self) -> Option<u64> {
        whole(self.text())
    }
}

/// A number in JSON that counts something: whole and not negative. Some vendors write it as a float, some as a string.
pub(crate) fn whole(json: &str) -> Option<u64> {
    let digits = json
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .unwrap_or(json);
    if let Ok(whole) = digits.parse() {
        return Some(whole);
    }
    let number: f64 = digits.parse().ok()?;
    let exact = (0.0..=LARGEST_EXACT).contains(&number) && number.fract() == 0.0;
    exact.then_some(number as u64)
}

/// A number of tokens: none where the field is absent, `None` where it cannot be believed.
pub(crate) fn tokens(field: Option<Json<'_>>) -> Option<u64> {
    field.map_or(Some(0), Json::count)
}

/// A string, where there is one and it is not empty.
pub(crate) fn filled(field: Option<Json<'_>>) -> Option<String> {
    field.and_then(Json::string).filter(|text| !text.is_empty())
}

struct Pick<'f, 'n, 'a> {
    names: &'f [&'n str],
    found: &'f mut [Option<Json<'a>>],
}

impl<'a> Visitor<'a> for Pick<'_, '_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(position) = map.next_key_seed(Position(self.names))? {
            match position.and_then(|position| self.found.get_mut(position)) {
                Some(place) => *place = Json::stated(map.next_value()?),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// Reads a field's name as its position among those that are looked for.
struct Position<'f, 'n>(&'f [&'n str]);

impl<'a> DeserializeSeed<'a> for Position<'_, '_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Position<'_, '_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().position(|wanted| *wanted == name))
    }
}

struct Each<F>(F);

impl<'a, F: FnMut(Json<'a>) -> bool> Visitor<'a> for Each<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'a>>(mut self, mut list: A) -> Result<(), A::Error> {
        while let Some(element) = list.next_element()? {
            if let Some(element) = Json::stated(element)
                && !(self.0)(element)
            {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
