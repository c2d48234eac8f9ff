//! Field values as SQLite holds them, to the bit, and back, whoever wrote them.

use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp};
use rusqlite::types::{ToSqlOutput, Value as Owned, ValueRef};
use sync_runtime::value::{self, FieldType, Value};
use uuid::Uuid;

/// How a column treats the values that are put into it, as SQLite derives it from the declared type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Affinity {
    Integer,
    Text,
    /// None at all: what is put in is what comes out.
    Blob,
    Real,
    Numeric,
}

impl Affinity {
    /// By the rules of the SQLite documentation, in their order.
    pub(crate) fn of(declared: &str) -> Self {
        let declared = declared.to_ascii_uppercase();
        let has = |part: &str| declared.contains(part);
        if has("INT") {
            Affinity::Integer
        } else if has("CHAR") || has("CLOB") || has("TEXT") {
            Affinity::Text
        } else if has("BLOB") || declared.is_empty() {
            Affinity::Blob
        } else if has("REAL") || has("FLOA") || has("DOUB") {
            Affinity::Real
        } else {
            Affinity::Numeric
        }
    }
}

/// How the values of one field stand in its column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Encoding {
    ty: FieldType,
    affinity: Affinity,
    /// UUIDs and timestamps as text, where the column's declared type says so.
    text: bool,
    /// Decimals as numbers, with so many digits after the point.
    scale: Option<usize>,
}

/// A value as SQL for a column that is declared so, where a row needs one and nobody has one.
pub(crate) fn plain(declared: &str) -> &'static str {
    match Affinity::of(declared) {
        Affinity::Integer | Affinity::Real | Affinity::Numeric => "0",
        Affinity::Text => "''",
        Affinity::Blob => "x''",
    }
}

/// The type that a column is declared with, for a field of this type.
///
/// Floats have none: a `REAL` column forgets the sign of zero.
pub(crate) fn declared(ty: FieldType) -> &'static str {
    match ty {
        FieldType::Bool | FieldType::Int { .. } | FieldType::Timestamp => "INTEGER",
        FieldType::Float | FieldType::Float32 => "",
        FieldType::Bytes | FieldType::Uuid => "BLOB",
        _ => "TEXT",
    }
}

impl Encoding {
    /// How text stands where nothing else does.
    pub(crate) const TEXT: Encoding =
        Encoding { ty: FieldType::Text, affinity: Affinity::Text, text: true, scale: None };

