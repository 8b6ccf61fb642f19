//! The part of native-tls that the Redis client names. There is no TLS: making a connector fails.

use std::convert::Infallible;
use std::error;
use std::fmt::{self, Display, Formatter};
use std::io::{self, Read, Write};
use std::marker::PhantomData;

/// Says that there is no TLS.
#[derive(Debug)]
pub struct Error;

impl Display for Error {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str("this program was built without TLS")
    }
}

impl error::Error for Error {}

/// What begins connections, of which there is none.
#[derive(Clone, Debug)]
pub struct TlsConnector {
    none: Infallible,
}

impl TlsConnector {
    /// Fails.
    ///
    /// # Errors
    ///
    /// Always.
    pub fn new() -> Result<Self, Error> {
        Err(Error)
    }

    /// Leads to [`TlsConnectorBuilder::build`], which fails.
    pub fn builder() -> TlsConnectorBuilder {
        TlsConnectorBuilder
    }

    /// Begins a connection.
    ///
    /// # Errors
    ///
    /// Never: there is no connector.
    pub fn connect<S>(&self, _: &str, _: S) -> Result<TlsStream<S>, Error> {
        match self.none {}
    }
}

/// Settings of a connector, which are forgotten.
#[derive(Debug)]
pub struct TlsConnectorBuilder;

impl TlsConnectorBuilder {
    /// Whether any certificate will do.
    pub fn danger_accept_invalid_certs(&mut self, _: bool) -> &mut Self {
        self
    }

    /// Whether a certificate of any name will do.
    pub fn danger_accept_invalid_hostnames(&mut self, _: bool) -> &mut Self {
        self
    }

    /// Whether the name is told to the server.
    pub fn use_sni(&mut self, _: bool) -> &mut Self {
        self
    }

    /// Fails.
    ///
    /// # Errors
    ///
    /// Always.
    pub fn build(&self) -> Result<TlsConnector, Error> {
        Err(Error)
    }
}

/// A connection, of which there is none.
#[derive(Debug)]
pub struct TlsStream<S> {
    none: Infallible,
    stream: PhantomData<S>,
}

impl<S> TlsStream<S> {
    /// The connection below.
    pub fn get_ref(&self) -> &S {
        match self.none {}
    }

    /// Ends the connection.
    ///
    /// # Errors
    ///
    /// Never: there is no connection.
    pub fn shutdown(&mut self) -> io::Result<()> {
        match self.none {}
    }
}

impl<S> Read for TlsStream<S> {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        match self.none {}
    }
}

impl<S> Write for TlsStream<S> {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        match self.none {}
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.none {}
    }
}
