//! Reading big-endian fields off the wire.

use super::unfit::Unfit;

/// What is left of a value's bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wire<'a>(pub(super) &'a [u8]);

const SHORT: Unfit = Unfit::Malformed("it ends early");

impl<'a> Wire<'a> {
    /// The next `length` bytes.
    pub(super) fn bytes(&mut self, length: usize) -> Result<&'a [u8], Unfit> {
        let (head, rest) = self.0.split_at_checked(length).ok_or(SHORT)?;
        self.0 = rest;
        Ok(head)
    }

    /// The next `N` bytes.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Unfit> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(SHORT)?;
        self.0 = rest;
        Ok(*head)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Unfit> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn i16(&mut self) -> Result<i16, Unfit> {
        self.array().map(i16::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Unfit> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Result<i32, Unfit> {
        self.array().map(i32::from_be_bytes)
    }

    pub(super) fn i64(&mut self) -> Result<i64, Unfit> {
        self.array().map(i64::from_be_bytes)
    }

    pub(super) fn f64(&mut self) -> Result<f64, Unfit> {
        self.array().map(f64::from_be_bytes)
    }

    /// A length and as many bytes; None for the length -1, which stands for NULL.
    pub(super) fn field(&mut self) -> Result<Option<&'a [u8]>, Unfit> {
        match self.i32()? {
            -1 => Ok(None),
            length => self.bytes(usize::try_from(length).map_err(|_| Unfit::Malformed("a length is negative"))?).map(Some),
        }
    }

    /// A count that is not negative.
    pub(super) fn count(&mut self) -> Result<usize, Unfit> {
        usize::try_from(self.i32()?).map_err(|_| Unfit::Malformed("a count is negative"))
    }

    /// That nothing is left.
    pub(super) fn end(self) -> Result<(), Unfit> {
        if self.0.is_empty() { Ok(()) } else { Err(Unfit::Malformed("it goes on behind its end")) }
    }
}

/// All bytes of a value of fixed width.
pub(super) fn exactly<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Unfit> {
    bytes.try_into().map_err(|_| Unfit::Malformed("it has another width"))
}

/// A value's text.
pub(super) fn utf8(bytes: &[u8]) -> Result<&str, Unfit> {
    std::str::from_utf8(bytes).map_err(|_| Unfit::Malformed("it is not valid UTF-8"))
}