    /// How a field of this type stands in a column that is declared so, or what the column should be declared as.
    pub(crate) fn new(ty: FieldType, declared: &str) -> Result<Self, &'static str> {
        let affinity = Affinity::of(declared);
        let upper = declared.to_ascii_uppercase();
        let named = |part: &str| upper.contains(part);
        let text = affinity == Affinity::Text;
        let (fits, expected) = match ty {
            FieldType::Bool => (
                matches!(affinity, Affinity::Integer | Affinity::Numeric | Affinity::Blob),
                "INTEGER or BOOLEAN",
            ),
            FieldType::Int { .. } => {
                (matches!(affinity, Affinity::Integer | Affinity::Numeric | Affinity::Blob), "INTEGER")
            }
            FieldType::Float | FieldType::Float32 => (
                matches!(affinity, Affinity::Real | Affinity::Numeric | Affinity::Blob),
                "REAL, or without a type",
            ),
            FieldType::Bytes => (affinity == Affinity::Blob, "BLOB"),
            FieldType::Uuid => (matches!(affinity, Affinity::Blob | Affinity::Text), "BLOB or TEXT"),
            FieldType::Timestamp => {
                let date_like = named("DATE") || named("TIME");
                (text || date_like || affinity == Affinity::Integer, "INTEGER, TEXT or DATETIME")
            }
            FieldType::Date => (text || named("DATE"), "TEXT or DATE"),
            FieldType::Decimal => {
                let number = affinity == Affinity::Numeric && scale(declared).is_some();
                (text || affinity == Affinity::Blob || number, "TEXT or NUMERIC(p, s)")
            }
            _ => (matches!(affinity, Affinity::Text | Affinity::Blob), "TEXT"),
        };
        if !fits {
            return Err(expected);
        }
        let text = match ty {
            FieldType::Timestamp => affinity != Affinity::Integer,
            _ => text,
        };
        let number = ty == FieldType::Decimal && affinity == Affinity::Numeric;
        let scale = scale(declared).filter(|_| number);
        Ok(Encoding { ty, affinity, text, scale })
    }

    pub(crate) fn affinity(self) -> Affinity {
        self.affinity
    }

    /// Whether numbers are held as floats.
    pub(crate) fn is_float(self) -> bool {
        matches!(self.ty, FieldType::Float | FieldType::Float32)
    }

    /// Whether decimals are held as numbers.
    pub(crate) fn is_decimal_number(self) -> bool {
        self.scale.is_some()
    }

    /// Whether the column may give another value back than was put in.
    pub(crate) fn is_lossy(self) -> bool {
        self.is_decimal_number() || self.is_float() && self.affinity != Affinity::Blob
    }

    /// The collation in which the column's values stand in the order of [`Value::order`].
    pub(crate) fn collation(self) -> &'static str {
        match self.ty {
            FieldType::Decimal if !self.is_decimal_number() => super::connection::DECIMAL_COLLATION,
            _ => "BINARY",
        }
    }

    /// The value as the column holds it.
    pub(crate) fn encode(self, value: &Value) -> ToSqlOutput<'_> {
        let owned = |value: Owned| ToSqlOutput::Owned(value);
        let text = |text: String| ToSqlOutput::Owned(Owned::Text(text));
        match value {
            Value::Null => owned(Owned::Null),
            Value::Bool(yes) => owned(Owned::Integer(i64::from(*yes))),
            Value::Int(n) => owned(Owned::Integer(*n)),
            // The two zeros are equal in SQL. As an integer and a float they can be told apart by their type.
            Value::Float(x) if *x == 0.0 && x.is_sign_positive() => owned(Owned::Integer(0)),
            Value::Float(x) => owned(Owned::Real(*x)),
            Value::Text(text) | Value::Decimal(text) => {
                ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes()))
            }
            Value::Bytes(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
            Value::Uuid(id) if self.text => text(id.hyphenated().to_string()),
            Value::Uuid(id) => ToSqlOutput::Borrowed(ValueRef::Blob(id.as_bytes())),
            Value::Timestamp(micros) if self.text => text(timestamp_text(*micros)),
            Value::Timestamp(micros) => owned(Owned::Integer(*micros)),
            // A day that has no text is refused by the engine; here it stands as the number it is.
            Value::Date(day) => match value::date_text(*day) {
                Some(day) => text(day),
                None => owned(Owned::Integer(i64::from(*day))),
            },
            Value::Json(json) => text(json.to_string()),
        }
    }

    /// The value that a column holds.
    ///
    /// The error says what was found instead.
    pub(crate) fn decode(self, found: ValueRef<'_>) -> Result<Value, String> {
        let text = |bytes: &[u8]| {
            std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| "text that is not UTF-8".to_owned())
        };
        let value = match (self.ty, found) {
            (_, ValueRef::Null) => Some(Value::Null),
            (FieldType::Bool, ValueRef::Integer(n)) => match n {
                0 => Some(Value::Bool(false)),
                1 => Some(Value::Bool(true)),
                _ => None,
            },
            (FieldType::Bool, ValueRef::Text(bytes)) => match bytes.to_ascii_lowercase().as_slice() {
                b"true" | b"t" => Some(Value::Bool(true)),
                b"false" | b"f" => Some(Value::Bool(false)),
                _ => None,
            },
            (FieldType::Int { .. }, ValueRef::Integer(n)) => Some(Value::Int(n)),
            (FieldType::Int { .. }, ValueRef::Real(x)) if whole(x) => Some(Value::Int(x as i64)),
            (FieldType::Float | FieldType::Float32, ValueRef::Real(x)) => {
                x.is_finite().then_some(Value::Float(x))
            }
            (FieldType::Float | FieldType::Float32, ValueRef::Integer(n)) => Some(Value::Float(n as f64)),
            (FieldType::Text, ValueRef::Text(bytes)) => Some(Value::Text(text(bytes)?)),
            (FieldType::Text, ValueRef::Blob(bytes)) => Some(Value::Text(text(bytes)?)),
            (FieldType::Bytes, ValueRef::Blob(bytes) | ValueRef::Text(bytes)) => {
                Some(Value::Bytes(bytes.to_vec()))
            }
            (FieldType::Uuid, ValueRef::Blob(bytes)) => Uuid::from_slice(bytes).ok().map(Value::Uuid),
            (FieldType::Uuid, ValueRef::Text(bytes)) => Uuid::try_parse_ascii(bytes).ok().map(Value::Uuid),
            (FieldType::Timestamp, ValueRef::Integer(micros)) => Some(Value::Timestamp(micros)),
            (FieldType::Timestamp, ValueRef::Text(bytes)) => {
                parse_timestamp(&text(bytes)?).map(Value::Timestamp)
            }
            (FieldType::Date, ValueRef::Text(bytes)) => value::parse_date(&text(bytes)?).map(Value::Date),
            // In a column of numbers a text is none of them; a base has the text that was given.
            (FieldType::Decimal, ValueRef::Text(bytes)) => {
                let decimal = Value::Decimal(text(bytes)?);
                let is_one = self.scale.is_none() || value::check(self.ty, &decimal).is_ok();
                is_one.then_some(decimal)
            }
            (FieldType::Decimal, ValueRef::Integer(n)) => self.decimal(n.to_string()),
            (FieldType::Decimal, ValueRef::Real(x)) if self.scale.is_some() => match x == 0.0 {
                // The sign of zero is none of the number's.
                true => self.decimal("0".to_owned()),
                // As many digits as tell it from other numbers, and no exponent.
                false => self.decimal(x.to_string()),
            },
            (FieldType::Json, ValueRef::Text(bytes) | ValueRef::Blob(bytes)) => {
                serde_json::from_slice(bytes).ok().map(Value::Json)
            }
            (FieldType::Json, ValueRef::Integer(n)) => Some(Value::Json(n.into())),
            (FieldType::Json, ValueRef::Real(x)) => Some(Value::Json(x.into())),
            _ => None,
        };
        value.ok_or_else(|| match found {
            ValueRef::Integer(n) => format!("the integer {n}"),
            ValueRef::Real(x) => format!("the float {x}"),
            ValueRef::Blob(bytes) => format!("a blob of {} bytes", bytes.len()),
            _ => "a text of another form".to_owned(),
        })
    }
}

