//! Values without a type: what programs of other images, and of other languages, exchange.

/// A value that says itself what it is.
///
/// # Python
/// What `pickle` makes of plain data.
#[derive(Clone, Debug, Default)]
pub enum Data {
    /// Nothing.
    #[default]
    Null,
    /// True or false; not a number.
    Bool(bool),
    /// An integer that fits.
    Integer(i64),
    /// Any other integer: two's complement, little-endian, as short as it can be.
    BigInteger(Box<[u8]>),
    /// A number with a fraction, or one that is no number.
    Float(f64),
    /// Bytes.
    Bytes(Box<[u8]>),
    /// Text.
    Text(Box<str>),
    /// Values in order.
    List(Vec<Data>),
    /// Values in order, of a fixed number.
    Tuple(Vec<Data>),
    /// Pairs, in the order in which they were inserted; keys are unique.
    Map(Vec<(Data, Data)>),
    /// Values without order; each is in it once.
    Set(Vec<Data>),
    /// What only its own kind of program understands: kept and given back as it came.
    Opaque(Opaque),
}

/// A value of some other world, which is passed on unread.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Opaque {
    /// Whose it is: the codec's name.
    pub codec: Box<str>,
    /// Its form there.
    pub bytes: Box<[u8]>,
}
