//! The two habits of the flat form: a fixed part whose layout is one list, and a reader that cannot run over.

/// An integer or byte array at a fixed place, little-endian.
pub(crate) trait Flat: Sized {
    const SIZE: usize;
    fn put(&self, out: &mut [u8]);
    fn get(bytes: &[u8]) -> Self;
}

macro_rules! flat_integer {
    ($($type:ty),+) => {$(
        impl Flat for $type {
            const SIZE: usize = size_of::<$type>();
            #[inline]
            fn put(&self, out: &mut [u8]) { out.copy_from_slice(&self.to_le_bytes()); }
            #[inline]
            fn get(bytes: &[u8]) -> Self {
                let mut raw = [0; size_of::<$type>()];
                raw.copy_from_slice(bytes);
                Self::from_le_bytes(raw)
            }
        }
    )+};
}
flat_integer!(u8, u16, u32, u64, i64);

impl<const N: usize> Flat for [u8; N] {
    const SIZE: usize = N;
    #[inline]
    fn put(&self, out: &mut [u8]) {
        out.copy_from_slice(self);
    }
    #[inline]
    fn get(bytes: &[u8]) -> Self {
        let mut raw = [0; N];
        raw.copy_from_slice(bytes);
        raw
    }
}

/// Declares a struct whose fields stand one after the other on the wire, in the order given.
macro_rules! flat {
    ($(#[$doc:meta])* $vis:vis struct $name:ident { $($(#[$fdoc:meta])* $field:ident: $type:ty),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $vis struct $name { $($(#[$fdoc])* pub $field: $type),+ }

        impl $name {
            /// Bytes on the wire.
            pub const SIZE: usize = 0 $(+ <$type as $crate::wire::Flat>::SIZE)+;

            #[inline]
            pub(crate) fn put(&self, out: &mut [u8; Self::SIZE]) {
                let mut at = 0;
                $(
                    let size = <$type as $crate::wire::Flat>::SIZE;
                    $crate::wire::Flat::put(&self.$field, &mut out[at..at + size]);
                    at += size;
                )+
                debug_assert_eq!(at, Self::SIZE);
            }

            #[inline]
            pub(crate) fn get(bytes: &[u8; Self::SIZE]) -> Self {
                let mut at = 0;
                $(
                    let size = <$type as $crate::wire::Flat>::SIZE;
                    let $field = <$type as $crate::wire::Flat>::get(&bytes[at..at + size]);
                    at += size;
                )+
                debug_assert_eq!(at, Self::SIZE);
                Self { $($field),+ }
            }
        }
    };
}
pub(crate) use flat;

/// Reads forward over untrusted bytes; every step says `None` rather than pass the end.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    #[inline]
    pub(crate) fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(taken)
    }

    #[inline]
    pub(crate) fn get<T: Flat>(&mut self) -> Option<T> {
        self.bytes(T::SIZE).map(T::get)
    }

    /// A string behind its `u16` length.
    pub(crate) fn text16(&mut self) -> Option<&'a [u8]> {
        let len = self.get::<u16>()?;
        self.bytes(usize::from(len))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn remaining(&self) -> usize {
        self.rest.len()
    }
}

/// Appends `bytes` behind their `u16` length, cut where that length ends.
pub(crate) fn put_text16(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&bytes[..usize::from(len)]);
}