impl Encoding {
    /// The decimal with these digits, and zeros up to the column's scale.
    fn decimal(self, mut digits: String) -> Option<Value> {
        let fraction = digits.split_once('.').map_or(0, |(_, fraction)| fraction.len());
        let zeros = self.scale.unwrap_or(0).saturating_sub(fraction);
        if zeros > 0 {
            digits.push_str(if fraction == 0 { "." } else { "" });
            digits.extend(std::iter::repeat_n('0', zeros));
        }
        let decimal = Value::Decimal(digits);
        value::check(self.ty, &decimal).is_ok().then_some(decimal)
    }
}

/// The scale in a declared type such as `NUMERIC(10, 2)`.
fn scale(declared: &str) -> Option<usize> {
    let (_, arguments) = declared.split_once('(')?;
    let (precision, scale) = arguments.strip_suffix(')')?.split_once(',')?;
    precision.trim().parse::<usize>().ok()?;
    scale.trim().parse().ok()
}

/// A value as an SQL literal, for a column's default.
pub(crate) fn literal(value: &ToSqlOutput<'_>) -> String {
    let value = match value {
        ToSqlOutput::Borrowed(value) => *value,
        ToSqlOutput::Owned(value) => value.into(),
        _ => ValueRef::Null,
    };
    match value {
        ValueRef::Null => "NULL".to_owned(),
        ValueRef::Integer(n) => format!("({n})"),
        ValueRef::Real(x) => format!("({x:?})"),
        ValueRef::Text(text) => crate::names::literal(&String::from_utf8_lossy(text)),
        ValueRef::Blob(bytes) => {
            let digits: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
            format!("X'{digits}'")
        }
    }
}

fn whole(x: f64) -> bool {
    x.fract() == 0.0 && x.abs() < 9_007_199_254_740_992.0
}

const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

/// `2026-01-31 12:00:00.5`, UTC: the form of SQLite's own functions, and in the order of time.
///
/// In civil time, as a [`Timestamp`] ends a day before the year 9999 does.
fn timestamp_text(micros: i64) -> String {
    match EPOCH.checked_add(SignedDuration::from_micros(micros)) {
        Ok(time) => time.to_string().replacen('T', " ", 1),
        Err(_) => micros.to_string(),
    }
}

