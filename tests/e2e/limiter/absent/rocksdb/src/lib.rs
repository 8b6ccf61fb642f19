//! The part of RocksDB's interface that limitador names. There is no database: opening one fails.

use std::convert::Infallible;
use std::error;
use std::fmt::{self, Display, Formatter};
use std::marker::PhantomData;
use std::path::Path;

/// Says that there is no database.
#[derive(Debug)]
pub struct Error;

impl Error {
    /// What kind of error this is: none of those that pass.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::NotSupported
    }
}

impl Display for Error {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str("this program was built without RocksDB")
    }
}

impl error::Error for Error {}

/// Kinds of errors.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ErrorKind {
    /// The operation is not supported.
    NotSupported,
    /// The operation took too long.
    TimedOut,
    /// The operation may be tried again.
    TryAgain,
}

/// Options of a database, which are forgotten.
#[derive(Debug, Default)]
pub struct Options;

impl Options {
    /// Whether a database is made where none is.
    pub fn create_if_missing(&mut self, _: bool) {}

    /// How values are compressed.
    pub fn set_compression_type(&mut self, _: DBCompressionType) {}

    /// What a compaction leaves out.
    pub fn set_compaction_filter(&mut self, _: &str, _: fn(u32, &[u8], &[u8]) -> CompactionDecision) {}

    /// How values are put together.
    pub fn set_merge_operator_associative(&mut self, _: &str, _: Merge) {}
}

/// Puts values together: key, value so far, what is added.
pub type Merge = for<'a> fn(&'a [u8], Option<&'a [u8]>, std::vec::IntoIter<&'a [u8]>) -> Option<Vec<u8>>;

/// Ways of compressing.
#[derive(Clone, Copy, Debug)]
pub enum DBCompressionType {
    /// Not at all.
    None,
    /// With bzip2.
    Bz2,
}

/// What becomes of a value in a compaction.
#[derive(Clone, Copy, Debug)]
pub enum CompactionDecision {
    /// It stays.
    Keep,
    /// It goes.
    Remove,
}

/// The order of an iteration.
#[derive(Clone, Copy, Debug)]
pub enum IteratorMode {
    /// From the first key on.
    Start,
}

/// A database for several threads.
#[derive(Debug)]
pub struct MultiThreaded;

/// A database, of which there is none.
#[derive(Debug)]
pub struct DBWithThreadMode<T> {
    none: Infallible,
    mode: PhantomData<T>,
}

/// The usual database.
pub type DB = DBWithThreadMode<MultiThreaded>;

/// A key and its value.
pub type Entry = (Box<[u8]>, Box<[u8]>);

impl<T> DBWithThreadMode<T> {
    /// Fails.
    ///
    /// # Errors
    ///
    /// Always.
    pub fn open(_: &Options, _: impl AsRef<Path>) -> Result<Self, Error> {
        Err(Error)
    }

    /// The value of a key.
    ///
    /// # Errors
    ///
    /// Never: there is no database.
    pub fn get(&self, _: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>, Error> {
        match self.none {}
    }

    /// Adds to the value of a key.
    ///
    /// # Errors
    ///
    /// Never: there is no database.
    pub fn merge(&self, _: impl AsRef<[u8]>, _: impl AsRef<[u8]>) -> Result<(), Error> {
        match self.none {}
    }

    /// Removes a key.
    ///
    /// # Errors
    ///
    /// Never: there is no database.
    pub fn delete(&self, _: impl AsRef<[u8]>) -> Result<(), Error> {
        match self.none {}
    }

    /// All keys.
    pub fn iterator(&self, _: IteratorMode) -> std::vec::IntoIter<Result<Entry, Error>> {
        match self.none {}
    }

    /// The keys that begin so.
    pub fn prefix_iterator(&self, _: impl AsRef<[u8]>) -> std::vec::IntoIter<Result<Entry, Error>> {
        match self.none {}
    }
}
