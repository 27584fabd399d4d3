//! Response bodies that describe themselves: [`object!`] makes a struct, its JSON and its JSON
//! Schema from one text, so that the served document can't say anything else than the code does.

use std::fmt::Display;

use everopen_domain::Timestamp;
use everopen_views::Decimal;
use everopen_views::clock_text::Iso;
use serde::ser::{Error as _, Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// A value with a JSON Schema.
pub trait Described: Serialize {
    /// Whether an object may lack it.
    const OPTIONAL: bool = false;

    /// The schema, written in full.
    fn schema() -> Value;

    /// Whether this one is left out.
    fn is_absent(&self) -> bool {
        false
    }
}

/// A response object: the struct, its serialization in the order of fields, and its schema. Fields
/// of type `Option` are left out when none.
macro_rules! object {
    ($(#[doc = $doc:literal])* $vis:vis struct $name:ident {
        $($(#[doc = $field_doc:literal])* $field:ident: $type:ty,)*
    }) => {
        $(#[doc = $doc])*
        $vis struct $name {
            $($(#[doc = $field_doc])* pub $field: $type,)*
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeMap as _;
                let mut map = serializer.serialize_map(None)?;
                $(if !$crate::schema::Described::is_absent(&self.$field) {
                    map.serialize_entry(
                        stringify!($field).trim_start_matches("r#"),
                        &self.$field,
                    )?;
                })*
                map.end()
            }
        }

        impl $crate::schema::Described for $name {
            fn schema() -> serde_json::Value {
                let mut properties = serde_json::Map::new();
                let mut required = Vec::<&str>::new();
                $({
                    let name = stringify!($field).trim_start_matches("r#");
                    let mut schema = <$type as $crate::schema::Described>::schema();
                    schema["description"] = concat!($($field_doc),*).trim().into();
                    properties.insert(name.to_owned(), schema);
                    if !<$type as $crate::schema::Described>::OPTIONAL {
                        required.push(name);
                    }
                })*
                serde_json::json!({
                    "type": "object",
                    "description": concat!($($doc),*).trim(),
                    "required": required,
                    "properties": properties,
                })
            }
        }
    };
}
pub(crate) use object;

macro_rules! plain {
    ($($type:ty => $name:literal),*) => {$(
        impl Described for $type {
            fn schema() -> Value {
                json!({ "type": $name })
            }
        }
    )*};
}
plain!(bool => "boolean", u64 => "integer", u32 => "integer", String => "string", &'static str => "string");

impl<T: Described> Described for Option<T> {
    const OPTIONAL: bool = true;

    fn schema() -> Value {
        T::schema()
    }

    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

impl<T: Described> Described for Vec<T> {
    fn schema() -> Value {
        json!({ "type": "array", "items": T::schema() })
    }
}

/// A decimal number as a JSON string, with all its decimals.
#[derive(Clone, Copy)]
pub struct Exact(pub Decimal);

impl Serialize for Exact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl Described for Exact {
    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^-?[0-9]+([.][0-9]+)?$" })
    }
}

/// A decimal number as a JSON string, without trailing zeros.
#[derive(Clone, Copy)]
pub struct Short(pub Decimal);

impl Serialize for Short {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:#}", self.0))
    }
}

impl Described for Short {
    fn schema() -> Value {
        Exact::schema()
    }
}

/// A decimal number as a JSON number, written exactly.
#[derive(Clone, Copy)]
pub struct Number(pub Decimal);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = format!("{:#}", self.0);
        RawValue::from_string(text)
            .map_err(S::Error::custom)?
            .serialize(serializer)
    }
}

impl Described for Number {
    fn schema() -> Value {
        json!({ "type": "number" })
    }
}

/// A time as ISO 8601 text.
#[derive(Clone, Copy)]
pub struct Time(pub Timestamp);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Iso(self.0))
    }
}

impl Described for Time {
    fn schema() -> Value {
        json!({ "type": "string", "format": "date-time" })
    }
}

/// Anything with a text form, as a JSON string.
#[derive(Clone, Copy)]
pub struct Text<T>(pub T);

impl<T: Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<T: Display> Described for Text<T> {
    fn schema() -> Value {
        json!({ "type": "string" })
    }
}

/// A row: a list of values of fixed places.
macro_rules! row {
    ($($type:ident $at:tt),*) => {
        impl<$($type: Described),*> Described for ($($type,)*) {
            fn schema() -> Value {
                let items = [$($type::schema()),*];
                let length = items.len();
                json!({ "type": "array", "prefixItems": items, "minItems": length, "maxItems": length })
            }
        }
    };
}
row!(A 0, B 1, C 2);
row!(A 0, B 1, C 2, D 3, E 4);
row!(A 0, B 1, C 2, D 3, E 4, F 5);

#[cfg(test)]
mod tests {
    use super::*;

    object! {
        /// A thing.
        struct Thing {
            /// Its kind.
            r#type: &'static str,
            /// Its price.
            price: Exact,
            /// Its end.
            ended_at: Option<Time>,
        }
    }

    #[test]
    fn an_object_and_its_schema_agree() {
        let price = Exact(Decimal::new(150, 2));
        let mut thing = Thing {
            r#type: "a",
            price,
            ended_at: None,
        };
        assert_eq!(
            serde_json::to_string(&thing).unwrap(),
            r#"{"type":"a","price":"1.50"}"#
        );
        thing.ended_at = Some(Time(Timestamp(0)));
        let text = serde_json::to_string(&thing).unwrap();
        assert!(
            text.ends_with(r#""ended_at":"1970-01-01T00:00:00.000000Z"}"#),
            "{text}"
        );
        let schema = Thing::schema();
        assert_eq!(schema["required"], json!(["type", "price"]));
        assert_eq!(schema["properties"]["price"]["description"], "Its price.");
        assert_eq!(
            serde_json::to_string(&Number(Decimal::new(150, 2))).unwrap(),
            "1.5"
        );
        assert_eq!(
            serde_json::to_string(&Short(Decimal::new(100, 2))).unwrap(),
            "\"1\""
        );
    }
}