/// A date and time in any usual form; UTC where the text names no offset.
fn parse_timestamp(text: &str) -> Option<i64> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time.as_microsecond());
    }
    let time: DateTime = text.parse().ok()?;
    i64::try_from(time.duration_since(EPOCH).as_micros()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_in_text_keep_their_order_and_their_microseconds() {
        let texts = ["2026-01-31 12:00:00", "2026-01-31 12:00:00.45", "2026-01-31 12:00:00.5"];
        for text in texts {
            let micros = parse_timestamp(text).expect("a timestamp");
            assert_eq!(timestamp_text(micros), text);
        }
        assert!(texts.is_sorted());
        let zoned = parse_timestamp("2026-01-31T13:00:00.000001+01:00");
        assert_eq!(zoned.map(timestamp_text).as_deref(), Some("2026-01-31 12:00:00.000001"));
        assert_eq!(parse_timestamp("yesterday"), None);
        for micros in [value::TIMESTAMP_RANGE.0, value::TIMESTAMP_RANGE.1, -1, 0] {
            assert_eq!(parse_timestamp(&timestamp_text(micros)), Some(micros));
        }
    }

    #[test]
    fn what_others_wrote_is_understood() {
        let id = Uuid::from_u128(7);
        let encoding = |ty, declared| Encoding::new(ty, declared).expect("it fits");
        let upper = id.hyphenated().to_string().to_uppercase();
        let cases = [
            (FieldType::Uuid, "BLOB", ValueRef::Text(upper.as_bytes()), Value::Uuid(id)),
            (FieldType::Bool, "BOOLEAN", ValueRef::Text(b"TRUE"), Value::Bool(true)),
            (FieldType::Int { min: 0, max: 9 }, "NUMERIC", ValueRef::Real(5.0), Value::Int(5)),
            (FieldType::Float, "REAL", ValueRef::Integer(5), Value::Float(5.0)),
            (
                FieldType::Timestamp,
                "DATETIME",
                ValueRef::Text(b"1970-01-01 00:00:01"),
                Value::Timestamp(1_000_000),
            ),
        ];
        for (ty, declared, found, expected) in cases {
            assert_eq!(encoding(ty, declared).decode(found), Ok(expected));
        }
        let refused = encoding(FieldType::I64, "INTEGER").decode(ValueRef::Text(b"many"));
        assert_eq!(refused, Err("a text of another form".to_owned()));
    }

    #[test]
    fn a_number_is_a_decimal_with_the_scale_of_its_column() {
        let cases = [
            ("NUMERIC(10,2)", ValueRef::Integer(5), Some("5.00")),
            ("NUMERIC(10,2)", ValueRef::Integer(-5), Some("-5.00")),
            ("DECIMAL( 10 , 2 )", ValueRef::Real(0.1), Some("0.10")),
            ("decimal(10,2)", ValueRef::Real(-1234.56), Some("-1234.56")),
            ("NUMERIC(10,2)", ValueRef::Real(0.125), Some("0.125")),
            ("NUMERIC(10,2)", ValueRef::Real(1e-7), Some("0.0000001")),
            ("NUMERIC(20,2)", ValueRef::Real(1e20), Some("100000000000000000000.00")),
            ("NUMERIC(10,2)", ValueRef::Real(-0.0), Some("0.00")),
            ("NUMERIC(10,0)", ValueRef::Integer(7), Some("7")),
            ("NUMERIC(10,2)", ValueRef::Text(b"5.0"), Some("5.0")),
            ("NUMERIC(10,2)", ValueRef::Text(b"five"), None),
            ("NUMERIC(10,2)", ValueRef::Real(1e300), None),
            ("NUMERIC(10,2)", ValueRef::Real(f64::INFINITY), None),
        ];
        for (declared, found, expected) in cases {
            let encoding = Encoding::new(FieldType::Decimal, declared).expect("it fits");
            assert!(encoding.is_lossy());
            let expected = expected.map(|text| Value::Decimal(text.to_owned()));
            assert_eq!(encoding.decode(found).ok(), expected, "{declared} {found:?}");
        }
    }

    #[test]
    fn a_column_that_would_change_values_is_refused() {
        for declared in ["DECIMAL", "NUMERIC(10)", "NUMERIC(10,-2)", "REAL(10,2)"] {
            assert_eq!(
                Encoding::new(FieldType::Decimal, declared),
                Err("TEXT or NUMERIC(p, s)"),
                "{declared}"
            );
        }
        assert_eq!(Encoding::new(FieldType::Text, "INTEGER"), Err("TEXT"));
        assert_eq!(Encoding::new(FieldType::I64, "VARCHAR(20)"), Err("INTEGER"));
        assert!(Encoding::new(FieldType::Float, "DOUBLE PRECISION").is_ok_and(Encoding::is_lossy));
    }
}
