//! Statuses, written by one keyed writer.
