//! JSON, one value after the other.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::scalar::{float_value, uint_value};

/// What was read of a text.
pub(super) struct Read {
    pub(super) documents: Vec<Value>,
    /// What it goes on with, if that is something else.
    pub(super) rest: Option<Rest>,
}

/// What is no JSON.
pub(super) struct Rest {
    /// Where it begins.
    pub(super) offset: usize,
    /// Why it is none.
    pub(super) why: String,
    /// Whether it is JSON all the same, only not such as can be read.
    pub(super) ends: bool,
}

/// Reads values as long as there are any.
pub(super) fn read(text: &str) -> Read {
    let mut documents = Vec::new();
    let mut offset = 0;
    loop {
        let rest = &text[offset..];
        if rest.trim_matches([' ', '\t', '\r', '\n']).is_empty() {
            return Read { documents, rest: None };
        }
        let mut stream = serde_json::Deserializer::from_str(rest).into_iter::<Unique>();
        match stream.next() {
            Some(Ok(Unique(value))) => documents.push(value),
            Some(Err(error)) => {
                let line = text[..offset].matches('\n').count() + error.line();
                let said = error.to_string();
                // The place within the text was just said.
                let said = said.split(" at line ").next().unwrap_or(&said);
                let ends = error.is_data() || said == "number out of range";
                let rest = Some(Rest { offset, why: format!("line {line}: {said}"), ends });
                return Read { documents, rest };
            }
            None => return Read { documents, rest: None },
        }
        offset += stream.byte_offset();
    }
}

/// A value in which no object names a field twice.
struct Unique(Value);

impl<'de> serde::Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Take).map(Self)
    }
}

#[derive(Clone, Copy)]
struct Take;

impl<'de> DeserializeSeed<'de> for Take {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Take {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(i64::try_from(value).map_or_else(|_| uint_value(value).unwrap_or_default(), Value::from))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(float_value(value).unwrap_or_default())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = items.next_element_seed(self)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            let value = fields.next_value_seed(self)?;
            if map.contains_key(&name) {
                return Err(A::Error::custom(format!("the key {name:?} is there twice; take one out")));
            }
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}
