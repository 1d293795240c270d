//! The names of types, far enough to know how their columns are laid out.

/// How a column of a type is laid out in a Native block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    /// So many bytes a row.
    Fixed(usize),
    String,
    Nullable(Box<Type>),
    LowCardinality(Box<Type>),
    Array(Box<Type>),
    Tuple(Vec<Type>),
    Variant(Vec<Type>),
    /// Only when it is written as text.
    Json,
}

/// Deeper types are not walked.
const MAX_DEPTH: usize = 32;

/// Reads a type's name; `None` if its layout is not known here.
pub fn parse(name: &[u8]) -> Option<Type> {
    read(std::str::from_utf8(name).ok()?, 0)
}

fn read(name: &str, depth: usize) -> Option<Type> {
    let name = name.trim();
    let (head, arguments) = match name.split_once('(') {
        Some((head, rest)) => (head, Some(rest.strip_suffix(')')?)),
        None => (name, None),
    };
    if depth > MAX_DEPTH {
        return None;
    }
    let inner = |text: &str| read(text, depth + 1);
    let boxed = |text: Option<&str>| text.and_then(inner).map(Box::new);
    Some(match head {
        "Nullable" => Type::Nullable(boxed(arguments)?),
        "LowCardinality" => Type::LowCardinality(boxed(arguments)?),
        "Array" => Type::Array(boxed(arguments)?),
        "Map" => {
            let pair = split(arguments?)?.into_iter().map(inner).collect::<Option<Vec<_>>>()?;
            Type::Array(Box::new(Type::Tuple(pair)))
        }
        "Tuple" => Type::Tuple(elements(arguments.unwrap_or(""), depth)?),
        "Nested" => Type::Array(Box::new(Type::Tuple(elements(arguments?, depth)?))),
        "Variant" => Type::Variant(split(arguments?)?.into_iter().map(inner).collect::<Option<Vec<_>>>()?),
        // The value is laid out as its type: `SimpleAggregateFunction(sum, UInt64)`.
        "SimpleAggregateFunction" => inner(split(arguments?)?.get(1)?)?,
        "FixedString" => Type::Fixed(arguments?.trim().parse().ok()?),
        "Decimal" => decimal(arguments?)?,
        "Point" => Type::Tuple(vec![Type::Fixed(8), Type::Fixed(8)]),
        "Ring" | "LineString" => Type::Array(Box::new(inner("Point")?)),
        "Polygon" | "MultiLineString" => Type::Array(Box::new(inner("Ring")?)),
        "MultiPolygon" => Type::Array(Box::new(inner("Polygon")?)),
        "String" => Type::String,
        "JSON" => Type::Json,
        _ => Type::Fixed(width(head)?),
    })
}

fn width(head: &str) -> Option<usize> {
    Some(match head {
        "UInt8" | "Int8" | "Bool" | "Enum8" | "Nothing" => 1,
        "UInt16" | "Int16" | "Date" | "Enum16" | "BFloat16" => 2,
        "UInt32" | "Int32" | "Float32" | "Date32" | "DateTime" | "IPv4" | "Decimal32" | "Time" => 4,
        "UInt64" | "Int64" | "Float64" | "DateTime64" | "Decimal64" | "Time64" => 8,
        "UInt128" | "Int128" | "UUID" | "IPv6" | "Decimal128" => 16,
        "UInt256" | "Int256" | "Decimal256" => 32,
        _ if head.starts_with("Interval") => 8,
        _ => return None,
    })
}

fn decimal(arguments: &str) -> Option<Type> {
    let precision: u32 = arguments.split(',').next()?.trim().parse().ok()?;
    Some(Type::Fixed(match precision {
        0..=9 => 4,
        10..=18 => 8,
        19..=38 => 16,
        _ => 32,
    }))
}

/// The elements of a tuple, each perhaps with its name before it.
fn elements(arguments: &str, depth: usize) -> Option<Vec<Type>> {
    let element = |text: &str| {
        let text = text.trim();
        read(text, depth + 1).or_else(|| read(without_name(text)?, depth + 1))
    };
    split(arguments)?.into_iter().map(element).collect()
}

fn without_name(text: &str) -> Option<&str> {
    match text.strip_prefix('`') {
        // A quoted name: to its closing backtick that is not escaped.
        Some(rest) => {
            let mut escaped = false;
            let end = rest.find(|c| {
                let closes = c == '`' && !escaped;
                escaped = c == '\\' && !escaped;
                closes
            })?;
            Some(&rest[end + 1..])
        }
        None => text.split_once(' ').map(|(_, rest)| rest),
    }
}

/// Parts between commas that are not within parentheses or quotes.
fn split(text: &str) -> Option<Vec<&str>> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0_usize);
    let mut quote = None;
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match (quote, byte) {
            (Some(_), b'\\') if !escaped => escaped = true,
            (Some(open), byte) => {
                if byte == open && !escaped {
                    quote = None;
                }
                escaped = false;
            }
            (None, b'\'' | b'`') => quote = Some(byte),
            (None, b'(') => depth += 1,
            (None, b')') => depth = depth.checked_sub(1)?,
            (None, b',') if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    if !text[start..].trim().is_empty() {
        parts.push(&text[start..]);
    }
    (depth == 0 && quote.is_none()).then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_follow_names() {
        let of = |name: &str| parse(name.as_bytes());
        assert_eq!(of("DateTime64(6, 'UTC')"), Some(Type::Fixed(8)));
        assert_eq!(of("Decimal(38, 3)"), Some(Type::Fixed(16)));
        assert_eq!(of("Enum8('a)' = 1, 'b\\'(' = 2)"), Some(Type::Fixed(1)));
        assert_eq!(of("SimpleAggregateFunction(sumMap, Map(UInt16, UInt64))"), of("Map(UInt16, UInt64)"));
        assert_eq!(
            of("Tuple(a String, `b c` Tuple(UInt8, Array(Nullable(Int16))))"),
            of("Tuple(String, Tuple(UInt8, Array(Nullable(Int16))))")
        );
        assert_eq!(of("Nested(a UInt8, b String)"), of("Array(Tuple(UInt8, String))"));
        assert_eq!(of("AggregateFunction(sum, UInt8)"), None);
        assert_eq!(of("Dynamic"), None);
        assert_eq!(of(&format!("{}UInt8{}", "Array(".repeat(5000), ")".repeat(5000))), None);
        for odd in ["", "(", "Array(", "Tuple())", "Map(", "FixedString(x)", "Enum8('a", "Array(\u{e9})"] {
            assert_eq!(of(odd), None, "{odd}");
        }
    }
}
