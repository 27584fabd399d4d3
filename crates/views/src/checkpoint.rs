//! The views as data, to go on from without reading the log from its beginning.

use core::fmt;

use serde::de::{Error, SeqAccess, Visitor};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Config;
use crate::views::{State, Views};

/// The format of what follows. A change of any view's fields is a new format; views of another
/// format are rebuilt from the log instead.
const FORMAT: u16 = 1;

/// The views, ready to be encoded. The form suits encoders that are not self-describing.
#[derive(Clone, Copy, Debug)]
pub struct Checkpoint<'a>(&'a State);

/// A decoded checkpoint.
#[derive(Clone, Debug)]
pub struct OwnedCheckpoint(State);

impl Views {
    /// These views as a checkpoint. Its index is [`Views::index`].
    pub fn to_checkpoint(&self) -> Checkpoint<'_> {
        Checkpoint(self.state())
    }

    /// The views of a checkpoint. Smaller limits than before bind with the next addition.
    pub fn restore(config: Config, checkpoint: OwnedCheckpoint) -> Self {
        Self::of(config, checkpoint.0)
    }
}

impl Serialize for Checkpoint<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(2)?;
        tuple.serialize_element(&FORMAT)?;
        tuple.serialize_element(self.0)?;
        tuple.end()
    }
}

impl<'de> Deserialize<'de> for OwnedCheckpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Parts;

        impl<'de> Visitor<'de> for Parts {
            type Value = OwnedCheckpoint;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a checkpoint of views in format {FORMAT}")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let missing = || A::Error::custom("checkpoint of views ends early");
                // Before anything else is decoded, since only this tells how.
                let format: u16 = seq.next_element()?.ok_or_else(missing)?;
                if format != FORMAT {
                    return Err(A::Error::custom(format_args!(
                        "checkpoint of views has format {format}, not {FORMAT}"
                    )));
                }
                seq.next_element()?.ok_or_else(missing).map(OwnedCheckpoint)
            }
        }

        deserializer.deserialize_tuple(2, Parts)
    }
}
