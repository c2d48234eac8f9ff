//! Looks for NaN and infinities inside a serde value.
//!
//! `serde_json` writes both as null, so a value with one of them in it would read back as another one.

use serde::Serialize;
use serde::ser;
use std::fmt;

/// Whether the value has only finite numbers in it.
///
/// # Errors
/// The first number that is not finite, or whatever the value's own `Serialize` complains about.
pub(crate) fn check<T: Serialize + ?Sized>(value: &T) -> Result<(), Refused> {
    value.serialize(Look)
}

/// Why the look ended early.
#[derive(Debug)]
pub(crate) struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

impl ser::Error for Refused {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Refused(message.to_string())
    }
}

/// A serializer that writes nothing.
#[derive(Clone, Copy)]
struct Look;

impl Look {
    fn number(x: f64) -> Result<(), Refused> {
        if x.is_finite() {
            Ok(())
        } else {
            Err(Refused(format!("{x} inside JSON is not a finite number; JSON would turn it into null")))
        }
    }
}

macro_rules! nothing_to_see {
    ($($method:ident($ty:ty)),*) => {$(
        fn $method(self, _: $ty) -> Result<(), Refused> {
            Ok(())
        }
    )*};
}

impl ser::Serializer for Look {
    type Ok = ();
    type Error = Refused;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    nothing_to_see!(
        serialize_bool(bool),
        serialize_i8(i8),
        serialize_i16(i16),
        serialize_i32(i32),
        serialize_i64(i64),
        serialize_i128(i128),
        serialize_u8(u8),
        serialize_u16(u16),
        serialize_u32(u32),
        serialize_u64(u64),
        serialize_u128(u128),
        serialize_char(char),
        serialize_str(&str),
        serialize_bytes(&[u8]),
        serialize_unit_struct(&'static str)
    );

    fn serialize_f32(self, x: f32) -> Result<(), Refused> {
        Look::number(f64::from(x))
    }

    fn serialize_f64(self, x: f64) -> Result<(), Refused> {
        Look::number(x)
    }

    fn serialize_none(self) -> Result<(), Refused> {
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Refused> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Refused> {
        Ok(())
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Result<(), Refused> {
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Refused> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), Refused> {
        value.serialize(self)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self, Refused> {
        Ok(self)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self, Refused> {
        Ok(self)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, Refused> {
        Ok(self)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, Refused> {
        Ok(self)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self, Refused> {
        Ok(self)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, Refused> {
        Ok(self)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, Refused> {
        Ok(self)
    }
}

/// Implements a compound of serde whose parts come without names.
macro_rules! unnamed {
    ($($compound:ident::$method:ident),*) => {$(
        impl ser::$compound for Look {
            type Ok = ();
            type Error = Refused;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
                value.serialize(*self)
            }

            fn end(self) -> Result<(), Refused> {
                Ok(())
            }
        }
    )*};
}

unnamed!(
    SerializeSeq::serialize_element,
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field
);

/// Implements a compound of serde whose parts have names.
macro_rules! named {
    ($($compound:ident),*) => {$(
        impl ser::$compound for Look {
            type Ok = ();
            type Error = Refused;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                _: &'static str,
                value: &T,
            ) -> Result<(), Refused> {
                value.serialize(*self)
            }

            fn end(self) -> Result<(), Refused> {
                Ok(())
            }
        }
    )*};
}

named!(SerializeStruct, SerializeStructVariant);

impl ser::SerializeMap for Look {
    type Ok = ();
    type Error = Refused;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Refused> {
        key.serialize(*self)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
        value.serialize(*self)
    }

    fn end(self) -> Result<(), Refused> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Serialize;
    use std::collections::BTreeMap;

    #[derive(Serialize)]
    enum Shape {
        Unit,
        Newtype(f64),
        Tuple(f64, f64),
        Struct { x: f64 },
    }

    #[derive(Serialize)]
    struct Newtype(f64);

    #[derive(Serialize)]
    struct Tuple(f64, f64);

    #[derive(Serialize)]
    struct Struct {
        x: Option<f64>,
    }

    #[test]
    fn a_number_that_is_not_finite_is_found_wherever_it_stands() {
        for x in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(check(&x).is_err());
            assert!(check(&(x as f32)).is_err());
            assert!(check(&vec![0.0, x]).is_err());
            assert!(check(&(1, "a", x)).is_err());
            assert!(check(&BTreeMap::from([("a", x)])).is_err());
            assert!(check(&Newtype(x)).is_err());
            assert!(check(&Tuple(0.0, x)).is_err());
            assert!(check(&Struct { x: Some(x) }).is_err());
            assert!(check(&Shape::Newtype(x)).is_err());
            assert!(check(&Shape::Tuple(0.0, x)).is_err());
            assert!(check(&Shape::Struct { x }).is_err());
        }
    }

    #[test]
    fn finite_numbers_and_everything_else_pass() {
        assert!(check(&(0.5, -0.0, f64::MAX, f64::MIN_POSITIVE)).is_ok());
        assert!(check(&(true, 'c', "text", (), None::<f64>, Some(1), u64::MAX, i128::MIN)).is_ok());
        assert!(check(&(Shape::Unit, Struct { x: None })).is_ok());
    }
}
