//! Ending a proxy without losing a request.
