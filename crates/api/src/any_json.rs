use std::{fmt, marker::PhantomData};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Built of JSON of any type. What is not understood is skipped, not kept: it may be large, and
/// the caller refuses it with all other faults.
pub(crate) trait OfAnyJson: Sized {
    /// Of a type that is none of the others.
    fn not_understood() -> Self;

    fn null() -> Self {
        Self::not_understood()
    }

    fn text(_: &str) -> Self {
        Self::not_understood()
    }

    fn list<'de, A: SeqAccess<'de>>(mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Self::not_understood())
    }

    fn object<'de, A: MapAccess<'de>>(mut fields: A) -> Result<Self, A::Error> {
        while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Self::not_understood())
    }
}

/// Reads a `T`.
pub(crate) struct AnyJson<T>(PhantomData<T>);

/// For `next_value_seed` and `next_element_seed`.
pub(crate) fn any_json<T: OfAnyJson>() -> AnyJson<T> {
    AnyJson(PhantomData)
}

impl<'de, T: OfAnyJson> DeserializeSeed<'de> for AnyJson<T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T: OfAnyJson> Visitor<'de> for AnyJson<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<T, E> {
        Ok(T::null())
    }

    fn visit_str<E>(self, text: &str) -> Result<T, E> {
        Ok(T::text(text))
    }

    fn visit_bool<E>(self, _: bool) -> Result<T, E> {
        Ok(T::not_understood())
    }

    fn visit_i64<E>(self, _: i64) -> Result<T, E> {
        Ok(T::not_understood())
    }

    fn visit_u64<E>(self, _: u64) -> Result<T, E> {
        Ok(T::not_understood())
    }

    fn visit_f64<E>(self, _: f64) -> Result<T, E> {
        Ok(T::not_understood())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<T, A::Error> {
        T::list(items)
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<T, A::Error> {
        T::object(fields)
    }
}

/// A property that is text, or not.
impl OfAnyJson for certward_pki::Text {
    fn not_understood() -> Self {
        Self::NotText
    }

    fn null() -> Self {
        Self::Absent
    }

    fn text(text: &str) -> Self {
        Self::Given(zeroize::Zeroizing::new(text.to_owned()))
    }
}
