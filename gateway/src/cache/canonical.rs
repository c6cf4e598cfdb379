//! JSON in one form: fields in order, no space that means nothing, texts with as few escapes as can be.

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;

/// From here on a number with a fraction or an exponent may be read as its neighbour.
const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53

/// The canonical form. None for what two readers could understand differently: a field that is there twice, a number too large for a
/// float, half of a surrogate pair, a nesting of more than 128. Who could write one of these could have one request be taken for another.
#[must_use]
pub fn canonical(json: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(json.len());
    let mut reader = serde_json::Deserializer::from_str(json);
    Write(&mut out).deserialize(&mut reader).ok()?;
    reader.end().ok()?;
    Some(out)
}

struct Write<'a>(&'a mut Vec<u8>);

impl Write<'_> {
    fn plain<E: Error>(self, value: impl serde::Serialize) -> Result<(), E> {
        serde_json::to_writer(self.0, &value).map_err(E::custom)
    }
}

impl<'de> DeserializeSeed<'de> for Write<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Write<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.plain(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.plain(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.plain(value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.plain(value)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        if value.abs() >= EXACT {
            return Err(E::custom("a number that is not exact"));
        }
        self.plain(value)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.plain(value)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        self.0.push(b'[');
        while list.next_element_seed(Write(self.0))?.is_some() {
            self.0.push(b',');
        }
        self.0.push(b']');
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut fields = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            let mut value = Vec::new();
            map.next_value_seed(Write(&mut value))?;
            if fields.insert(name, value).is_some() {
                return Err(A::Error::custom("a field that is there twice"));
            }
        }
        self.0.push(b'{');
        for (name, value) in fields {
            Write(self.0).plain(name)?;
            self.0.push(b':');
            self.0.extend(value);
            self.0.push(b',');
        }
        self.0.push(b'}');
        Ok(())
    }
}
