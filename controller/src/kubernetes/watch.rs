//! Watches: from the API server to changes for the translator.
